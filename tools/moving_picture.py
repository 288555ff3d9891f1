# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Make a moving picture (WebP or GIF) of the video of a run.

docs/images/demo.webp is made by

    mem3r run mem3r_ros/samples/rendered_room --video --output demo_video
    python tools/moving_picture.py demo_video/video.mp4 docs/images/demo.webp
"""

from __future__ import annotations

import argparse
from pathlib import Path
import sys

import cv2

MAX_BYTES = 3_000_000


def main(arguments: list[str] | None = None) -> int:
    """Write the picture; return 1 if it is larger than the limit."""
    parser = argparse.ArgumentParser(description='moving picture of a video')
    parser.add_argument('video', type=Path, help='video.mp4 of a run')
    parser.add_argument('picture', type=Path, help='.webp or .gif to write')
    parser.add_argument('--width', type=int, default=640, help='width in px (640)')
    parser.add_argument('--every', type=int, default=3, help='use every n-th picture (3)')
    parser.add_argument('--quality', type=int, default=55, help='quality of WebP, 1 to 100 (55)')
    args = parser.parse_args(arguments)
    capture = cv2.VideoCapture(str(args.video))
    step_ms = 1000.0 * args.every / (capture.get(cv2.CAP_PROP_FPS) or 15.0)
    frames = []
    while capture.grab():
        if capture.get(cv2.CAP_PROP_POS_FRAMES) % args.every != 1 % args.every:
            continue
        picture = capture.retrieve()[1]
        height = round(args.width * picture.shape[0] / picture.shape[1])
        frames.append(cv2.resize(picture, (args.width, height), interpolation=cv2.INTER_AREA))
    if not frames:
        print(f'{args.video} has no pictures', file=sys.stderr)
        return 1
    animation = cv2.Animation()
    animation.frames = frames
    animation.durations = [round(step_ms)] * (len(frames) - 1) + [1500]
    options = [cv2.IMWRITE_WEBP_QUALITY, args.quality] if args.picture.suffix == '.webp' else []
    cv2.imwriteanimation(str(args.picture), animation, options)
    size = args.picture.stat().st_size
    print(f'{args.picture}: {len(frames)} pictures, {size / 1e6:.2f} MB')
    return int(size > MAX_BYTES)


if __name__ == '__main__':
    sys.exit(main())
