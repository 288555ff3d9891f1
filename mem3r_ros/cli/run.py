# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The command ``mem3r run``: track a camera, a bag, a video or a folder of images without ROS."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mem3r_ros.data import Sequence
    from mem3r_ros.reports import RunResult
    from mem3r_ros.tracker import TrackerConfig

HELP = 'track a camera, a bag, a video or a folder of images without ROS'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    from mem3r_ros.cli.arguments import add_sequence_arguments, add_tracking_arguments

    parser.add_argument(
        'path',
        metavar='PATH',
        help='bag, video, data set or folder of images; or a live camera: 0, /dev/video0, '
        'rtsp://... (Ctrl-C ends it and writes the results)',
    )
    parser.add_argument(
        '--output', metavar='DIR', default='run_output', help='folder for the results (run_output)'
    )
    add_sequence_arguments(parser)
    add_tracking_arguments(parser)
    parser.add_argument(
        '--depth-every',
        metavar='N',
        type=int,
        default=1,
        help='write every n-th depth image; 0 writes none (1)',
    )
    parser.add_argument(
        '--rerun', action='store_true', help='also write run.rrd for the Rerun viewer'
    )
    parser.add_argument(
        '--view', action='store_true', help='show the run live in the Rerun viewer'
    )
    parser.add_argument(
        '--video',
        action='store_true',
        help='also write video.mp4: image, depth, path and map side by side',
    )


def run(args: argparse.Namespace) -> int:
    """
    Track the recording and write the results.

    :return: 0.
    :raises UserError: the recording, the model or a setting cannot be used.
    """
    from mem3r_ros.cli.arguments import check_paths
    from mem3r_ros.cli.settings import config_from
    from mem3r_ros.errors import UserError
    from mem3r_ros.live_sources import is_live
    from mem3r_ros.reports.output_folder import check_output
    from mem3r_ros.reports.rerun_log import require_rerun

    # First what can be wrong with the arguments; the imports below take seconds.
    if args.depth_every < 0:
        raise UserError(f'--depth-every is {args.depth_every}; it must be 0 or more')
    if args.rerun or args.view:
        require_rerun()
    if not is_live(args.path):
        check_paths([args.path])
    check_output(Path(args.output))
    config = config_from(args)
    from mem3r_ros.model.backend import load_backend
    from mem3r_ros.reports.summary import print_summary

    sequence = _opened(args, config)
    check_place(sequence, Path(args.output))
    network, device = load_backend(config)
    result = run_sequence(
        sequence,
        network,
        device,
        config,
        Path(args.output),
        depth_every=args.depth_every,
        listeners=frozenset(k for k in ('rerun', 'view', 'video') if getattr(args, k)),
    )
    print_summary(result, Path(args.output))
    return 0


def _opened(args: argparse.Namespace, config: Any) -> Sequence:
    """Open the recording or the camera."""
    from mem3r_ros.live_sources import is_live

    if is_live(args.path):
        from mem3r_ros.data import Selection
        from mem3r_ros.data.live_camera import LiveCamera

        return LiveCamera(args.path, Selection(args.stride, args.max_frames))
    from mem3r_ros.data import open_sequence

    return open_sequence(
        args.path,
        args.image_topic,
        stride=args.stride,
        max_frames=args.max_frames,
        fps=args.fps,
        max_pixels=config.input.max_pixels,
    )


def check_place(sequence: Sequence, output_dir: Path) -> None:
    """
    Check that results may be written to a folder.

    :raises UserError: it holds files of another kind, or is the recording itself.
    """
    from mem3r_ros.errors import UserError
    from mem3r_ros.reports.output_folder import check_output

    check_output(output_dir)
    if output_dir.resolve() == sequence.path.resolve():
        # The next run would read the predicted depth as that of the recording.
        raise UserError(f'{output_dir} is the recording; choose another folder for --output')


def run_sequence(
    sequence: Sequence,
    network: Any,
    device: str,
    config: Any,
    output_dir: Path,
    *,
    depth_every: int = 1,
    listeners: frozenset[str] = frozenset(),
) -> RunResult:
    """
    Track one sequence with a fresh tracker and write the results, with a progress bar.

    :param sequence: images to track.
    :param network: a loaded network.
    :param device: device of the network.
    :param config: a RunConfig.
    :param output_dir: folder for the results.
    :param depth_every: write every n-th depth image; 0 writes none.
    :param listeners: what else is shown or written, see ``listeners.open_listeners``.
    :return: the result.
    """
    from mem3r_ros.cli.in_map import corrected, map_notes
    from mem3r_ros.cli.listeners import open_listeners
    from mem3r_ros.cli.tracking import Tracked, device_name, track_sequence
    from mem3r_ros.config import to_dict
    from mem3r_ros.reports import RunRecorder
    from mem3r_ros.reports.progress import progress
    from mem3r_ros.threads import runs_in_parallel
    from mem3r_ros.tracker import Tracker

    recorder = RunRecorder(
        output_dir,
        title=sequence.name,
        source=sequence.path.name,
        model=Path(config.model).name,
        device=device_name(device),
        config=to_dict(config),
        depth_every=depth_every,
        has_places=config.tracking.places.enabled,
    )
    started_s = time.perf_counter()
    with (
        progress(sequence.name, sequence.num_frames) as bar,
        open_listeners(recorder, listeners) as opened,
    ):

        def on_frame(frame: Any, tracked: Any) -> None:
            bar.advance('' if tracked is None else tracked.status.value)
            if tracked is not None:
                for listener in opened:
                    listener.frame(frame, tracked)

        tracker = Tracker(network, _waiting(config.tracking, sequence.is_live))
        counts = Tracked()
        interrupted = None
        try:
            is_parallel = runs_in_parallel(config.pipelined)
            track_sequence(sequence, tracker, recorder, on_frame, counts, is_parallel)
        except KeyboardInterrupt as error:
            interrupted = error  # what there is so far is written before the program ends
    num_poses = len(recorder.trajectory())
    if sequence.is_live and num_poses:
        interrupted = None  # the usual end of a live run
    if interrupted is not None and not num_poses:
        raise interrupted
    balance = counts.balance(sequence, num_poses, interrupted is not None)
    in_map = corrected(tracker.places, recorder.trajectory())
    result = recorder.finish(
        truth=sequence.truth,
        num_images=counts.num_images,
        num_skipped=sum(balance.refused.values()),
        wall_time_s=time.perf_counter() - started_s,
        notes=[
            *counts.notes(sequence, balance),
            *map_notes(in_map, tracker.places.correction, sequence.truth),
        ],
        balance=balance,
        in_map=in_map,
        correction=tracker.places.correction,
    )
    if interrupted is not None:
        raise interrupted
    return result


def _waiting(tracking: TrackerConfig, is_live: bool) -> TrackerConfig:
    """Return settings with which places wait for each keyframe of a recording."""
    if is_live or not tracking.places.enabled:
        return tracking
    return replace(tracking, places=replace(tracking.places, wait=True))
