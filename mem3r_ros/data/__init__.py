# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Readers and writers of recordings; ``open_sequence`` detects the format of a path."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from mem3r_ros.data.picture_files import MAX_PIXELS
from mem3r_ros.data.sequence import Selection, Sequence, SequenceFrame
from mem3r_ros.errors import UserError
from mem3r_ros.files import visible

__all__ = ['Selection', 'Sequence', 'SequenceFrame', 'kind_of', 'open_sequence']

DEFAULT_FPS = 30.0
# Layouts of data sets and their readers: those with stamps, and those that need a frame rate.
STAMPED = {
    'tum': ('tum', 'TumSequence'),
    'bonn': ('bonn', 'BonnSequence'),
    'kitti': ('kitti', 'KittiSequence'),
    'kitti_raw': ('kitti_raw', 'KittiRawSequence'),
    'euroc': ('euroc', 'EurocSequence'),
    'sintel': ('sintel', 'SintelSequence'),
}
UNSTAMPED = {
    '7scenes': ('seven_scenes', 'SevenScenesSequence'),
    'scannet': ('scannet', 'ScanNetSequence'),
    'tartanair': ('tartanair', 'TartanAirSequence'),
    'hypersim': ('hypersim', 'HypersimSequence'),
    'nrgbd': ('nrgbd', 'NrgbdSequence'),
}


def open_sequence(
    path: str | Path,
    image_topic: str | None = None,
    *,
    stride: int = 1,
    max_frames: int | None = None,
    with_depth: bool = True,
    fps: float | None = None,
    max_pixels: int = MAX_PIXELS,
) -> Sequence:
    """
    Open a bag, a video, a sequence of a known data set or a folder of images.

    :param path: file or folder.
    :param image_topic: image topic of a bag; default: the only or most likely one.
    :param stride: read every n-th frame.
    :param max_frames: maximum number of frames.
    :param with_depth: whether true depth is read, if there is any.
    :param fps: frame rate of recordings without stamps.
    :param max_pixels: larger pictures are refused before they are decoded.
    :return: the sequence; iterate it for frames.
    :raises UserError: there is nothing at the path, or nothing that can be read.
    """
    path = Path(path).expanduser()
    selection = Selection(stride, max_frames, with_depth, max_pixels)
    if fps is not None and not 0.0 < fps < 1e6:
        raise UserError(f'fps is {fps}; it must be positive')
    if not path.exists():
        raise UserError(f'no such file or folder: {path}')
    if path.is_dir() and not any(visible(path)):
        raise UserError(f'{path} is an empty folder; expected a bag, a video or images')
    kind = kind_of(path)
    if image_topic is not None and kind != 'bag':
        raise UserError(f'{path} is no bag, so it has no image topic {image_topic!r}')
    return _open(kind, path, selection, image_topic, fps)


def kind_of(path: Path) -> str:
    """
    Return the format of a path, detected from its name and its entries.

    :param path: existing file or folder.
    :return: 'bag', 'video', 'folder', 'images' or the name of a data set's layout.
    :raises UserError: it is none of these.
    """
    from mem3r_ros.data.bag_storage import BAG_SUFFIXES
    from mem3r_ros.data.folder import IMAGE_SUFFIXES
    from mem3r_ros.data.video import VIDEO_SUFFIXES

    if path.is_file():
        suffix = path.suffix.lower()
        if suffix in BAG_SUFFIXES or path.name == 'metadata.yaml':
            return 'bag'
        if suffix in VIDEO_SUFFIXES:
            return 'video'
        if suffix in IMAGE_SUFFIXES:
            raise UserError(f'{path} is one image; give the folder of the sequence')
        raise UserError(
            f'{path} is of unknown kind {suffix or path.name!r}; expected a bag '
            f'({", ".join(BAG_SUFFIXES)}), a video (.mp4, ...) or a folder'
        )
    suffixes = {entry.suffix.lower() for entry in visible(path)}
    if (path / 'metadata.yaml').exists() or suffixes & set(BAG_SUFFIXES):
        return 'bag'
    layout = _layout_of(path)
    if layout is not None:
        return layout
    if suffixes & set(IMAGE_SUFFIXES):
        return 'images'
    inside = ', '.join(sorted(entry.name for entry in visible(path))[:8])
    raise UserError(
        f'{path} holds no images and no bag (it has: {inside}); '
        f'give a bag, a video, a folder of images or one sequence of a data set'
    )


def _layout_of(path: Path) -> str | None:
    """Return the name of the data set whose layout a folder has; None if there is none."""
    from mem3r_ros.data.bonn import NAME
    from mem3r_ros.data.euroc import is_euroc
    from mem3r_ros.data.hypersim import is_hypersim
    from mem3r_ros.data.kitti_raw import is_kitti_raw
    from mem3r_ros.data.nrgbd import is_nrgbd
    from mem3r_ros.data.sintel import is_sintel

    if (path / 'rgb.txt').exists():
        return 'bonn' if path.resolve().name.startswith(NAME) else 'tum'
    if (path / 'rgb').is_dir():
        return 'folder'
    if next(path.glob('frame-*.color.*'), None) is not None:
        return '7scenes'
    if any((path / f'image_{number}').is_dir() for number in range(4)):
        return 'kitti'
    for layout, is_layout in (
        ('kitti_raw', is_kitti_raw),
        ('euroc', is_euroc),
        ('sintel', is_sintel),
        ('nrgbd', is_nrgbd),
    ):
        if is_layout(path):
            return layout
    if (path / 'color').is_dir() and any((path / n).is_dir() for n in ('pose', 'intrinsic')):
        return 'scannet'
    if (path / 'image_left').is_dir():
        return 'tartanair'
    return 'hypersim' if is_hypersim(path) else None


def _open(
    kind: str, path: Path, selection: Selection, image_topic: str | None, fps: float | None
) -> Sequence:
    # Imported here so that the libraries of a reader are optional.
    if kind == 'bag':
        from mem3r_ros.data.bag_sequence import BagSequence

        folder = path.parent if path.name == 'metadata.yaml' else path
        return BagSequence(folder, selection, image_topic)
    if kind == 'video':
        from mem3r_ros.data.video import VideoFile

        return VideoFile(path, selection, fps)
    if kind in STAMPED:
        module, name = STAMPED[kind]
        return getattr(import_module(f'mem3r_ros.data.{module}'), name)(path, selection)
    if kind in UNSTAMPED:
        module, name = UNSTAMPED[kind]
        reader = getattr(import_module(f'mem3r_ros.data.{module}'), name)
        return reader(path, selection, fps or DEFAULT_FPS)
    from mem3r_ros.data.folder import ImageFolder, SequenceFolder, list_images, read_camera

    if kind == 'folder':
        return SequenceFolder(path, selection, fps or DEFAULT_FPS)
    return ImageFolder(
        path, selection, fps or DEFAULT_FPS, list_images(path), camera=read_camera(path)
    )
