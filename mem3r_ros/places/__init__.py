# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Memory of places: recognition, pose graph, and the correction of odometry in a map."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mem3r_ros.names import imported_at_use

if TYPE_CHECKING:
    from mem3r_ros.places.background import Places
    from mem3r_ros.places.config import PlacesConfig
    from mem3r_ros.places.correction import Correction
    from mem3r_ros.places.place_map import PlaceMap
    from mem3r_ros.places.selection import Choice
    from mem3r_ros.places.sighting import Features, Sighting

__all__ = [
    'Choice',
    'Correction',
    'Features',
    'PlaceMap',
    'Places',
    'PlacesConfig',
    'Sighting',
]

__getattr__ = imported_at_use(
    __name__,
    {
        'Choice': 'selection',
        'Correction': 'correction',
        'Features': 'sighting',
        'PlaceMap': 'place_map',
        'Places': 'background',
        'PlacesConfig': 'config',
        'Sighting': 'sighting',
    },
)
