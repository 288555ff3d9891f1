# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Stages of a frame as a tree, and the bottleneck."""

from __future__ import annotations

from tiny_networks import SIZE, network
import torch

from mem3r_ros.config import replace_path
from mem3r_ros.evaluation.stages import (
    RELIEF,
    bottleneck,
    in_tree_order,
    indented,
    network_parts,
    stage_tree,
)
from mem3r_ros.model import FrameInput
from mem3r_ros.tracker import TrackerConfig


def test_parts_of_a_stage_add_up_to_it():
    tree = stage_tree(10.0, {'prepare': 2.0, 'network': 7.0}, {'encoder': 3.0, 'decoder': 3.0})
    assert tree['total/rest'] == 1.0
    assert tree['total/network/rest'] == 1.0


def test_each_stage_comes_before_its_parts():
    paths = ['total', 'total/network', 'total/rest', 'total/network/decoder']
    assert in_tree_order(paths) == [paths[0], paths[1], paths[3], paths[2]]
    assert indented('total/network/decoder') == '    decoder'


def test_bottleneck_is_the_longest_stage_and_names_its_setting():
    tree = stage_tree(10.0, {'depth': 6.0, 'network': 3.0}, {})
    assert bottleneck(tree) == ('depth', 0.6, 'tracking.depth.resolution: network')


def test_settings_of_the_advice_exist():
    for value, name in (
        ('fast', 'input.resampling'),
        (False, 'health.check_continuity'),
        (False, 'stillness.enabled'),
        ('network', 'depth.resolution'),
        (2, 'cloud.stride'),
        (100, 'refinement.num_corners'),
        (8, 'refinement.num_keyframes'),
    ):
        replace_path(TrackerConfig(), name, value)
        assert any(name in advice for advice in RELIEF.values())


def test_parts_of_the_network_are_measured_and_the_hooks_removed():
    model = network('mem3r')
    frame = FrameInput(image=torch.zeros(1, 3, *SIZE))
    with torch.inference_mode(), network_parts(model) as spent_ms:
        model.step(frame, model.initial_state())
        assert set(spent_ms) == {'encoder', 'decoder', 'heads'}
        assert min(spent_ms.values()) > 0
        spent_ms.clear()
    with torch.inference_mode():
        model.step(frame, model.initial_state())
    assert not spent_ms
