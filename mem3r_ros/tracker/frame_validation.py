# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Validates incoming frames; counts and reports the ones it rejects."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median

import numpy as np

from mem3r_ros.camera import Intrinsics
from mem3r_ros.errors import BadFrame
from mem3r_ros.tracker.frame import CameraFrame
from mem3r_ros.tracker.notices import Notices

# The stream changes to another image size after this many frames of it in a row.
_NEW_SIZE_FRAMES = 10
_GAPS = 15  # frame intervals that the usual interval is computed from


@dataclass(frozen=True, slots=True)
class ValidFrame:
    """A frame that passed the checks."""

    frame: CameraFrame
    image: np.ndarray  # [H, W, 3] uint8
    camera: Intrinsics | None
    mask: np.ndarray | None  # [H, W] uint8, nonzero = ignore
    gap_s: float  # since the last frame; 0 for the first
    usual_gap_s: float  # median of the gaps before; 0 when there are none
    is_new_size: bool  # the stream continues with another image size
    ignored: dict[str, str]  # 'camera', 'mask' -> why it is not used for this frame
    notice: str


@dataclass(slots=True)
class FrameValidation(Notices):
    """Checks the frames of one stream, in order."""

    last_stamp_ns: int | None = None  # of the last valid frame
    size: tuple[int, int] | None = None  # width, height
    num_other_size: int = 0  # frames in a row of another size
    gaps_s: list[float] = field(default_factory=list)  # newest intervals between two frames
    shift: int = 0  # bits that 16-bit images are shifted right

    def check(self, frame: CameraFrame) -> ValidFrame:
        """
        Check one frame.

        A calibration of another size is scaled. A mask of another size and a calibration of
        another aspect ratio are ignored. An unusable image is rejected.

        :raises BadFrame: the stamp is not after the last one, or the image is no image, holds
            NaN, or has another size; or the pose from outside is not finite.
        """
        self._check_stamp(frame.stamp_ns)
        outside = frame.T_outside_camera
        if outside is not None and not np.isfinite(outside).all():
            raise BadFrame('T_outside_camera is not finite; leave it out where it is unknown')
        image = self._image(frame)
        is_new_size = self._check_size(image, frame.stamp_ns)
        notice = ''
        ignored: dict[str, str] = {}
        height, width = image.shape[:2]
        mask = frame.mask
        if mask is not None and np.shape(mask) != (height, width):
            ignored['mask'] = f'has shape {np.shape(mask)}, the image {(height, width)}'
            text = f'mask {ignored["mask"]}; the mask is ignored'
            notice = self.count('mask of wrong shape', text, frame.stamp_ns)
            mask = None
        camera = None if frame.camera is None else frame.camera.matched(width, height)
        if frame.camera is not None and camera is None:
            size = f'{frame.camera.width}x{frame.camera.height}'
            ignored['camera'] = f'is for {size}, the image is {width}x{height}'
            text = f'calibration {ignored["camera"]}; the calibration is ignored'
            notice = self.count('calibration of another size', text, frame.stamp_ns)
        gap_s, usual_gap_s = 0.0, median(self.gaps_s) if self.gaps_s else 0.0
        if self.last_stamp_ns is not None:
            gap_s = (frame.stamp_ns - self.last_stamp_ns) * 1e-9
            self.gaps_s = [*self.gaps_s[1 - _GAPS :], gap_s]
        self.last_stamp_ns = frame.stamp_ns
        mask = None if mask is None else np.asarray(mask).astype(np.uint8, copy=False)
        return ValidFrame(
            frame, image, camera, mask, gap_s, usual_gap_s, is_new_size, ignored, notice
        )

    def _refuse(self, reason: str, text: str, stamp_ns: int) -> BadFrame:
        self.count(reason, text, stamp_ns)
        return BadFrame(text)

    def _check_stamp(self, stamp_ns: int) -> None:
        last = self.last_stamp_ns
        if last is None or stamp_ns > last:
            return
        if stamp_ns == last:
            raise self._refuse('repeated stamp', f'stamp {stamp_ns} ns is a repetition', stamp_ns)
        raise self._refuse(
            'backward stamp', f'stamp {stamp_ns} ns is before the last one, {last} ns', stamp_ns
        )

    def _image(self, frame: CameraFrame) -> np.ndarray:
        image = frame.image_rgb_uint8
        stamp_ns = frame.stamp_ns
        if not isinstance(image, np.ndarray) or image.ndim not in (2, 3) or 0 in image.shape:
            raise self._refuse(
                'not an image',
                f'image is {type(image).__name__} {np.shape(image)}; expected '
                f'an array [H, W, 3] or [H, W]',
                stamp_ns,
            )
        if image.dtype == np.uint16:
            image = self._from_16_bit(image)
        elif image.dtype.kind == 'f':
            if not np.isfinite(image).all():
                raise self._refuse('not finite', 'image holds NaN or infinity', stamp_ns)
            # Floating-point images are expected to lie in 0 to 1.
            image = (image.clip(0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)
        elif image.dtype != np.uint8:
            raise self._refuse(
                'not an image', f'image is of type {image.dtype}; expected uint8', stamp_ns
            )
        if image.ndim == 2:
            image = image[..., None]
        if image.shape[2] == 1:
            return np.repeat(image, 3, axis=2)
        if image.shape[2] not in (3, 4):
            raise self._refuse(
                'not an image',
                f'image has {image.shape[2]} channels; expected 1, 3 or 4',
                stamp_ns,
            )
        return np.ascontiguousarray(image[..., :3])

    def _from_16_bit(self, image: np.ndarray) -> np.ndarray:
        # Cameras store 10, 12 or 16 bits in 16. The largest value so far sets the shift, so the
        # brightness does not flicker from frame to frame.
        bits = max(int(image.max()).bit_length(), 8)
        self.shift = max(self.shift, bits - 8)
        return (image >> self.shift).astype(np.uint8)

    def _check_size(self, image: np.ndarray, stamp_ns: int) -> bool:
        size = (image.shape[1], image.shape[0])
        if self.size is None or size == self.size:
            self.size, self.num_other_size = size, 0
            return False
        self.num_other_size += 1
        if self.num_other_size < _NEW_SIZE_FRAMES:
            raise self._refuse(
                'wrong size',
                f'image is {size[0]}x{size[1]}, the stream {self.size[0]}x{self.size[1]}; '
                f'the frame is skipped',
                stamp_ns,
            )
        self.size, self.num_other_size = size, 0
        return True
