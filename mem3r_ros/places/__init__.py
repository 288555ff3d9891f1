# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Memory of places: recognition, pose graph, and the correction of odometry in a map."""

from mem3r_ros.places.config import PlacesConfig
from mem3r_ros.places.correction import Correction
from mem3r_ros.places.place_map import PlaceMap
from mem3r_ros.places.sighting import Features, Sighting

__all__ = ['Correction', 'Features', 'PlaceMap', 'PlacesConfig', 'Sighting']
