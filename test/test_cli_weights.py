# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The command ``mem3r weights``; downloads come from a local server."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
import hashlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
import sys
import threading
import types

import pytest
from tiny_networks import MEM3R, network
import torch

from mem3r_ros.cli import download
from mem3r_ros.cli.main import main
from mem3r_ros.model import load_model, save_checkpoint
from mem3r_ros.model.checkpoints.file_formats import open_checkpoint


@dataclass
class Server:
    """What a web server has and how it behaves."""

    content: bytes
    url: str = ''
    etag: str = '"first"'
    resumes: bool = True
    breaks_after: int | None = None  # bytes of the first answer
    status: int = 200
    starts: list[int] = field(default_factory=list)  # first byte of each answer

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()


def handler_of(server: Server) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            start, asked = 0, self.headers.get('Range')
            if asked and server.resumes and self.headers.get('If-Range') == server.etag:
                start = int(asked.removeprefix('bytes=').removesuffix('-'))
            server.starts.append(start)
            total = len(server.content)
            if server.status != 200:
                return self.send_error(server.status)
            if start >= total:
                self.send_response(416)
                self.send_header('Content-Range', f'bytes */{total}')
                self.send_header('Content-Length', '0')
                return self.end_headers()
            self.send_response(206 if start else 200)
            self.send_header('ETag', server.etag)
            self.send_header('Content-Length', str(total - start))
            self.end_headers()
            stop, server.breaks_after = server.breaks_after, None
            self.wfile.write(server.content[start : total if stop is None else start + stop])

        def log_message(self, *_: object) -> None:
            """Stay quiet."""

    return Handler


@pytest.fixture
def server(tmp_path, monkeypatch) -> Iterator[Server]:
    """Serve the checkpoint of a tiny network on the loopback interface."""
    monkeypatch.setattr(download.fetch, '__kwdefaults__', {'pause_s': 0.0})
    monkeypatch.setenv('no_proxy', '*')
    path = tmp_path / 'served.safetensors'
    save_checkpoint(network('cut3r'), path)
    served = Server(path.read_bytes())
    with ThreadingHTTPServer(('127.0.0.1', 0), handler_of(served)) as http:
        served.url = f'http://127.0.0.1:{http.server_port}/weights'
        thread = threading.Thread(target=http.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield served
        http.shutdown()
        thread.join()


def fetch(server: Server, target, *options: str) -> int:
    words = ['weights', 'download', '--accept-licence', '--url', server.url]
    return main([*words, '--output', str(target), *options])


def test_a_download_gets_its_name_when_it_is_complete(server, tmp_path, capsys):
    target = tmp_path / 'new' / 'cut3r.safetensors'

    assert fetch(server, target, '--sha256', server.sha256) == 0

    shown = capsys.readouterr().out
    assert target.read_bytes() == server.content
    assert server.sha256 in shown
    assert 'CC BY-NC-SA 4.0' in shown
    assert f'--model {target}' in shown
    assert list(target.parent.iterdir()) == [target]


def test_nothing_is_downloaded_before_the_licence_is_accepted(server, tmp_path, capsys):
    target = tmp_path / 'cut3r.safetensors'

    code = main(['weights', 'download', '--url', server.url, '--output', str(target)])

    shown = capsys.readouterr()
    assert code == 2
    assert 'CC BY-NC-SA 4.0' in shown.out
    assert 'add --accept-licence' in shown.err
    assert server.starts == []


def test_a_broken_connection_is_continued_where_it_broke(server, tmp_path):
    server.breaks_after = 1000

    assert fetch(server, tmp_path / 'cut3r.safetensors', '--sha256', server.sha256) == 0

    assert server.starts == [0, 1000]


def test_an_interrupted_download_is_continued_by_the_next_command(server, tmp_path):
    partial = tmp_path / 'cut3r.safetensors.partial'
    partial.write_bytes(server.content[:2000])
    note = f'{{"url": "{server.url}", "version": "\\"first\\""}}'
    partial.with_name(partial.name + '.json').write_text(note, encoding='utf-8')

    assert fetch(server, tmp_path / 'cut3r.safetensors', '--sha256', server.sha256) == 0

    assert server.starts == [2000]


def test_a_changed_file_on_the_server_is_downloaded_from_the_start(server, tmp_path):
    server.breaks_after = 1000
    target = tmp_path / 'cut3r.safetensors'
    partial = tmp_path / 'cut3r.safetensors.partial'
    partial.write_bytes(b'of another file' * 100)
    note = f'{{"url": "{server.url}", "version": "\\"older\\""}}'
    partial.with_name(partial.name + '.json').write_text(note, encoding='utf-8')

    assert fetch(server, target) == 0

    assert target.read_bytes() == server.content
    assert server.starts == [0, 1000]


def test_a_server_without_ranges_sends_the_whole_file(server, tmp_path):
    server.resumes, server.breaks_after = False, 1000
    target = tmp_path / 'cut3r.safetensors'

    assert fetch(server, target) == 0

    assert target.read_bytes() == server.content


def test_a_complete_partial_file_needs_no_download(server, tmp_path):
    partial = tmp_path / 'cut3r.safetensors.partial'
    partial.write_bytes(server.content)
    note = f'{{"url": "{server.url}", "version": "\\"first\\""}}'
    partial.with_name(partial.name + '.json').write_text(note, encoding='utf-8')

    assert fetch(server, tmp_path / 'cut3r.safetensors', '--sha256', server.sha256) == 0


def test_a_wrong_hash_removes_the_file(server, tmp_path, capsys):
    target = tmp_path / 'cut3r.safetensors'

    assert fetch(server, target, '--sha256', '0' * 64) == 2

    shown = capsys.readouterr().err
    assert server.sha256 in shown
    assert 'expected 0000' in shown
    assert [path.name for path in tmp_path.iterdir()] == ['served.safetensors']


def test_a_web_page_instead_of_weights_is_a_user_error(server, tmp_path, capsys):
    server.content = b'<!DOCTYPE html><html>too many users have viewed this file</html>'

    assert fetch(server, tmp_path / 'cut3r.pth') == 2

    assert 'like a web page' in capsys.readouterr().err


@pytest.mark.parametrize(('status', 'message'), [(404, 'HTTP 404'), (503, 'broke off')])
def test_an_error_of_the_server_is_a_user_error(server, tmp_path, capsys, status, message):
    server.status = status

    assert fetch(server, tmp_path / 'cut3r.pth') == 2

    assert message in capsys.readouterr().err
    assert len(server.starts) == (1 if status == 404 else download.MAX_TRIES)


def test_a_full_disk_is_reported_before_the_download(server, tmp_path, monkeypatch, capsys):
    usage = types.SimpleNamespace(free=1000)
    monkeypatch.setattr(download.shutil, 'disk_usage', lambda _: usage)

    assert fetch(server, tmp_path / 'cut3r.pth') == 2

    assert 'choose another --output' in capsys.readouterr().err


def test_an_existing_file_is_not_downloaded_again(server, tmp_path, capsys):
    target = tmp_path / 'cut3r.safetensors'
    target.write_bytes(server.content)

    assert fetch(server, target, '--sha256', server.sha256) == 0
    assert fetch(server, target, '--sha256', 'f' * 64) == 2

    shown = capsys.readouterr()
    assert 'already there' in shown.out
    assert 'has another SHA-256' in shown.err
    assert server.starts == []


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (['--url', 'file:///etc/passwd'], 'must begin with http'),
        (['--url', 'http://127.0.0.1:1/x'], 'broke off'),
        (['--url', 'http://127.0.0.1:1/x', '--sha256', 'abc'], '64 hex digits'),
    ],
)
def test_bad_addresses_and_hashes_are_refused(
    server, tmp_path, monkeypatch, capsys, options, message
):
    monkeypatch.chdir(tmp_path)

    assert main(['weights', 'download', '--accept-licence', *options]) == 2

    assert message in capsys.readouterr().err


class GoogleDrive:
    """Stands for gdown."""

    def __init__(self, content: bytes | None):
        self.content = content

    def download(self, id: str, output: str, resume: bool) -> str | None:
        assert len(id) == 33
        if self.content is None:
            raise RuntimeError('quota exceeded')
        with open(output, 'wb') as file:
            file.write(self.content)
        return output


def test_public_weights_come_from_google_drive(server, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, 'gdown', GoogleDrive(server.content))
    monkeypatch.setattr(download.shutil, 'disk_usage', lambda _: types.SimpleNamespace(free=1e12))

    code = main(['weights', 'download', '--accept-licence', '--output', str(tmp_path)])

    assert code == 0
    assert (tmp_path / 'cut3r_512_dpt_4_64.pth').read_bytes() == server.content
    assert server.sha256 in capsys.readouterr().out


@pytest.mark.parametrize('module', [None, GoogleDrive(None)], ids=['missing', 'quota'])
def test_without_google_drive_the_page_of_weights_is_named(tmp_path, monkeypatch, capsys, module):
    monkeypatch.setitem(sys.modules, 'gdown', module)

    code = main(['weights', 'download', '--accept-licence', '--output', str(tmp_path)])

    assert code == 2
    assert 'drive.google.com/file/d/1Asz-ZB3FfpzZYwunhQvNPZEUA8XUNAYD' in capsys.readouterr().err


def test_the_list_names_every_preset_and_its_origin(capsys):
    assert main(['weights', 'list']) == 0

    shown = capsys.readouterr().out
    for word in (
        'mem3r-tiny',
        'recipes/small.yaml',
        '643,549,058',
        '793,307,858',
        '748,443,655',
        'CC BY-NC-SA 4.0',
    ):
        assert word in shown


def test_inspect_describes_a_file_without_loading_it(tmp_path, capsys):
    path = tmp_path / 'mem3r.safetensors'
    save_checkpoint(network('mem3r'), path, {'note': 'after 3 epochs'})

    assert main(['weights', 'inspect', str(path)]) == 0

    shown = capsys.readouterr().out
    assert 'metadata    note: after 3 epochs' in shown
    assert 'pose_memory: fast_weights' in shown
    assert 'float32' in shown


def test_convert_writes_half_precision_under_cut3r_names(tmp_path, capsys):
    model = network('mem3r')
    source, target = tmp_path / 'mem3r.safetensors', tmp_path / 'half.safetensors'
    save_checkpoint(model, source, {'note': 'x'})

    words = ['weights', 'convert', str(source), str(target), '--dtype', 'bf16', '--names', 'cut3r']
    assert main(words) == 0
    assert main(words) == 2
    assert 'give --overwrite' in capsys.readouterr().err

    with open_checkpoint(target) as stored:
        assert stored.dtype('dec_norm.weight') == 'bfloat16'
        assert stored.dtype('pose_retriever.proj_q.weight') == 'float32'
        assert stored.metadata['note'] == 'x'
    loaded = load_model(target)
    assert loaded.config == MEM3R
    expected = model.decoder.image_norm.weight.bfloat16().float()
    assert torch.equal(loaded.decoder.image_norm.weight, expected)


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (['convert', 'missing.pth', 'out.safetensors'], 'neither a file nor one of'),
        (['convert', 'missing.pth', 'out.pth'], 'must end in .safetensors'),
        (['convert', 'missing.pth', 'no/folder/out.safetensors'], 'does not exist; create it'),
        (['inspect', 'missing.pth'], 'neither a file nor one of'),
    ],
)
def test_bad_paths_are_a_user_error(tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)

    assert main(['weights', *words]) == 2

    shown = capsys.readouterr().err
    assert shown.startswith('error: ')
    assert message in shown
    assert shown.count('\n') == 1
