# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Records the results of a run frame by frame and writes its files.

Results may come from the tracker or from received messages, in any order. Memory is bounded except
for about 200 bytes per frame: depth is written at once, points go into a voxel map, and small
pictures of a few moments are kept.
"""

from __future__ import annotations

from array import array
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
import logging
from pathlib import Path
import time
from typing import Any, TypeVar

import cv2
import numpy as np

from mem3r_ros.camera import Intrinsics
from mem3r_ros.data.ply import write_ply
from mem3r_ros.errors import UserError
from mem3r_ros.evaluation.depth_error import DepthMeter, true_depth_at
from mem3r_ros.evaluation.trajectory_error import TrajectoryError, trajectory_error
from mem3r_ros.files import GrowingFile, write_image, write_text
from mem3r_ros.geometry import transform_points
from mem3r_ros.places import Correction
from mem3r_ros.refusals import Refusals
from mem3r_ros.reports.balance import Balance
from mem3r_ros.reports.depth_pictures import millimetres
from mem3r_ros.reports.map_parts import MapParts
from mem3r_ros.reports.output_folder import (
    DEPTH_FOLDER,
    begin_output,
    check_output,
    finish_output,
    work_folder,
)
from mem3r_ros.reports.page import write_report
from mem3r_ros.reports.result import RunResult, StatusSpan, StripFrame
from mem3r_ros.reports.summary import write_summary
from mem3r_ros.trajectory import Trajectory, ns_to_seconds, tum_line, write_tum

LOGGER = logging.getLogger(__name__)

# Images, poses and points of one stamp may arrive this many messages apart.
_MAX_WAITING = 64
_MAX_STATUS_SPANS = 2000
_STRIP_WIDTH_PX = 320

Value = TypeVar('Value')


class RunRecorder:
    """Writes the results of one run to one folder."""

    def __init__(
        self,
        output_dir: str | Path,
        *,
        title: str,
        source: str = '',
        model: str = '',
        device: str = '',
        config: Mapping[str, Any] | None = None,
        depth_every: int = 1,
        strip_length: int = 6,
        voxel_size_m: float = 0.02,
        max_points: int = 200_000,
        has_places: bool = False,
    ) -> None:
        """
        Check the folder; results of an earlier run in it are replaced when this one is finished.

        :param output_dir: output folder.
        :param title: heading of the report.
        :param source: name of the recording.
        :param model: name of the weights.
        :param device: name of the device.
        :param config: settings, as nested plain containers.
        :param depth_every: write every n-th depth image; 0 writes none.
        :param strip_length: number of moments shown in the report.
        :param voxel_size_m: initial voxel size of the map.
        :param max_points: maximum size of the map; when it is full it gets coarser.
        :param has_places: places will correct the map.
        :raises UserError: the folder cannot be written, or holds files of another kind.
        """
        self.output_dir = Path(output_dir)
        self._about = {'title': title, 'source': source, 'model': model, 'device': device}
        self._config = dict(config or {})
        self._depth_every = depth_every
        self._strip_length = strip_length
        check_output(self.output_dir)
        self._is_begun = False
        self.work_dir = work_folder(self.output_dir)
        self._path_so_far = GrowingFile(self.work_dir / 'trajectory.txt')
        self._depth_list = GrowingFile(self.work_dir / 'depth.txt')
        self._unwritten = Refusals()
        self._stamps, self._poses = array('q'), array('d')
        self._recent_poses: OrderedDict[int, np.ndarray] = OrderedDict()
        self._recent_images: OrderedDict[int, np.ndarray] = OrderedDict()
        self._waiting_points: OrderedDict[int, tuple] = OrderedDict()
        self._map = MapParts(voxel_size_m, max_points, has_places)
        self._timings_ms: dict[str, array] = {}
        self._spans: list[StatusSpan] = []
        self._strip: list[StripFrame] = []
        self._strip_stride = 1
        self._num_depths = 0
        self._meter = DepthMeter()
        self._started_s = time.monotonic()

    def add(
        self,
        stamp_ns: int,
        T_odom_camera: np.ndarray | None,
        *,
        depth_m: np.ndarray | None = None,
        intrinsics: Intrinsics | None = None,
        image: np.ndarray | None = None,
        points: np.ndarray | None = None,
        colours: np.ndarray | None = None,
        weights: np.ndarray | None = None,
        status: str = '',
        reason: str = '',
        timings_ms: Mapping[str, float] | None = None,
        true_depth_m: np.ndarray | None = None,
        camera: Intrinsics | None = None,
        confidence: np.ndarray | None = None,
    ) -> None:
        """
        Add all results of one frame; the other methods add single results.

        :param stamp_ns: stamp of the image.
        :param T_odom_camera: pose [4, 4], None if there is none.
        :param depth_m: depth [H, W] m.
        :param intrinsics: camera of the depth image.
        :param image: the camera's image [H, W, 3] uint8 RGB.
        :param points: points in the camera frame [P, 3] m.
        :param colours: their colours [P, 3] uint8.
        :param weights: confidence of each point [P].
        :param status: status of the tracker.
        :param reason: reason of the status.
        :param timings_ms: duration of each stage; 'total' is that of the frame.
        :param true_depth_m: true depth of the camera's image.
        :param camera: of the camera's image; without it true depth is not compared.
        :param confidence: of the depth image [H, W], above 1.
        """
        if T_odom_camera is not None:
            self.add_pose(stamp_ns, T_odom_camera)
        if image is not None:
            self.add_image(stamp_ns, image)
        if depth_m is not None:
            self.add_depth(stamp_ns, depth_m, intrinsics, true_depth_m, camera, confidence)
        if points is not None and colours is not None:
            self.add_points(stamp_ns, points, colours, weights)
        if status:
            self.add_status(stamp_ns, status, reason)
        self.add_timings(timings_ms or {})

    def add_pose(self, stamp_ns: int, T_odom_camera: np.ndarray) -> None:
        """
        Take the pose of one image; points that waited for it go into the map.

        It is in ``trajectory.txt`` when this returns: a run that is killed keeps its path so far.
        """
        self._stamps.append(stamp_ns)
        self._poses.extend(np.asarray(T_odom_camera, dtype=np.float64)[:3].reshape(-1))
        self._attempt(lambda: self._path_so_far.add(tum_line(stamp_ns, T_odom_camera)))
        _keep(self._recent_poses, stamp_ns, T_odom_camera)
        if stamp_ns in self._waiting_points:
            self.add_points(stamp_ns, *self._waiting_points.pop(stamp_ns))

    def add_image(self, stamp_ns: int, image: np.ndarray) -> None:
        """Keep a small copy of an image [H, W, 3] for the report until its depth is added."""
        _keep(self._recent_images, stamp_ns, _shrunk(image, cv2.INTER_AREA))

    def add_depth(
        self,
        stamp_ns: int,
        depth_m: np.ndarray,
        intrinsics: Intrinsics | None = None,
        true_depth_m: np.ndarray | None = None,
        camera: Intrinsics | None = None,
        confidence: np.ndarray | None = None,
    ) -> None:
        """Write a depth image [H, W] m, and measure its error if the truth is known."""
        true_m = None
        if true_depth_m is not None and intrinsics is not None and camera is not None:
            true_m = true_depth_at(true_depth_m, camera, intrinsics)
            self._meter.add(depth_m, true_m)
        index = self._num_depths
        self._num_depths += 1
        if self._depth_every and index % self._depth_every == 0:
            self._write_depth(index, stamp_ns, depth_m)
        if index % self._strip_stride == 0:
            small = _shrunk(depth_m, cv2.INTER_NEAREST)
            small_true = None if true_m is None else _shrunk(true_m, cv2.INTER_NEAREST)
            image = self._recent_images.get(stamp_ns)
            sure = None if confidence is None else _shrunk(confidence, cv2.INTER_NEAREST)
            self._strip.append(StripFrame(stamp_ns, small, image, small_true, sure))
            if len(self._strip) > 4 * self._strip_length:
                # The length of the run is unknown: keep every other moment, add half as often.
                self._strip = self._strip[::2]
                self._strip_stride *= 2

    def add_points(
        self,
        stamp_ns: int,
        points_camera: np.ndarray,
        colours: np.ndarray,
        weights: np.ndarray | None = None,
    ) -> None:
        """Add points of one image, in its camera frame, to the map; they wait for its pose."""
        pose = self._recent_poses.get(stamp_ns)
        if pose is None:
            _keep(self._waiting_points, stamp_ns, (points_camera, colours, weights))
            return
        points_odom = transform_points(pose, np.asarray(points_camera))
        self._map.add(stamp_ns, points_odom, colours, weights)

    def add_status(self, stamp_ns: int, status: str, reason: str = '') -> None:
        """Add the tracker's status at one image, in upper or lower case."""
        status = status.lower()
        last = self._spans[-1] if self._spans else None
        if last is not None and (last.status, last.reason) == (status, reason):
            self._spans[-1] = StatusSpan(
                status, reason, last.start_ns, stamp_ns, last.num_frames + 1
            )
        elif len(self._spans) < _MAX_STATUS_SPANS:
            self._spans.append(StatusSpan(status, reason, stamp_ns, stamp_ns, 1))

    def add_timings(self, timings_ms: Mapping[str, float]) -> None:
        """Add the duration of each stage of one frame."""
        for stage, duration_ms in timings_ms.items():
            self._timings_ms.setdefault(stage, array('f')).append(duration_ms)

    def finish(
        self,
        *,
        truth: Trajectory | None = None,
        num_images: int | None = None,
        num_skipped: int = 0,
        wall_time_s: float | None = None,
        notes: Sequence[str] = (),
        balance: Balance | None = None,
        in_map: Trajectory | None = None,
        correction: Correction | None = None,
    ) -> RunResult:
        """
        Write trajectory, map, figures and report.

        :param truth: the true path of the camera, if known.
        :param num_images: images given to the tracker; default: the number of poses.
        :param num_skipped: images that could not be used.
        :param wall_time_s: how long the run took; default: since this recorder was made.
        :param notes: sentences that the reader of the numbers should know.
        :param balance: what became of each image.
        :param in_map: the poses in the map, corrected by recognised places.
        :param correction: of the points, with ``in_map``.
        :return: the result, as it stands in the page.
        :raises UserError: there is not one pose.
        """
        if wall_time_s is None:
            wall_time_s = time.monotonic() - self._started_s
        trajectory = self.trajectory()
        if not len(trajectory):
            why = f' ({notes[0].rstrip(".")})' if notes else ''
            raise UserError(f'the run gave no pose at all{why}; there is nothing to report')
        merged = self._map.merged()
        error, problems = _error(trajectory, truth)
        result = RunResult(
            **self._about,
            trajectory=trajectory,
            truth=truth,
            error=error,
            depth_error=self._meter.result(),
            strip=self._chosen_strip(),
            moments=tuple(self._strip),
            points=merged.points(),
            colours=merged.colours(),
            weights=merged.weights(),
            timings_ms={stage: np.array(times) for stage, times in self._timings_ms.items()},
            statuses=tuple(self._spans),
            num_images=len(trajectory) if num_images is None else num_images,
            num_skipped=num_skipped,
            wall_time_s=wall_time_s,
            notes=(*notes, *self._unwritten.sentences('files'), *problems),
            config=self._config,
            balance=balance,
            in_map=in_map,
        )
        self._write(result, correction if in_map is not None else None)
        return result

    def trajectory(self) -> Trajectory:
        """Return the poses added so far."""
        poses = np.tile(np.eye(4), (len(self._stamps), 1, 1))
        poses[:, :3] = np.array(self._poses).reshape(-1, 3, 4)
        return Trajectory(np.array(self._stamps, dtype=np.int64), poses)

    def _write(self, result: RunResult, correction: Correction | None) -> None:
        self.begin()
        self._path_so_far.close()
        self._depth_list.close()
        write_tum(self.work_dir / 'trajectory.txt', result.trajectory)
        if result.in_map is not None:
            write_tum(self.work_dir / 'trajectory_map.txt', result.in_map)
        if result.truth is not None:
            write_tum(self.work_dir / 'truth.txt', result.truth)
        write_ply(self.work_dir / 'map.ply', result.points, result.colours)
        if correction is not None:
            moved = self._map.corrected(correction)
            write_ply(self.work_dir / 'map_corrected.ply', moved.points(), moved.colours())
        if result.config:
            import yaml

            text = yaml.safe_dump(result.config, sort_keys=False, default_flow_style=None)
            write_text(self.work_dir / 'config.yaml', text)
        write_summary(self.work_dir / 'summary.json', result)
        write_report(self.work_dir, result)
        finish_output(self.output_dir, self.work_dir)

    def _write_depth(self, index: int, stamp_ns: int, depth_m: np.ndarray) -> None:
        name = f'{DEPTH_FOLDER}/{index:06d}.png'
        # Compression 1 is four times as fast as the default for a tenth more bytes.
        options = cv2.IMWRITE_PNG_COMPRESSION, 1
        if self._attempt(lambda: write_image(self.work_dir / name, millimetres(depth_m), options)):
            self._attempt(lambda: self._depth_list.add(f'{ns_to_seconds(stamp_ns)} {name}\n'))

    def _attempt(self, write: Callable[[], None]) -> bool:
        """Write something; count and log a failure, with which the run itself goes on."""
        self.begin()
        try:
            write()
        except UserError as error:
            if self._unwritten.add(error) == 1:
                LOGGER.warning('%s', error)
            return False
        return True

    def begin(self) -> None:
        """
        Make the folder ready, at the first result: a run that fails before changes nothing.

        :raises UserError: the folder cannot be written, or holds something else than a run.
        """
        if not self._is_begun:
            begin_output(self.output_dir, self.work_dir)
            self._is_begun = True

    def _chosen_strip(self) -> tuple[StripFrame, ...]:
        """Return the moments for the report, evenly over the run."""
        count = min(self._strip_length, len(self._strip))
        chosen = np.linspace(0, len(self._strip) - 1, count).round().astype(int)
        return tuple(self._strip[index] for index in chosen)


def _error(
    trajectory: Trajectory, truth: Trajectory | None
) -> tuple[TrajectoryError | None, list[str]]:
    """Return the error against the truth, or a note why it cannot be computed."""
    if truth is None:
        return None, []
    try:
        return trajectory_error(trajectory, truth), []
    except UserError as reason:
        return None, [f'No trajectory error: {reason}.']


def _keep(store: OrderedDict[int, Value], stamp_ns: int, value: Value) -> None:
    store[stamp_ns] = value
    if len(store) > _MAX_WAITING:
        store.popitem(last=False)


def _shrunk(image: np.ndarray, interpolation: int) -> np.ndarray:
    height, width = image.shape[:2]
    if width <= _STRIP_WIDTH_PX:
        return np.array(image)
    size = _STRIP_WIDTH_PX, max(1, round(height * _STRIP_WIDTH_PX / width))
    return cv2.resize(image, size, interpolation=interpolation)
