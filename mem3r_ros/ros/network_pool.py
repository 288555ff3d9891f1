# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The networks of a process with several nodes: nodes with the same settings share one."""

from __future__ import annotations

from dataclasses import fields
import threading
from weakref import WeakValueDictionary

from mem3r_ros.model.backend import BackendConfig, load_backend
from mem3r_ros.model.shared_network import SharedNetwork


class NetworkPool:
    """Loads each network once; a network is freed when its last node lets it go."""

    def __init__(self) -> None:
        """Start without networks."""
        self._networks: WeakValueDictionary[BackendConfig, SharedNetwork] = WeakValueDictionary()
        self._devices: dict[BackendConfig, str] = {}
        self._loading = threading.Lock()

    def load(self, config: BackendConfig) -> tuple[SharedNetwork, str]:
        """
        Return the network of the settings and its device.

        :param config: may have other settings, too.
        :raises UserError: as ``load_backend``.
        """
        named = {item.name: getattr(config, item.name) for item in fields(BackendConfig)}
        key = BackendConfig(**named)
        with self._loading:
            network = self._networks.get(key)
            if network is None:
                model, self._devices[key] = load_backend(key)
                network = self._networks[key] = SharedNetwork(model)
            return network, self._devices[key]
