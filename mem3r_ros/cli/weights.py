# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The command ``mem3r weights``: list, inspect, convert, export and download weights."""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from mem3r_ros.errors import UserError
from mem3r_ros.model.checkpoints.published import PUBLISHED_WEIGHTS, PublishedWeights

if TYPE_CHECKING:
    from mem3r_ros.model import ModelConfig
    from mem3r_ros.model.checkpoints.file_formats import StoredCheckpoint

HELP = 'list, inspect, convert, export and download weights'
SHOWN_METADATA = 300  # characters of each entry


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    actions = parser.add_subparsers(dest='action', metavar='ACTION', required=True)
    actions.add_parser('list', help='list networks and the sources of their weights')

    inspect = actions.add_parser('inspect', help='describe a file without loading it')
    inspect.add_argument('file', metavar='FILE', help='.safetensors or .pth')

    convert = actions.add_parser('convert', help='convert weights to .safetensors')
    convert.add_argument(
        'source', metavar='SRC', help='file, or PRESET:FILE to initialise that network from it'
    )
    convert.add_argument('target', metavar='DST', help='.safetensors file to write')
    convert.add_argument(
        '--dtype', choices=('fp32', 'fp16', 'bf16'), help='dtype of the weights (unchanged)'
    )
    convert.add_argument(
        '--names', choices=('ours', 'cut3r'), default='ours', help='parameter names (mem3r_ros)'
    )
    convert.add_argument('--overwrite', action='store_true', help='replace DST if it exists')

    export = actions.add_parser(
        'export', help='export the step of a network to ONNX or AOTInductor'
    )
    export.add_argument('source', metavar='SRC', help='as for --model of the other commands')
    export.add_argument('target', metavar='DST', help='.onnx or .pt2 file to write')
    export.add_argument(
        '--size', default='640x480', metavar='WxH', help='of the images of the camera (640x480)'
    )
    export.add_argument('--rule', default='cut3r', help='update rule: cut3r or ttt3r (cut3r)')

    download = actions.add_parser('download', help="download CUT3R's public weights")
    download.add_argument(
        'preset',
        nargs='?',
        choices=sorted(PUBLISHED_WEIGHTS),
        default='cut3r-512-dpt',
        help='which weights (cut3r-512-dpt)',
    )
    download.add_argument('--url', help='download from this URL instead of Google Drive')
    download.add_argument('--output', metavar='PATH', help='file or folder to write (this folder)')
    download.add_argument(
        '--sha256', metavar='HEX', help="expected hash; 'any' accepts every hash"
    )
    download.add_argument(
        '--accept-licence', action='store_true', help='accept the licence of the weights'
    )


def run(args: argparse.Namespace) -> int:
    """
    Run the chosen action.

    :return: 0.
    :raises UserError: a file cannot be used or a download failed.
    """
    actions = {
        'list': _list,
        'inspect': _inspect,
        'convert': _convert,
        'export': _export,
        'download': _download,
    }
    actions[args.action](args)
    return 0


def _list(_: argparse.Namespace) -> None:
    import torch

    from mem3r_ros.model import Mem3R, ModelConfig
    from mem3r_ros.model.checkpoints.find import shipped_weights
    from mem3r_ros.model.config import PRESETS

    print(f'{"preset":<18}{"parameters":>13}  {"image":>9}  weights')
    for name in PRESETS:
        config = ModelConfig.preset(name)
        with torch.device('meta'):
            parameters = sum(weights.numel() for weights in Mem3R(config).parameters())
        if shipped_weights(name):
            origin = f'shipped: --model {name}'
        elif name in PUBLISHED_WEIGHTS:
            origin = f'public, CC BY-NC-SA 4.0: mem3r weights download {name}'
        elif config.two_view is not None:
            origin = 'none shipped; recipes/small.yaml trains them'
        else:
            origin = f'none public; starts from CUT3R: --model {name}:cut3r_512_dpt_4_64.pth'
        size = '{}x{}'.format(*config.img_size)
        print(f'{name:<18}{parameters:>13,}  {size:>9}  {origin}')


def _inspect(args: argparse.Namespace) -> None:
    from mem3r_ros.model.checkpoints.file_formats import open_checkpoint
    from mem3r_ros.model.checkpoints.find import find_weights
    from mem3r_ros.model.checkpoints.load import configuration_of

    _, path = find_weights(args.file)
    with open_checkpoint(path) as stored:
        for line in _facts(stored):
            print(line)
        config = configuration_of(stored)
    print(f'network     {_network_name(config)}')
    for name, value in config.to_metadata().items():
        print(f'  {name}: {value}')


def _facts(stored: StoredCheckpoint) -> list[str]:
    """Describe a file from its index, without reading the tensors."""
    counts: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    for name in stored.names:
        numel = 1
        for side in stored.shape(name):
            numel *= side
        counts[name.partition('.')[0]] += numel
        kinds[stored.dtype(name)] += numel
    lines = [
        f'file        {stored.path} ({stored.path.stat().st_size / 1e6:,.1f} MB)',
        f'format      {stored.format}',
        f'tensors     {len(stored.names):,} with {sum(counts.values()):,} numbers',
        'numbers     ' + ', '.join(f'{count:,} {kind}' for kind, count in kinds.items()),
        *(f'  {name:<24}{count:>14,}' for name, count in counts.items()),
    ]
    for name, text in stored.metadata.items():
        if name != 'config':
            lines.append(f'metadata    {name}: {text[:SHOWN_METADATA]}')
    if stored.is_cut3r:
        from mem3r_ros.model.checkpoints.published import CUT3R_LICENCE

        lines.append(f'licence     if it was made from public weights: {CUT3R_LICENCE}')
    return lines


def _network_name(config: ModelConfig) -> str:
    from mem3r_ros.model import ModelConfig
    from mem3r_ros.model.config import PRESETS

    for name in PRESETS:
        if ModelConfig.preset(name) == config:
            return name
    return 'of its own size'


def _convert(args: argparse.Namespace) -> None:
    from mem3r_ros.cli.download import check_space
    from mem3r_ros.model import load_model, save_checkpoint
    from mem3r_ros.model.checkpoints.file_formats import dtype_named, open_checkpoint
    from mem3r_ros.model.checkpoints.find import find_weights

    target = Path(args.target).expanduser()
    if target.suffix != '.safetensors':
        raise UserError(f'{target} must end in .safetensors')
    if target.exists() and not args.overwrite:
        raise UserError(f'{target} exists; give --overwrite to replace it')
    if not target.parent.is_dir():
        raise UserError(f'the folder {target.parent} does not exist; create it')
    _, source = find_weights(args.source)
    check_space(target.parent, source.stat().st_size)
    with open_checkpoint(source) as stored:
        metadata = {name: text for name, text in stored.metadata.items() if name != 'config'}
        if stored.is_cut3r:
            from mem3r_ros.model.checkpoints.published import CUT3R_LICENCE

            metadata.setdefault('licence', CUT3R_LICENCE)
    model = load_model(args.source)
    dtype = dtype_named(args.dtype) if args.dtype else None
    save_checkpoint(model, target, metadata, dtype, args.names)
    print(f'{target}: {target.stat().st_size / 1e6:,.1f} MB, {_network_name(model.config)}')


def _export(args: argparse.Namespace) -> None:
    from mem3r_ros.cli.benchmark import image_size
    from mem3r_ros.model import load_model
    from mem3r_ros.model.export import export_step
    from mem3r_ros.tracker.config import InputConfig
    from mem3r_ros.tracker.image_preparation import Preparation

    width, height = image_size(args.size)
    model = load_model(args.source)
    pixels = Preparation(model.config).plan(width, height, InputConfig())
    export_step(model, args.target, (pixels.width, pixels.height), args.rule)
    size = Path(args.target).stat().st_size / 1e6
    print(f'{args.target}: {size:,.1f} MB, network images of {pixels.width}x{pixels.height} px')


def _download(args: argparse.Namespace) -> None:
    from mem3r_ros.cli.download import fetch, hash_of

    weights = PUBLISHED_WEIGHTS[args.preset]
    print(weights.licence)
    if not args.accept_licence:
        raise UserError('nothing was downloaded; add --accept-licence if you accept the licence')
    target = _target(args.output, weights.file_name)
    expected = args.sha256 or (None if args.url else weights.sha256)
    expected = None if expected == 'any' else expected
    if expected and (len(expected) != 64 or set(expected.lower()) - set('0123456789abcdef')):
        raise UserError(f"--sha256 is {expected!r}; it must be 64 hex digits, or 'any'")
    if target.exists():
        if expected and hash_of(target) != expected.lower():
            raise UserError(f'{target} exists and has another SHA-256; remove it first')
        print(f'{target} is already there')
    else:
        path, found = (
            fetch(args.url, target, expected)
            if args.url
            else _from_google_drive(weights, target, expected)
        )
        print(f'{path}: {path.stat().st_size / 1e6:,.1f} MB, SHA-256 {found}')
    _check_usable(target)
    print(f'use it with --model {target}, or as a Mem3R with --model mem3r-512-dpt:{target}')


def _target(output: str | None, file_name: str) -> Path:
    path = Path(output or '.').expanduser()
    return path / file_name if path.is_dir() or (output or '').endswith('/') else path


def _from_google_drive(
    weights: PublishedWeights, target: Path, sha256: str | None
) -> tuple[Path, str]:
    from mem3r_ros.cli.download import accept, check_space

    try:
        import gdown
    except ModuleNotFoundError:
        raise UserError(
            f'Google Drive needs the Python package gdown (pip install gdown); or save '
            f'{weights.page} with a browser and use that file'
        ) from None
    target.parent.mkdir(parents=True, exist_ok=True)
    check_space(target.parent, weights.num_bytes or 3_200_000_000)
    partial = target.with_name(target.name + '.partial')
    try:
        gdown.download(id=weights.drive_id, output=str(partial), resume=True)
    except Exception as error:
        # gdown raises many kinds of errors: quota, cookies, layout changes of the site.
        raise UserError(
            f'Google Drive did not give the file ({error}); save {weights.page} with a browser '
            f'and use that file'
        ) from None
    if not partial.is_file():
        raise UserError(f'Google Drive gave no file; save {weights.page} with a browser')
    return accept(partial, target, sha256)


def _check_usable(path: Path) -> None:
    """Check that the download is not a web page or an incomplete file."""
    from mem3r_ros.model.checkpoints.file_formats import open_checkpoint
    from mem3r_ros.model.checkpoints.load import configuration_of

    with open_checkpoint(path) as stored:
        configuration_of(stored)
