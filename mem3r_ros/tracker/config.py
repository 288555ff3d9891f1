# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""How frames are turned into odometry: each default is written here and nowhere else."""

from __future__ import annotations

from mem3r_ros.cloud import CloudConfig
from mem3r_ros.config import section, setting, settings


@settings
class InputConfig:
    """How a camera's image becomes the network's input."""

    resampling: str = setting(
        'exact',
        'exact: the filters that the network was trained with (Pillow); '
        'fast: OpenCV area averaging, not bit-exact',
        choices=('exact', 'fast'),
    )
    keep_view: bool = setting(
        False, 'stretch the image slightly instead of cropping what is not a whole patch'
    )
    square_ok: bool = setting(False, 'leave square images square instead of cropping them to 4:3')


@settings
class DepthConfig:
    """Which depth is given out."""

    resolution: str = setting(
        'network',
        "resolution of depth and confidence: the network's or the camera's (nearest pixel)",
        choices=('network', 'camera'),
    )
    min_confidence: float = setting(
        1.0,
        'depth of less network confidence becomes NaN (confidence is above 1; 1 keeps all)',
        low=0.0,
        high=1e6,
        dynamic=True,
    )
    max_range_m: float = setting(
        100.0, 'depth beyond becomes +inf', low=0.1, high=1e6, unit='m', dynamic=True
    )


@settings
class ScaleConfig:
    """Where metres come from."""

    source: str = setting(
        'model',
        "model: the network's own metres; fixed: times factor; camera_height: over the ground "
        'plane; wheel: length of the wheel odometry path; distance: one measured distance',
        choices=('model', 'fixed', 'camera_height', 'wheel', 'distance'),
        dynamic=True,
    )
    factor: float = setting(
        1.0, "metres per unit of the network (source 'fixed')", low=1e-6, high=1e6, dynamic=True
    )
    camera_height_m: float = setting(
        1.0,
        "height of the lens over the ground (source 'camera_height')",
        low=0.01,
        high=1000.0,
        unit='m',
        dynamic=True,
    )
    distance_m: float = setting(
        1.0,
        "depth of what the centre of the first image sees (source 'distance')",
        low=0.01,
        high=100000.0,
        unit='m',
    )


@settings
class StillnessConfig:
    """When the camera counts as standing."""

    enabled: bool = setting(True, 'hold the pose while the image does not move', dynamic=True)
    flow_px: float = setting(
        0.25,
        'median image motion since the pose was held, at 320 px image width, below which the '
        'camera stands',
        low=0.0,
        high=10.0,
        unit='px',
        dynamic=True,
    )


@settings
class RefinementConfig:
    """Poses improved by corners followed at camera resolution."""

    enabled: bool = setting(
        True,
        'fit poses to corners followed over a few keyframes, where the camera sees finer than '
        'the network',
        dynamic=True,
    )
    pixel_noise: float = setting(
        1.0, 'standard deviation of a followed corner', low=0.01, high=100.0, unit='px'
    )
    depth_sigma: float = setting(
        0.5, 'standard deviation of a predicted log depth', low=0.01, high=10.0
    )
    position_share: float = setting(
        0.05,
        "standard deviation of the network's translation as a part of its length",
        low=0.001,
        high=10.0,
    )
    rotation_share: float = setting(
        0.2,
        "standard deviation of the network's rotation as a part of its angle",
        low=0.001,
        high=10.0,
    )
    scale_follow: float = setting(
        0.2,
        "part of the way to the network's own scale that each keyframe goes",
        low=0.0,
        high=1.0,
    )


@settings
class HealthConfig:
    """What counts as bad, and what happens then."""

    min_brightness: float = setting(
        6.0,
        'an image whose brightest twentieth is darker is called dark (0-255)',
        low=0.0,
        high=255.0,
        dynamic=True,
    )
    min_sharpness: float = setting(
        0.15,
        'an image with less than this part of the usual fine detail is called blurred; 0 = off',
        low=0.0,
        high=1.0,
        dynamic=True,
    )
    min_confidence: float = setting(
        0.35,
        "a frame whose confidence over 1 is below this part of the stream's usual is degraded; "
        '0 = off',
        low=0.0,
        high=1.0,
        dynamic=True,
    )
    max_state_change: float = setting(
        0.0,
        "a frame that changes the memory more than so many times the stream's usual is degraded; "
        '0 = off',
        low=0.0,
        high=1e6,
        dynamic=True,
    )
    min_tracking_cosine: float = setting(
        -1.0,
        'agreement of expected and found pose token below which a frame is degraded; -1 = off',
        low=-1.0,
        high=1.0,
        dynamic=True,
    )
    max_speed: float = setting(
        40.0, 'faster motion is not believed', low=0.01, high=1000.0, unit='m/s', dynamic=True
    )
    max_turn_rate: float = setting(
        8.0, 'faster rotation is not believed', low=0.01, high=100.0, unit='rad/s', dynamic=True
    )
    max_acceleration: float = setting(
        30.0,
        'motion that the newest frames and this acceleration do not explain is not believed; '
        '0 = off',
        low=0.0,
        high=1e6,
        unit='m/s^2',
        dynamic=True,
    )
    max_gap_s: float = setting(
        1.0,
        'a longer silence of the camera makes the stream stale and starts a new segment',
        low=0.01,
        high=3600.0,
        unit='s',
        dynamic=True,
    )
    coast_s: float = setting(
        0.5,
        'without usable images the last velocity is continued this long, then the pose is held',
        low=0.0,
        high=60.0,
        unit='s',
        dynamic=True,
    )
    lost_after_s: float = setting(
        1.0,
        'so long without a usable image means lost',
        low=0.0,
        high=3600.0,
        unit='s',
        dynamic=True,
    )


@settings
class CovarianceConfig:
    """Uncertainty of the poses; ``mem3r fit-covariance`` fits it to ground truth."""

    position_floor_m: float = setting(
        0.008, 'standard deviation of one increment at no motion', low=1e-6, high=10.0, unit='m'
    )
    position_share: float = setting(
        0.18, 'and as a part of the distance moved', low=0.0, high=10.0
    )
    rotation_floor_rad: float = setting(
        0.0016, 'standard deviation of one increment at no motion', low=1e-6, high=1.0, unit='rad'
    )
    rotation_share: float = setting(0.31, 'and as a part of the angle turned', low=0.0, high=10.0)
    correlation: float = setting(
        7.9,
        'factor on the variance of each increment because errors of neighbouring frames add up',
        low=0.01,
        high=1000.0,
    )
    degraded_factor: float = setting(
        3.0, 'factor on the standard deviation of flawed frames', low=1.0, high=100.0
    )
    model_scale_spread: float = setting(
        0.45, "relative standard deviation of the network's own metres", low=0.0, high=10.0
    )


@settings
class TrackerConfig:
    """How frames are turned into poses, depth and points."""

    update_rule: str = setting(
        'ttt3r',
        'how much of each new state is taken in',
        choices=('cut3r', 'ttt3r', 'ttsa3r', 'memix', 'filt3r'),
        dynamic=True,
    )
    reset_interval: int = setting(
        0,
        'frames after which the memory starts afresh, odometry going on; 0 = never',
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
