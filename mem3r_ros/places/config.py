# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Settings of the place memory."""

from __future__ import annotations

from mem3r_ros.config import setting, settings


@settings
class PlacesConfig:
    """Recognition of places that the camera has seen before."""

    enabled: bool = setting(
        False,
        'remember places, recognise them, and correct the drift of the odometry in the frame map',
    )
    max_places: int = setting(
        500,
        'places that are remembered; beyond, the most redundant one is forgotten',
        low=20,
        high=5000,
    )
    num_features: int = setting(400, 'image features of each place', low=50, high=2000)
    retrieval: str = setting(
        'both',
        'which places are compared with an image: those with similar features, with similar '
        'tokens of the network, or both',
        choices=('features', 'tokens', 'both'),
    )
    num_candidates: int = setting(5, 'places that are compared with each image', low=1, high=50)
    min_inliers: int = setting(
        30, 'features that must agree with one pose of the camera', low=10, high=1000
    )
    wait: bool = setting(
        False,
        'wait for each keyframe, so that results do not depend on the speed of the computer '
        '(recordings); off: a keyframe that finds the recognition busy is left out',
    )
    num_agreeing: int = setting(
        3, 'keyframes in a row that must agree before a place counts as recognised', low=1, high=10
    )
