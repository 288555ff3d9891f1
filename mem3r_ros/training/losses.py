# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Training losses (after DUSt3R, CUT3R and Mem3R).

Points and depth are weighted by the predicted confidence c as c * error - alpha * log c
(DUSt3R, eq. 4); poses follow CUT3R's |t - t*| + |q - q*|, for the world pose and for the
motion from the previous frame. All of it runs in float32, outside autocast.

Legend: K frames of a chunk, B clips, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
import math

import torch
from torch import Tensor

from mem3r_ros.model import Prediction
from mem3r_ros.se3 import quaternion_wxyz_from_matrix, relative_poses, rotation_angle
from mem3r_ros.training.batch import Batch
from mem3r_ros.training.config import LossConfig
from mem3r_ros.two_view.bundle_adjustment import Prior
from mem3r_ros.two_view.pixels import static_flow, viewing_rays

SKY_DEPTH_M = 80.0  # sky should be at least this far
ROTATION_FLOOR_RAD = 0.02  # added to a true rotation before an error is divided by it
CERTAIN_ERROR = 0.01  # added to weighted errors: zero-error sky must not have endless confidence
GRADIENT_STEPS = (1, 2, 4)  # px between the two ends of a depth gradient


@dataclass(frozen=True, slots=True)
class Target:
    """Ground truth of a chunk of frames."""

    depth_m: Tensor  # [K, B, H, W]; NaN unknown, +inf sky
    rays: Tensor  # [B, H, W, 3], z = 1
    T_world_camera: Tensor  # [K, B, 4, 4]
    T_previous_camera: Tensor  # [K, B, 4, 4]
    has_previous: Tensor  # [K] bool, false for the first frame of the clip
    focal_px: Tensor  # [B]
    is_metric: Tensor  # [B] bool
    image: Tensor  # [K, B, 3, H, W] in [-1, 1]
    moving: Tensor  # [K, B, H, W] bool
    flow: Tensor | None  # [K, B, 2 or 3, H, W] px, measured
    is_by_rays: Tensor  # [K] bool, frames given by their rays alone

    @property
    def is_valid(self) -> Tensor:
        """Pixels of known, finite depth, [K, B, H, W]."""
        return torch.isfinite(self.depth_m) & (self.depth_m > 0)

    @property
    def mean_distance(self) -> Tensor:
        """Mean depth of the chunk per clip, at least 0.1, [B]."""
        depth = torch.where(self.is_valid, self.depth_m, 0.0)
        count = self.is_valid.sum(dim=(0, 2, 3)).clamp(min=1)
        return (depth.sum(dim=(0, 2, 3)) / count).clamp(min=0.1)


def chunk_target(batch: Batch, start: int, stop: int) -> Target:
    """Return the targets of frames ``start`` to ``stop`` (exclusive)."""
    height, width = batch.image.shape[-2:]
    frames = torch.arange(start, stop, device=batch.image.device)
    return Target(
        depth_m=batch.depth_m[start:stop],
        rays=viewing_rays(batch.intrinsics, height, width),
        T_world_camera=batch.T_world_camera[start:stop],
        T_previous_camera=relative_poses(batch.T_world_camera)[start:stop],
        has_previous=frames > 0,
        focal_px=batch.intrinsics[:, :2].mean(dim=1),
        is_metric=batch.is_metric,
        image=batch.image[start:stop].float().div(127.5).sub(1.0),
        moving=batch.moving[start:stop],
        flow=None if batch.flow is None else batch.flow[start:stop],
        is_by_rays=torch.tensor(batch.is_by_rays or (False,) * batch.num_frames)[start:stop],
    )


def loss_terms(
    predictions: list[Prediction], target: Target, config: LossConfig
) -> dict[str, Tensor]:
    """
    Compute every loss that has a weight and for which the model has an output.

    :param predictions: one per frame of the chunk.
    :return: unweighted scalars by the names of LossConfig.
    """
    terms: dict[str, Tensor] = {}
    points = _stack(predictions, 'points_camera')
    confidence = _stack(predictions, 'confidence_camera')
    if points is not None:
        guess = _stack(_priors(predictions), 'depth')
        terms |= _depth_terms(points[..., 2], guess, confidence, target, config)
        if config.points_metric or config.points_normalised:
            terms |= _point_terms(points, confidence, target, config)
    world = _stack(predictions, 'points_world')
    if world is not None and config.points_world:
        world_confidence = _stack(predictions, 'confidence_world')
        terms['points_world'] = _world_point_term(world, world_confidence, target, config)
    seen = _stack([prediction.two_view for prediction in predictions], 'single_image_depth')
    if seen is not None and config.depth_seen:
        terms['depth_seen'] = _seen_depth_term(seen, target)
    if config.scale and points is not None:
        learned = [points[..., 2] if guess is None else guess, seen]
        terms['scale'] = sum(_scale_term(depth, target) for depth in learned if depth is not None)
    terms |= _pose_terms(predictions, target, config)
    if config.spread and predictions[0].two_view is not None:
        terms |= _spread_terms(predictions, target)
    weight = _stack(_priors(predictions), 'flow_weight')
    if weight is not None and config.flow and bool(target.has_previous.any()):
        terms['flow'] = _flow_weight_term(weight, target)
    focal = _stack(predictions, 'focal_px')
    if focal is not None and focal.requires_grad and config.focal:
        terms['focal'] = (focal.log() - target.focal_px.log()).abs().mean()
    rgb = _stack(predictions, 'rgb')
    asked = target.is_by_rays
    if rgb is not None and config.rgb and bool(asked.any()):
        # Only frames given by their rays are rendered.
        terms['rgb'] = (rgb[asked] - target.image[asked].permute(0, 1, 3, 4, 2)).square().mean()
    return terms


def total_loss(terms: dict[str, Tensor], config: LossConfig) -> Tensor:
    """Return the weighted sum of the terms."""
    return sum(getattr(config, name) * value for name, value in terms.items())


def _priors(predictions: list[Prediction]) -> list[Prior | None]:
    """Return motion and depth before the bundle adjustment, which passes no gradient."""
    return [getattr(prediction.two_view, 'prior', None) for prediction in predictions]


def _stack(predictions: Sequence[object], name: str) -> Tensor | None:
    values = [getattr(prediction, name, None) for prediction in predictions]
    if any(value is None for value in values):
        return None
    return torch.stack([value.float() for value in values])


def _masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean over the mask; where() keeps NaN outside of it out of the gradient."""
    return torch.where(mask, values, 0.0).sum() / mask.sum().clamp(min=1)


def _weigh(error: Tensor, confidence: Tensor | None, alpha: float) -> Tensor:
    if confidence is None:
        return error
    return confidence * error - alpha * confidence.log()


def _depth_terms(
    depth: Tensor,
    guess: Tensor | None,
    confidence: Tensor | None,
    target: Target,
    config: LossConfig,
) -> dict[str, Tensor]:
    """
    Errors of log depth: metric, with the scale of each frame removed, and of its gradients.

    A solver passes no gradient. If there is one, the depth before it is trained, and the
    confidence learns the error of the depth after it.
    """
    valid, sky = target.is_valid, torch.isposinf(target.depth_m)
    learned = depth if guess is None else guess
    error, centred, residual = _log_depth_errors(learned, target)
    terms = {}
    if config.log_depth and guess is None:
        weighted = _weigh(error, confidence, config.confidence_alpha)
        terms['log_depth'] = _masked_mean(weighted, valid | sky)
    elif config.log_depth:
        terms['log_depth'] = _masked_mean(error, valid | sky)
    is_learned = guess is not None and confidence is not None
    if is_learned and config.confidence and config.confidence_alpha:
        terms['confidence'] = _confidence_term(depth.detach(), confidence, target, config)
    if config.scale_free_depth:
        terms['scale_free_depth'] = _masked_mean(centred.abs(), valid)
    if config.depth_gradient:
        terms['depth_gradient'] = _slope_term(residual, valid)
    return terms


def _confidence_term(
    depth: Tensor, confidence: Tensor, target: Target, config: LossConfig
) -> Tensor:
    """
    Loss of the confidence for a depth error that passes no gradient.

    Divided by alpha, which sets the size of confidences but not the weight of this loss. The scale
    of a frame is removed: it would dominate the differences between the pixels of the frame.
    """
    valid, sky = target.is_valid, torch.isposinf(target.depth_m)
    error, centred, _ = _log_depth_errors(depth, target)
    error = torch.where(sky, error, centred.abs())
    weighted = _weigh(error, confidence, config.confidence_alpha)
    weighted = weighted + CERTAIN_ERROR * (confidence - 1)
    return _masked_mean(weighted, valid | sky) / config.confidence_alpha


def _seen_depth_term(depth: Tensor, target: Target) -> Tensor:
    """
    Error of the depth from the image alone: metric, and without the scale of the frame.

    After fusion with parallax and memory this depth has little weight and would learn little.
    """
    error, centred, _ = _log_depth_errors(depth, target)
    valid, sky = target.is_valid, torch.isposinf(target.depth_m)
    return _masked_mean(error, valid | sky) + _masked_mean(centred.abs(), valid)


def _scale_term(depth: Tensor, target: Target) -> Tensor:
    """
    Error of the mean log depth of each frame that is in metres.

    An error of one pixel may be either its own or that of the whole frame. Only the latter decides
    how many metres the path is long, and the first frames decide it for the stream.
    """
    valid = target.is_valid
    log_ratio = depth.clamp(min=1e-3).log() - torch.where(valid, target.depth_m, 1.0).log()
    count = valid.sum(dim=(-2, -1))
    mean = torch.where(valid, log_ratio, 0.0).sum(dim=(-2, -1)) / count.clamp(min=1)
    return _masked_mean(mean.abs(), (count > 0) & target.is_metric)


def _log_depth_errors(depth: Tensor, target: Target) -> tuple[Tensor, Tensor, Tensor]:
    """Return the error, the residual without the scale of each frame, and the residual."""
    valid, sky = target.is_valid, torch.isposinf(target.depth_m)
    log_depth = depth.clamp(min=1e-3).log()
    residual = log_depth - torch.where(valid, target.depth_m, 1.0).log()
    count = valid.sum(dim=(-2, -1), keepdim=True).clamp(min=1)
    offset = torch.where(valid, residual, 0.0).sum(dim=(-2, -1), keepdim=True) / count
    centred = residual - offset
    metric = torch.where(target.is_metric[:, None, None], residual, centred)
    # Sky has no upper limit: only a predicted depth that is too small is an error.
    nearness = (math.log(SKY_DEPTH_M) - log_depth).clamp(min=0)
    return torch.where(sky, nearness, metric.abs()), centred, residual


def _slope_term(residual: Tensor, valid: Tensor) -> Tensor:
    """Mean difference of neighbouring log-depth errors (scale-invariant, after MegaDepth)."""
    total = residual.new_zeros(())
    for step in GRADIENT_STEPS:
        for near, far in (
            ((..., slice(None, -step)), (..., slice(step, None))),
            ((..., slice(None, -step), slice(None)), (..., slice(step, None), slice(None))),
        ):
            difference = (residual[far] - residual[near]).abs()
            total = total + _masked_mean(difference, valid[far] & valid[near])
    return total / (2 * len(GRADIENT_STEPS))


def _point_terms(
    points: Tensor, confidence: Tensor | None, target: Target, config: LossConfig
) -> dict[str, Tensor]:
    """L21 of camera-frame points, in metres and relative to the mean distance of each cloud."""
    valid = target.is_valid
    true = torch.where(valid, target.depth_m, 0.0)[..., None] * target.rays
    terms = {}
    if config.points_metric:
        error = (points - true).norm(dim=-1)
        mask = valid & target.is_metric[:, None, None]
        terms['points_metric'] = _masked_mean(
            _weigh(error, confidence, config.confidence_alpha), mask
        )
    if config.points_normalised:
        error = (_normalise(points, valid) - _normalise(true, valid)).norm(dim=-1)
        terms['points_normalised'] = _masked_mean(
            _weigh(error, confidence, config.confidence_alpha), valid
        )
    return terms


def _normalise(points: Tensor, valid: Tensor) -> Tensor:
    """Divide clouds by their mean distance over the chunk, per clip."""
    distance = torch.where(valid, points.norm(dim=-1), 0.0).sum(dim=(0, 2, 3))
    mean = distance / valid.sum(dim=(0, 2, 3)).clamp(min=1)
    return points / mean.clamp(min=1e-3)[:, None, None, None]


def _world_point_term(
    points: Tensor, confidence: Tensor | None, target: Target, config: LossConfig
) -> Tensor:
    """L21 of world-frame points relative to the mean distance of the cloud."""
    valid = target.is_valid
    camera = torch.where(valid, target.depth_m, 0.0)[..., None] * target.rays
    R, t = target.T_world_camera[..., :3, :3], target.T_world_camera[..., :3, 3]
    true = torch.einsum('kbij,kbhwj->kbhwi', R, camera) + t[:, :, None, None]
    error = (_normalise(points, valid) - _normalise(true, valid)).norm(dim=-1)
    return _masked_mean(_weigh(error, confidence, config.confidence_alpha), valid)


def _pose_terms(
    predictions: list[Prediction], target: Target, config: LossConfig
) -> dict[str, Tensor]:
    """Errors of the motion from the previous frame and of the pose in the world."""
    terms = {}
    used = target.has_previous
    relative = _stack(_priors(predictions), 'T_previous_camera')
    if relative is None:
        relative = _stack(predictions, 'T_previous_camera')
    if relative is not None and bool(used.any()):
        terms |= _motion_terms(relative[used], target.T_previous_camera[used], target, config)
    world = _stack(predictions, 'camera_pose')
    if world is not None and config.world_pose:
        true = target.T_world_camera
        translation = (world[..., :3] - true[..., :3, 3]).norm(dim=-1) / target.mean_distance
        quaternion = (world[..., 3:] - quaternion_wxyz_from_matrix(true[..., :3, :3])).norm(dim=-1)
        is_metric = target.is_metric.expand_as(translation)
        terms['world_pose'] = _masked_mean(translation, is_metric) + quaternion.mean()
    return terms


def _motion_terms(
    relative: Tensor, true: Tensor, target: Target, config: LossConfig
) -> dict[str, Tensor]:
    """
    Errors of a relative pose in units of the motion itself, so slow frames count as much.

    :param relative: predicted T_previous_camera, [K', B, 4, 4].
    :param true: the same, true.
    """
    R, R_true = relative[..., :3, :3], true[..., :3, :3]
    t, t_true = relative[..., :3, 3], true[..., :3, 3]
    length = t_true.norm(dim=-1)
    terms = {}
    if config.rotation:
        angle = rotation_angle(R.transpose(-1, -2) @ R_true)
        terms['rotation'] = (angle / (rotation_angle(R_true) + ROTATION_FLOOR_RAD)).mean()
    if config.translation:
        error = (t - t_true).norm(dim=-1) / (length + 0.005 * target.mean_distance)
        terms['translation'] = _masked_mean(error, target.is_metric.expand_as(error))
    if config.direction:
        # A motion far below one pixel has no measurable direction.
        is_moving = length > 0.003 * target.mean_distance
        cosine = torch.nn.functional.cosine_similarity(t, t_true, dim=-1, eps=1e-6)
        terms['direction'] = _masked_mean(1 - cosine, is_moving)
    return terms


def _spread_terms(predictions: list[Prediction], target: Target) -> dict[str, Tensor]:
    """
    Negative log likelihood (Laplace) of the errors before the solver; the errors are constants.

    Only the predicted deviations are trained: a known large error is still an error.
    The scale of a frame is removed: it would dominate the differences between pixels.
    """
    priors = _priors(predictions)
    guess = _stack(priors, 'depth').detach()
    error = _log_depth_errors(guess, target)[1].abs()
    depth = _masked_mean(_laplace(error, _stack(priors, 'depth_sigma')), target.is_valid)
    used = target.has_previous
    if not bool(used.any()):
        return {'spread': depth}
    relative = _stack(priors, 'T_previous_camera').detach()[used]
    true = target.T_previous_camera[used]
    turn = true[..., :3, :3] @ relative[..., :3, :3].transpose(-1, -2)
    skewed = (turn - turn.transpose(-1, -2)) / 2
    omega = torch.stack((skewed[..., 2, 1], skewed[..., 0, 2], skewed[..., 1, 0]), dim=-1)
    shift = true[..., :3, 3] - (turn @ relative[..., :3, 3:])[..., 0]
    sigma = _stack(priors, 'motion_sigma')[used]
    likelihood = _laplace(torch.cat((shift, omega), dim=-1).abs(), sigma)
    # The translation of a clip without metres has no error in metres.
    counts = torch.ones_like(likelihood, dtype=torch.bool)
    counts[..., :3] = target.is_metric[:, None]
    return {'spread': depth + _masked_mean(likelihood, counts)}


def _laplace(error: Tensor, sigma: Tensor) -> Tensor:
    scale = sigma / math.sqrt(2)
    return error / scale + scale.log()


def _flow_weight_term(weight: Tensor, target: Target) -> Tensor:
    """
    Cross entropy between the flow weights and the fit of the flow to the true static scene.

    The target of a pixel with a flow error of r px is 1 / (1 + r^2); of a moving object, 0.

    :param weight: [K, B, H, W], 0 to 1.
    """
    used = target.has_previous
    known = (target.is_valid | torch.isposinf(target.depth_m))[used]
    depth = torch.where(known, target.depth_m[used], 1.0)
    focal = target.focal_px[:, None].expand(-1, 2)
    true = static_flow(depth, target.T_previous_camera[used], target.rays, focal)
    deserved = 1 / (1 + (true - target.flow[used][:, :, :2]).square().sum(dim=2))
    deserved = torch.where(target.moving[used], 0.0, deserved)
    trust = weight[used].clamp(1e-6, 1 - 1e-6)
    entropy = -deserved * trust.log() - (1 - deserved) * (1 - trust).log()
    return _masked_mean(entropy, known)
