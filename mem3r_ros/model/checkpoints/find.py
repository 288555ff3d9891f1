# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Find the file of weights that a name stands for; without torch."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from mem3r_ros.errors import UserError
from mem3r_ros.model.checkpoints.hub import PREFIX, fetch_from_hub
from mem3r_ros.model.config import PRESETS
from mem3r_ros.names import nearest_name

EXPORTED_SUFFIXES = ('.onnx', '.pt2')  # steps of a network for another runtime, see model.export


def shipped_weights(preset: str) -> Path | None:
    """Return the file of a preset's shipped weights, or None."""
    path = Path(str(resources.files('mem3r_ros') / 'weights' / f'{preset}.safetensors'))
    return path if path.is_file() else None


def find_weights(source: str | Path) -> tuple[str | None, Path]:
    """
    Return the file of a source.

    :param source: as for :func:`mem3r_ros.model.load_model`.
    :return: the preset whose network to fill (None: that of the file) and the file.
    :raises UserError: there is no such file, or no weights are shipped for the preset.
    """
    text = str(source)
    if text in PRESETS:
        path = shipped_weights(text)
        if path is None:
            with_weights = [name for name in PRESETS if shipped_weights(name)] or ['none yet']
            raise UserError(
                f'no weights are shipped for {text!r} (shipped: {", ".join(with_weights)}); give '
                f'a file, or {text}:FILE to fill this network from it'
            )
        return None, path
    if text.startswith(PREFIX):
        return None, fetch_from_hub(text)
    preset, separator, rest = text.partition(':')
    if not (separator and preset in PRESETS):
        preset, rest = None, text
    path = Path(rest).expanduser()
    if not path.is_file():
        raise UserError(
            f'no model {text!r}: it is neither a file nor one of {", ".join(PRESETS)}'
            f'{nearest_name(text, PRESETS)}'
        )
    return preset, path
