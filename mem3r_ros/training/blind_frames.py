# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Blind frames: images that show little or nothing, and gaps where images are missing.

A stream of good images hands the network its motion as optical flow. Blind frames take that away
for a moment, so that only the memories know how the camera moves on and what is there.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from mem3r_ros.training.batch import Clip

KINDS = ('dark', 'blurred', 'occluded', 'empty', 'dropped')
MEAN_RUN = 2.0  # frames without sight in a row, on average
LONGEST_RUN = 10
DARK_GAIN = (0.01, 0.04)  # factor on the brightness of a dark frame
DARK_NOISE = 1.5  # grey levels
BLUR_SHARE = 0.08  # standard deviation of the blur over the longer side of the image
FREE_SHARE = (0.0, 0.15)  # share of the longer side that an obstacle leaves free


def blind_runs(rng: np.random.Generator, num_frames: int, share: float) -> np.ndarray:
    """
    Draw which frames are blind, in runs; the first frame never is.

    :param share: of the frames, 0 to 1; a run that reaches the end of the clip is cut.
    :return: bool [num_frames].
    """
    blind = np.zeros(num_frames, bool)
    if share <= 0:
        return blind
    start_chance = share / MEAN_RUN
    frame = 1
    while frame < num_frames:
        if rng.random() < start_chance:
            length = min(int(rng.geometric(1 / MEAN_RUN)), LONGEST_RUN)
            blind[frame : frame + length] = True
            frame += length
        frame += 1
    return blind


def with_blind_frames(clip: Clip, num_frames: int, share: float, seed: list[int]) -> Clip:
    """
    Return ``num_frames`` of a clip, some of them blind; depth and poses stay true.

    :param clip: at network size, with at least ``num_frames`` frames; the surplus replaces frames
        that are dropped.
    :param share: see :func:`blind_runs`.
    """
    rng = np.random.default_rng(seed)
    surplus = len(clip.image) - num_frames
    kinds = KINDS if surplus else KINDS[:-1]
    kind = str(rng.choice(kinds))
    if kind == 'dropped':
        return clip.cut(_kept(rng, num_frames, surplus, share))
    clip = clip.cut(slice(0, num_frames))
    return blinded(clip, blind_runs(rng, num_frames, share), kind, rng)


def _kept(rng: np.random.Generator, num_frames: int, surplus: int, share: float) -> np.ndarray:
    """Return the frames that are left when runs of others are dropped, [num_frames]."""
    dropped = np.flatnonzero(blind_runs(rng, num_frames + surplus, share))[:surplus]
    return np.setdiff1d(np.arange(num_frames + surplus), dropped)[:num_frames]


def blinded(clip: Clip, blind: np.ndarray, kind: str, rng: np.random.Generator) -> Clip:
    """
    Return a clip whose frames ``blind`` (bool [T]) show little or nothing.

    :param kind: one of ``KINDS``, but not dropped.
    """
    image = clip.image.copy()
    fine = None if clip.fine_gray is None else clip.fine_gray.copy()
    for frame in np.flatnonzero(blind):
        seed = int(rng.integers(1 << 31))  # equal obstacles at both sizes
        image[frame] = _BLINDERS[kind](image[frame], np.random.default_rng(seed))
        if fine is not None:
            fine[frame] = _BLINDERS[kind](fine[frame], np.random.default_rng(seed))
    return replace(clip, image=image, fine_gray=fine)


def _dark(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return an image in which noise covers what is left of the light."""
    dim = image * rng.uniform(*DARK_GAIN) + rng.normal(0, DARK_NOISE, image.shape)
    return dim.clip(0, 255).astype(np.uint8)


def _blurred(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return an image far out of focus."""
    return cv2.GaussianBlur(image, (0, 0), BLUR_SHARE * max(image.shape[:2]))


def _occluded(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return an image most of which an obstacle in front of the lens covers."""
    height, width = image.shape[:2]
    left, right, top, bottom = rng.uniform(*FREE_SHARE, 4)
    rows = slice(int(top * height), height - int(bottom * height))
    columns = slice(int(left * width), width - int(right * width))
    covered = image.copy()
    shade = rng.uniform(10, 200, 3)[: image.shape[2] if image.ndim == 3 else 1]
    covered[rows, columns] = shade
    return covered


def _empty(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return an image of a camera that delivers none: one grey with noise."""
    grey = rng.uniform(0, 255) + rng.normal(0, 2.0, image.shape)
    return grey.clip(0, 255).astype(np.uint8)


_BLINDERS = {'dark': _dark, 'blurred': _blurred, 'occluded': _occluded, 'empty': _empty}
