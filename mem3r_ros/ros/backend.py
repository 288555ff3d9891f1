# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Loads the network that the parameters name, onto the device that they name."""

from __future__ import annotations

from collections.abc import Callable

from mem3r_ros.model.backend import load_backend
from mem3r_ros.ros.node_config import NodeConfig
from mem3r_ros.tracker import Tracker


def make_tracker(config: NodeConfig, is_wanted: Callable[[], bool]) -> tuple[Tracker, str]:
    """
    Load the network, warm it up and start a stream on it.

    :param config: the node's parameters.
    :param is_wanted: asked once it is loaded; False where the node has been told to end by then.
    :return: the tracker and the device in use.
    :raises UserError: the model or the device cannot be had.
    """
    model, device = load_backend(config)
    tracker = Tracker(model, config.tracking)
    if all(config.warm_up_size) and is_wanted():
        tracker.warm_up(*config.warm_up_size)
    return tracker, device
