# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Preview of rendered worlds: a contact sheet of all kinds, and the rendering speed."""

from __future__ import annotations

import argparse
from pathlib import Path
import time

import cv2
import numpy as np
import torch

from mem3r_ros.worlds.config import WORLD_KINDS, WorldConfig
from mem3r_ros.worlds.renderer import Clip, render_clip

CLIPS = 3  # of each kind on the sheet
FRAMES = 12


def _strip(clip: Clip) -> np.ndarray:
    """Return first image, last image and first depth side by side, RGB [H, 3 W, 3]."""
    near = 255 / (1 + clip.depth_m[0].cpu().numpy() / 3)
    depth = cv2.applyColorMap(near.astype(np.uint8), cv2.COLORMAP_TURBO)[..., ::-1]
    return np.concatenate([clip.image[0].cpu().numpy(), clip.image[-1].cpu().numpy(), depth], 1)


def main() -> int:
    """Render some clips of each kind twice; print the frames per second of the second time."""
    parser = argparse.ArgumentParser(prog='python -m mem3r_ros.worlds', description=__doc__)
    parser.add_argument('--preview', type=Path, metavar='PNG', help='contact sheet to write')
    parser.add_argument('--seed', type=int, default=0, help='seed of the worlds (%(default)s)')
    parser.add_argument('--device', default='cpu', help='device to render on (%(default)s)')
    parser.add_argument('--size', type=int, nargs=2, default=(128, 96), metavar=('W', 'H'),
                        help='size of the images in px (128 96)')  # fmt: skip
    parser.add_argument('--threads', type=int, default=1, help='threads of torch (%(default)s)')
    parser.add_argument('--wide', action='store_true', help='worlds beyond the ordinary range')
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    rows = []
    for kind in (*WORLD_KINDS, 'mixture'):
        config = WorldConfig(world=kind, seed=args.seed, wide_share=float(args.wide))
        for _ in range(2):  # the first time includes painting the textures
            start_s = time.perf_counter()
            clips = [
                render_clip(index, FRAMES, tuple(args.size), config, args.device)
                for index in range(CLIPS)
            ]
            rate = CLIPS * FRAMES / (time.perf_counter() - start_s)
        print(f'{kind:<9} {rate:6.0f} frames/s at {args.size[0]}x{args.size[1]}')
        rows.append(np.concatenate([_strip(clip) for clip in clips], axis=1))
    if args.preview:
        cv2.imwrite(str(args.preview), np.concatenate(rows)[..., ::-1])
    return 0


if __name__ == '__main__':
    raise SystemExit(main())
