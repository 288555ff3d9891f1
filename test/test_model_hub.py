# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Weights from the Hugging Face Hub: a pinned commit, a hash that is compared; no network."""

import hashlib
import sys
from types import SimpleNamespace

import pytest
from tiny_networks import network

from mem3r_ros.errors import UserError
from mem3r_ros.model import load_model, save_checkpoint

COMMIT = 40 * 'a'


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """Stand in for huggingface_hub with one repository; records what is asked for."""
    path = tmp_path / 'model.safetensors'
    save_checkpoint(network('small'), path)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    asked = []

    def download(repository, name, revision):
        asked.append((repository, name, revision))
        return str(path)

    fake = SimpleNamespace(
        hf_hub_download=download,
        hf_hub_url=lambda repository, name, revision: f'{repository}/{name}/{revision}',
        get_hf_file_metadata=lambda url: SimpleNamespace(etag=fake.etag),
        errors=SimpleNamespace(HfHubHTTPError=ConnectionError),
        etag=sha256,
        sha256=sha256,
        asked=asked,
    )
    monkeypatch.setitem(sys.modules, 'huggingface_hub', fake)
    return fake


def test_a_pinned_file_is_loaded(hub):
    model = load_model(f'hf:owner/name@{COMMIT}')

    assert model.config == network('small').config
    assert hub.asked == [('owner/name', 'model.safetensors', COMMIT)]


def test_the_file_and_its_hash_can_be_named(hub):
    load_model(f'hf:owner/name/sub/other.safetensors@{COMMIT}#sha256={hub.sha256}')

    assert hub.asked == [('owner/name', 'sub/other.safetensors', COMMIT)]


def test_another_content_is_refused(hub):
    hub.etag = 64 * '0'

    with pytest.raises(UserError, match=r'expected 0000.* it is not used'):
        load_model(f'hf:owner/name@{COMMIT}')


@pytest.mark.parametrize('source', ['hf:owner/name', 'hf:owner/name@main', f'hf:name@{COMMIT}'])
def test_a_source_without_commit_is_refused_without_a_download(hub, source):
    with pytest.raises(UserError, match='with all 40 digits of the commit'):
        load_model(source)

    assert hub.asked == []


def test_without_the_package_its_name_is_given(monkeypatch):
    monkeypatch.setitem(sys.modules, 'huggingface_hub', None)

    with pytest.raises(UserError, match='pip install huggingface-hub'):
        load_model(f'hf:owner/name@{COMMIT}')
