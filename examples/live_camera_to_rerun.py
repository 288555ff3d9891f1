# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
A live camera in the Rerun viewer, by the Python interface (needs rerun-sdk).

    python examples/live_camera_to_rerun.py 0
"""

import argparse
from pathlib import Path

from mem3r_ros.data import Selection
from mem3r_ros.data.live_camera import LiveCamera
from mem3r_ros.errors import BadFrame
from mem3r_ros.model import load_model
from mem3r_ros.reports.rerun_log import RerunLog
from mem3r_ros.tracker import CameraFrame, Tracker


def main() -> None:
    """Track the newest image of the camera until Ctrl-C."""
    parser = argparse.ArgumentParser(description='live camera to Rerun')
    parser.add_argument('camera', help='0, /dev/video0 or rtsp://...')
    parser.add_argument('--model', default='mem3r-tiny', help='preset or file (mem3r-tiny)')
    parser.add_argument('--save', type=Path, help='write this .rrd file instead of a viewer')
    parser.add_argument('--max-frames', type=int, help='stop after so many images')
    args = parser.parse_args()

    tracker = Tracker(load_model(args.model))
    camera = LiveCamera(args.camera, Selection(max_frames=args.max_frames))
    log = RerunLog(args.save)
    try:
        for frame in camera:
            try:
                tracked = tracker.track(CameraFrame(frame.stamp_ns, frame.image))
            except BadFrame as error:
                print(f'skipped: {error}')
                continue
            log.frame(frame, tracked)
    except KeyboardInterrupt:
        pass
    finally:
        camera.stop()
        log.close()


if __name__ == '__main__':
    main()
