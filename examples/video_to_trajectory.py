# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
From a video to a trajectory in the TUM format, by the Python interface.

    python examples/video_to_trajectory.py VIDEO trajectory.txt
"""

import argparse

import numpy as np

from mem3r_ros.data import open_sequence
from mem3r_ros.errors import BadFrame
from mem3r_ros.model import load_model
from mem3r_ros.tracker import CameraFrame, Tracker
from mem3r_ros.trajectory import Trajectory, write_tum


def main() -> None:
    """Track each frame and write the poses of the camera."""
    parser = argparse.ArgumentParser(description='video to trajectory')
    parser.add_argument('video', help='video, bag or folder of images')
    parser.add_argument('trajectory', help='file to write: stamp x y z qx qy qz qw')
    parser.add_argument('--model', default='mem3r-tiny', help='preset or file (mem3r-tiny)')
    parser.add_argument('--max-frames', type=int, help='stop after so many images')
    args = parser.parse_args()

    tracker = Tracker(load_model(args.model))
    stamps_ns, poses = [], []
    for frame in open_sequence(args.video, max_frames=args.max_frames):
        try:
            # Only the pose is wanted: depth and points cost time.
            tracked = tracker.track(CameraFrame(frame.stamp_ns, frame.image, frame.camera), ())
        except BadFrame as error:
            print(f'skipped: {error}')
            continue
        stamps_ns.append(frame.stamp_ns)
        poses.append(tracked.T_odom_camera)
    path = Trajectory(np.array(stamps_ns), np.array(poses))
    write_tum(args.trajectory, path)
    print(f'{len(path)} poses, {path.length_m:.2f} m: {args.trajectory}')


if __name__ == '__main__':
    main()
