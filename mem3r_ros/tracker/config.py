# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Settings of the tracker, with their only defaults."""

from __future__ import annotations

from mem3r_ros.cloud_config import CloudConfig
from mem3r_ros.config import section, setting, settings
from mem3r_ros.odometry.config import RefinementConfig
from mem3r_ros.odometry.fusion_config import DepthFusionConfig
from mem3r_ros.places.config import PlacesConfig


@settings
class InputConfig:
    """Conversion of camera images to the input of the network."""

    resampling: str = setting(
        'auto',
        'exact: the filters of CUT3R (Pillow); fast: OpenCV area averaging; device: an '
        'antialiased cubic filter on the device of the network; auto: fast for networks with '
        'two-view geometry, which are trained on rendered images, and exact for others',
        choices=('auto', 'exact', 'fast', 'device'),
    )
    keep_view: bool = setting(
        False, 'stretch the image slightly to whole patches instead of cropping it'
    )
    square_ok: bool = setting(False, 'keep square images square instead of cropping them to 4:3')


@settings
class DepthConfig:
    """Depth output."""

    resolution: str = setting(
        'fused',
        'resolution of depth and confidence: fused: about 320x240 px, that of the network without '
        'fusion; network; camera: that of the image (nearest pixel)',
        choices=('fused', 'network', 'camera'),
    )
    min_confidence: float = setting(
        1.0,
        'depth with lower confidence becomes NaN; confidence is above 1, so 1 keeps all',
        low=0.0,
        high=1e6,
        dynamic=True,
    )
    max_range_m: float = setting(
        100.0, 'larger depth becomes +inf', low=0.1, high=1e6, unit='m', dynamic=True
    )
    fusion: DepthFusionConfig = section(DepthFusionConfig)


@settings
class ScaleConfig:
    """Source of the metric scale."""

    source: str = setting(
        'model',
        'model: scale of the network; fixed: that times factor; camera_height: height over the '
        'ground plane; wheel: length of the wheel odometry path; distance: one measured distance',
        choices=('model', 'fixed', 'camera_height', 'wheel', 'distance'),
        dynamic=True,
    )
    factor: float = setting(
        1.0, "metres per unit of the network (source 'fixed')", low=1e-6, high=1e6, dynamic=True
    )
    camera_height_m: float = setting(
        1.0,
        "height of the camera over the ground (source 'camera_height')",
        low=0.01,
        high=1000.0,
        unit='m',
        dynamic=True,
    )
    distance_m: float = setting(
        1.0,
        "depth at the centre of the first image, and at ~/set_distance (source 'distance')",
        low=0.01,
        high=100000.0,
        unit='m',
        dynamic=True,
    )


@settings
class StillnessConfig:
    """Detection of a camera at rest."""

    enabled: bool = setting(True, 'hold the pose while the camera is at rest', dynamic=True)
    flow_px: float = setting(
        0.25,
        'the camera is at rest while the image moves less than this since the last motion, at '
        '320 px image width',
        low=0.0,
        high=10.0,
        unit='px',
        dynamic=True,
    )


@settings
class HealthConfig:
    """Limits of images and predictions, and the reaction to bad ones."""

    min_brightness: float = setting(
        6.0,
        'an image is dark if the 95th percentile of its grey levels (0-255) is lower',
        low=0.0,
        high=255.0,
        dynamic=True,
    )
    min_sharpness: float = setting(
        0.15,
        'an image is blurred if its sharpness, relative to the recent median, is lower; 0 = off',
        low=0.0,
        high=1.0,
        dynamic=True,
    )
    min_confidence: float = setting(
        0.35,
        'a frame is degraded if its confidence over 1, relative to the recent median, is lower; '
        '0 = off',
        low=0.0,
        high=1.0,
        dynamic=True,
    )
    max_state_change: float = setting(
        0.0,
        'a frame is degraded if its state update, relative to the recent median, is larger; '
        '0 = off',
        low=0.0,
        high=1e6,
        dynamic=True,
    )
    min_tracking_cosine: float = setting(
        -1.0,
        'a frame is degraded if the cosine between predicted and measured pose token is lower; '
        '-1 = off',
        low=-1.0,
        high=1.0,
        dynamic=True,
    )
    check_continuity: bool = setting(
        True,
        'do not use images that cannot be of the same moving camera as the ones before: noise, '
        'damaged images, cuts, a frozen camera',
        dynamic=True,
    )
    max_speed: float = setting(
        40.0, 'faster motion is rejected', low=0.01, high=1000.0, unit='m/s', dynamic=True
    )
    max_turn_rate: float = setting(
        8.0, 'faster rotation is rejected', low=0.01, high=100.0, unit='rad/s', dynamic=True
    )
    max_acceleration: float = setting(
        30.0,
        'motion that implies a larger acceleration since the newest frames is rejected; 0 = off',
        low=0.0,
        high=1e6,
        unit='m/s^2',
        dynamic=True,
    )
    max_gap_s: float = setting(
        1.0,
        'a longer time without an image starts a new segment',
        low=0.01,
        high=3600.0,
        unit='s',
        dynamic=True,
    )
    coast_s: float = setting(
        0.5,
        'without usable images the last velocity continues this long, then the pose is held',
        low=0.0,
        high=60.0,
        unit='s',
        dynamic=True,
    )
    lost_after_s: float = setting(
        1.0,
        'tracking is lost after this time without a usable image',
        low=0.0,
        high=3600.0,
        unit='s',
        dynamic=True,
    )


@settings
class CovarianceConfig:
    """Uncertainty of the poses; ``mem3r fit-covariance`` fits it to ground truth."""

    position_floor_m: float = setting(
        0.008, 'standard deviation of an increment without motion', low=1e-6, high=10.0, unit='m'
    )
    position_share: float = setting(
        0.18, 'additional standard deviation, relative to the distance moved', low=0.0, high=10.0
    )
    rotation_floor_rad: float = setting(
        0.0016, 'standard deviation of an increment without motion', low=1e-6, high=1.0, unit='rad'
    )
    rotation_share: float = setting(
        0.31, 'additional standard deviation, relative to the angle turned', low=0.0, high=10.0
    )
    correlation: float = setting(
        7.9,
        'factor on the variance of each increment, for the correlation between frames',
        low=0.01,
        high=1000.0,
    )
    degraded_factor: float = setting(
        3.0, 'factor on the standard deviation of degraded frames', low=1.0, high=100.0
    )
    model_scale_spread: float = setting(
        1.0, 'standard deviation of the logarithm of the scale of the network', low=0.0, high=10.0
    )
    window_factor: float = setting(
        4.0,
        'factor on the covariance that the sliding window computes; the settings below are added',
        low=0.01,
        high=1000.0,
    )
    window_position_floor_m: float = setting(
        0.001, 'standard deviation of an increment without motion', low=0.0, high=10.0, unit='m'
    )
    window_position_share: float = setting(
        0.1, 'standard deviation relative to the distance moved', low=0.0, high=10.0
    )
    window_rotation_floor_rad: float = setting(
        0.002, 'standard deviation of an increment without motion', low=0.0, high=1.0, unit='rad'
    )
    window_rotation_share: float = setting(
        0.1, 'standard deviation relative to the angle turned', low=0.0, high=10.0
    )


@settings
class TrackerConfig:
    """Settings of the tracker."""

    update_rule: str = setting(
        'ttt3r',
        'rule by which each frame updates the state of the network',
        choices=('cut3r', 'ttt3r', 'ttsa3r', 'memix', 'filt3r'),
        dynamic=True,
    )
    reset_interval: int = setting(
        0,
        'frames after which a new segment with an empty state begins; 0 = never',
        low=0,
        high=1_000_000,
        unit='frames',
        dynamic=True,
    )
    input: InputConfig = section(InputConfig)
    depth: DepthConfig = section(DepthConfig)
    cloud: CloudConfig = section(CloudConfig)
    scale: ScaleConfig = section(ScaleConfig)
    stillness: StillnessConfig = section(StillnessConfig)
    refinement: RefinementConfig = section(RefinementConfig)
    health: HealthConfig = section(HealthConfig)
    covariance: CovarianceConfig = section(CovarianceConfig)
    places: PlacesConfig = section(PlacesConfig)
