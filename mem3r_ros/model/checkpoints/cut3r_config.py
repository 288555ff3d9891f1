# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Configuration of a checkpoint without one, from parameter shapes and parsed source text.

CUT3R's ``.pth`` holds its configuration as source text, which the reference evaluates. Here it is
parsed, and only keyword arguments with literal values are used.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import fields
import re
from typing import Any

from mem3r_ros.errors import UserError
from mem3r_ros.model.config import ModelConfig

HEAD_DIM = 64  # of all published encoders and image decoders
MAX_TEXT = 10_000  # characters of source text to parse; CUT3R's has 500


def parse_constructor(text: str) -> dict[str, Any]:
    """
    Read the literal keyword arguments of ``Class(Config(a=1, b='x'))`` without evaluating it.

    :return: fields of the configuration whose value is a literal or +-inf.
    """
    try:
        tree = ast.parse(text[:MAX_TEXT].strip(), mode='eval')
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return {}
    known = {item.name for item in fields(ModelConfig)}
    found: dict[str, Any] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg in known:
            try:
                found[node.arg] = _literal(node.value)
            except (ValueError, TypeError):
                continue
    return found


def _literal(node: ast.expr) -> Any:
    """Return the value of a literal; the name ``inf`` counts as one."""
    if isinstance(node, ast.Tuple | ast.List):
        return tuple(_literal(element) for element in node.elts)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        if isinstance(node.operand, ast.Name) and node.operand.id == 'inf':
            return '-inf'
        return -_literal(node.operand)
    if isinstance(node, ast.Name) and node.id == 'inf':
        return 'inf'
    if isinstance(node, ast.Constant):
        return node.value
    raise ValueError(ast.dump(node))


def config_from_shapes(
    shapes: Mapping[str, tuple[int, ...]], written: Mapping[str, Any]
) -> dict[str, Any]:
    """
    Derive a configuration from the shapes of CUT3R's parameters.

    :param shapes: CUT3R's names to shapes.
    :param written: values of the checkpoint's source text, for fields that have no shape.
    :raises UserError: this is not a CUT3R checkpoint.
    """
    try:
        derived = _sizes(shapes) | _head_sizes(shapes)
    except (KeyError, IndexError) as error:
        lacks = error.args[0] if isinstance(error, KeyError) else 'parameter of the usual shape'
        raise UserError(
            f'the checkpoint has no {lacks} and states no configuration; it is not a '
            f'CUT3R or Mem3R checkpoint'
        ) from None
    shape_facts = set(derived) - {'enc_num_heads', 'dec_num_heads', 'img_size'}
    stated = {name: value for name, value in written.items() if name not in shape_facts}
    return derived | stated


def _sizes(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    patch = shapes['patch_embed.proj.weight']
    state_tokens = shapes['register_tokens.weight']
    width = shapes['decoder_embed.weight'][0]
    derived: dict[str, Any] = {
        'patch_size': patch[-1],
        'enc_embed_dim': patch[0],
        'enc_depth': _count(shapes, r'enc_blocks\.(\d+)\.'),
        'enc_num_heads': max(1, patch[0] // HEAD_DIM),
        'dec_embed_dim': width,
        'dec_depth': _count(shapes, r'dec_blocks\.(\d+)\.'),
        'dec_num_heads': max(1, width // HEAD_DIM),
        'state_size': state_tokens[0],
        'ray_enc_depth': _count(shapes, r'enc_blocks_ray_map\.(\d+)\.'),
        'mlp_ratio': shapes['enc_blocks.0.mlp.fc1.weight'][0] / patch[0],
        'rgb_head': _has(shapes, 'dpt_rgb', 'rgb_proj'),
        'world_head': _has(shapes, 'dpt_cross', 'cross_proj'),
        'pose_head': _has(shapes, 'pose_head'),
    }
    if 'pose_retriever.mem' in shapes:
        derived['local_mem_size'] = shapes['pose_retriever.mem'][1]
        derived['retriever_depth'] = _count(shapes, r'pose_retriever\.read_blocks\.(\d+)\.')
    return derived


def _head_sizes(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    if 'downstream_head.proj.fc1.weight' in shapes:
        return {'head_type': 'linear', 'img_size': (224, 224)}  # the only one published
    head = 'downstream_head.dpt_self.'
    if f'{head}head.0.weight' not in shapes:
        return {}
    return {
        'head_type': 'dpt',
        'dpt_feature_dim': shapes[f'{head}head.0.weight'][1],
        'dpt_last_dim': shapes[f'{head}head.2.weight'][0],
        'dpt_layer_dims': tuple(
            shapes[f'{head}act_postprocess.{level}.0.weight'][0] for level in range(4)
        ),
    }


def _has(shapes: Mapping[str, object], *parts: str) -> bool:
    prefixes = tuple(f'downstream_head.{part}.' for part in parts)
    return any(name.startswith(prefixes) for name in shapes)


def _count(shapes: Mapping[str, tuple[int, ...]], pattern: str) -> int:
    found = [re.match(pattern, name) for name in shapes]
    return 1 + max((int(match[1]) for match in found if match), default=-1)
