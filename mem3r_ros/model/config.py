# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Configuration of the network, in the field names of CUT3R's published checkpoints.

Fields below "Mem3R" follow the Mem3R paper (arXiv 2604.07279). Where its public text leaves a
choice open, the help text gives the choice and its reason. Fields below "Small presets" are off in
the full-size presets.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
import math
from typing import Any

from mem3r_ros.config import from_dict, setting, settings, to_dict
from mem3r_ros.errors import UserError

# Written by CUT3R's training code; without effect on this network.
IGNORED_FIELDS = (
    'output_mode',
    'landscape_only',
    'patch_embed_cls',
    'freeze',
    'depth_head',
    'norm_im2_in_dec',
)


@settings
class TwoViewConfig:
    """Two-view geometry around the network, see :mod:`mem3r_ros.model.two_view_front_end`."""

    flow_scale: int = setting(
        1, 'size of the images on which flow is measured, over that of the network', low=1, high=8
    )
    motion_solver_steps: int = setting(
        0, 'Gauss-Newton steps of the two-frame bundle adjustment; 0 = off', low=0, high=100
    )
    depth_memory: bool = setting(
        False,
        'remember the depth of the last frame and warp it along the flow: an input of the network '
        'and a measurement of the bundle adjustment',
    )
    epipolar_input: bool = setting(
        False,
        'fit the epipolar geometry of the flow first: depth by parallax is an input of the '
        'network, and the pose head corrects the fitted motion',
    )
    blind_motion: bool = setting(
        False,
        'where the network trusts hardly any of the flow, its pose head predicts the whole motion '
        'instead of correcting that of the flow',
    )
    global_scale: bool = setting(
        False, 'the pose head predicts one factor for the depth of the whole frame'
    )

    def check(self) -> None:
        """Refuse settings that do not fit together."""
        if self.epipolar_input and not self.depth_memory:
            raise UserError('epipolar_input needs depth_memory, which gives it its scale')


@settings
class ModelConfig:
    """Sizes and choices of one network; the defaults are CUT3R 512-DPT."""

    img_size: tuple = setting(
        (512, 512), 'width and height of the input images', low=1, high=16384, unit='px'
    )
    patch_size: int = setting(16, 'side of the square patch of an image token', low=1, high=128)
    enc_embed_dim: int = setting(1024, 'width of the image encoder', low=4, high=16384)
    enc_depth: int = setting(24, 'blocks of the image encoder', low=1, high=256)
    enc_num_heads: int = setting(16, 'attention heads of the image encoder', low=1, high=1024)
    dec_embed_dim: int = setting(768, 'width of both decoders', low=4, high=16384)
    dec_depth: int = setting(12, 'blocks of each decoder', low=1, high=256)
    dec_num_heads: int = setting(12, 'attention heads of the image decoder', low=1, high=1024)
    state_dec_num_heads: int = setting(
        16, 'attention heads of the state decoder', low=1, high=1024
    )
    state_size: int = setting(768, 'number of state tokens', low=1, high=65536)
    local_mem_size: int = setting(256, 'slots of the CUT3R pose memory', low=1, high=65536)
    retriever_depth: int = setting(
        2, 'read blocks and write blocks of the pose memory', low=1, high=64
    )
    ray_enc_depth: int = setting(
        2, 'blocks of the ray-map encoder; 0 = no ray-map input', low=0, high=256
    )
    ray_num_heads: int = setting(16, 'attention heads of the ray-map encoder', low=1, high=1024)
    mlp_ratio: float = setting(4.0, 'hidden width of each MLP over its width', low=0.25, high=64)
    norm_eps: float = setting(1e-6, 'epsilon of every LayerNorm', low=0.0)
    pos_embed: str = setting('RoPE100', 'rotary position embedding and its base')
    state_pe: str = setting('2d', 'positions of the state tokens', choices=('2d', '1d', 'none'))
    head_type: str = setting(
        'dpt', 'dense heads: DPT, or one MLP per token', choices=('dpt', 'linear')
    )
    dpt_feature_dim: int = setting(256, 'channels of the DPT fusion stages', low=1, high=16384)
    dpt_last_dim: int = setting(128, 'channels of the last DPT stage', low=1, high=16384)
    dpt_layer_dims: tuple = setting(
        (96, 192, 384, 768), 'channels of the four DPT levels', low=1, high=16384
    )
    dpt_coarse_skip: bool = setting(
        True,
        'keep the unused refinement unit of the coarsest DPT stage, as in published checkpoints',
    )
    depth_mode: tuple = setting(('exp', '-inf', 'inf'), 'activation of the points')
    conf_mode: tuple = setting(('exp', 1, 'inf'), 'activation of the confidence')
    pose_mode: tuple = setting(('exp', '-inf', 'inf'), 'activation of the translation')
    rgb_head: bool = setting(True, 'predict the colours of the image')
    pose_head: bool = setting(True, 'predict poses')
    world_head: bool = setting(
        True,
        'predict world points with a separate head; off: camera points transformed by the pose',
    )
    round_qk_float16: bool = setting(
        True,
        'round q and k of the image encoder to float16 as the reference does (exact mode, '
        'float32 only)',
    )
    pose_token_after_reset: bool = setting(
        True,
        'use the learned pose token after a reset (TTT3R streaming); off: read the initial memory '
        '(CUT3R streaming)',
    )

    # Mem3R
    pose_memory: str = setting(
        'local',
        'camera memory: CUT3R LocalMemory or Mem3R fast weights',
        choices=('local', 'fast_weights'),
    )
    fast_num_heads: int = setting(12, 'heads of the fast-weight MLP', low=1, high=1024)
    fast_decay_limit: float = setting(0.01, 'gamma: largest decay per frame', low=0.0, high=1.0)
    fast_learning_rate: float = setting(
        1e-3,
        'test-time learning rate at init (choice: the printed softplus(x + 0.001), about 0.69, '
        'diverges)',
        low=1e-9,
        high=100.0,
    )
    fast_query_norm: str = setting(
        'head',
        'scope of the query normalisation (choice: per head, at full strength each)',
        choices=('head', 'token'),
    )
    fast_output_norm: bool = setting(
        True,
        'RMS-normalise each head of the read-out (choice: without it no learning rate was stable)',
    )
    fast_detach_posterior: bool = setting(
        True, 'detach the posterior pose token in the inner loss (choice: it is the target)'
    )
    state_gate: bool = setting(False, 'channel-wise gate of the state update (Mem3R)')
    state_gate_dim: int = setting(384, 'hidden width of the state gate', low=1, high=65536)
    state_gate_bias: float = setting(
        3.0, 'gate logit at init (choice: starts near the CUT3R update, sigmoid(3) = 0.95)'
    )

    # Small presets
    stem: str = setting(
        'patch', 'first layer of the image encoder', choices=('patch', 'convolution')
    )
    stem_dims: tuple = setting((32, 64), 'channels of the convolution stem', low=1, high=16384)
    resize_by: str = setting(
        'long_side',
        'how images are resized for the network: to its long side or to its area',
        choices=('long_side', 'area'),
    )
    two_view: TwoViewConfig | None = setting(
        None,
        'two-view geometry around the network; poses are then predicted relative to the previous '
        'frame, and depth along the pixel rays',
    )

    def check(self) -> None:
        """Refuse values that do not fit together."""
        self._check_widths()
        self.rope_base  # noqa: B018 - refuses other names
        if self.two_view is not None:
            if not isinstance(self.two_view, TwoViewConfig):
                raise UserError(f'two_view is {self.two_view!r}; it must be a TwoViewConfig')
            if not self.pose_head:
                raise UserError('motion_input needs pose_head, which predicts the motion')
        self._check_activations()

    def _check_activations(self) -> None:
        for name, lowest in (('depth_mode', '-inf'), ('conf_mode', 1), ('pose_mode', '-inf')):
            kind, *limits = getattr(self, name) or (None,)
            # JSON has no infinity, so it may be written as text.
            if kind != 'exp' or [str(limit) for limit in limits] != [str(lowest), 'inf']:
                raise UserError(
                    f"{name} is {getattr(self, name)}; only ('exp', {lowest}, inf) is implemented"
                )

    def _check_widths(self) -> None:
        for name, length in (('img_size', 2), ('dpt_layer_dims', 4), ('stem_dims', None)):
            values = getattr(self, name)
            if not all(type(value) is int for value in values):
                raise UserError(f'{name} is {values}; it must hold whole numbers')
            if length is not None and len(values) != length:
                raise UserError(f'{name} is {values}; it must have {length} entries')
        if self.stem == 'convolution' and len(self.stem_dims) < 2:
            raise UserError(f'stem_dims is {self.stem_dims}; the heads need at least two widths')
        if self.stem == 'convolution' and self.patch_size != 2 ** (len(self.stem_dims) + 1):
            raise UserError(
                f'patch_size is {self.patch_size}; a convolution stem of {len(self.stem_dims)} '
                f'widths and the encoder halve the image to 1/{2 ** (len(self.stem_dims) + 1)}'
            )
        widths = [
            ('enc_embed_dim', 'enc_num_heads', 4),
            ('dec_embed_dim', 'dec_num_heads', 4),
            ('dec_embed_dim', 'state_dec_num_heads', 4),
        ]
        if self.ray_enc_depth:
            widths.append(('enc_embed_dim', 'ray_num_heads', 4))
        if self.pose_memory == 'fast_weights':
            widths.append(('dec_embed_dim', 'fast_num_heads', 1))
        for width, heads, multiple in widths:
            if getattr(self, width) % (multiple * getattr(self, heads)):
                raise UserError(
                    f'{width} is {getattr(self, width)}; it must be a multiple of {multiple} x '
                    f'{heads} ({getattr(self, heads)})'
                )

    @property
    def rope_base(self) -> float:
        """
        Base of the rotary position embedding.

        :raises UserError: the name is not RoPE followed by a number.
        """
        try:
            base = float(self.pos_embed.removeprefix('RoPE'))
        except ValueError:
            base = math.nan
        if not 1.0 < base < math.inf:
            raise UserError(f'pos_embed is {self.pos_embed!r}; expected e.g. RoPE100')
        return base

    @classmethod
    def preset(cls, name: str) -> ModelConfig:
        """
        Return the configuration of a named network.

        :raises UserError: there is no such preset.
        """
        if name not in PRESETS:
            raise UserError(f'no model preset {name!r}; choose one of {", ".join(PRESETS)}')
        return cls(**PRESETS[name])

    @property
    def flow_scale(self) -> int:
        """Size of the images on which flow is measured, over that of the network."""
        return 1 if self.two_view is None else self.two_view.flow_scale

    @classmethod
    def from_metadata(cls, values: Mapping[str, Any]) -> ModelConfig:
        """
        Build from the ``config`` JSON of a checkpoint, in CUT3R's field names.

        Checkpoints store the fields of :class:`TwoViewConfig` beside the others: ``motion_input``
        and ``points: depth`` turn them on. Fields without effect here are skipped; unknown ones
        are refused, because they could change the numbers.

        :raises UserError: a field is unknown or has a refused value.
        """
        known = {key: value for key, value in values.items() if key not in IGNORED_FIELDS}
        size = known.get('img_size')
        if isinstance(size, (int, float)):
            known['img_size'] = (int(size), int(size))
        two_view = {key: known.pop(key) for key in _TWO_VIEW_FIELDS if key in known}
        is_on = (known.pop('motion_input', False), known.pop('points', 'xyz'))
        if is_on not in ((True, 'depth'), (False, 'xyz')):
            raise UserError(
                f'motion_input is {is_on[0]!r} and points is {is_on[1]!r}; they must be true and '
                f"'depth', or false and 'xyz'"
            )
        section = from_dict(TwoViewConfig, two_view)
        if is_on[0]:
            known['two_view'] = section
        elif section != TwoViewConfig():
            raise UserError(f'{", ".join(two_view)} need motion_input and points: depth')
        return from_dict(cls, known)

    def to_metadata(self) -> dict[str, Any]:
        """Return the fields as JSON-ready values, in the names of :meth:`from_metadata`."""
        values = to_dict(self)
        del values['two_view']
        is_on = self.two_view is not None
        values |= {'motion_input': is_on, 'points': 'depth' if is_on else 'xyz'}
        return values | to_dict(self.two_view or TwoViewConfig())


_TWO_VIEW_FIELDS = tuple(item.name for item in fields(TwoViewConfig))
_MEM3R = {'pose_memory': 'fast_weights', 'state_gate': True}
_TINY: dict[str, Any] = {
    **_MEM3R,
    'img_size': (128, 96),
    'resize_by': 'area',
    'patch_size': 16,
    'enc_embed_dim': 192,
    'enc_depth': 3,
    'enc_num_heads': 6,
    'dec_embed_dim': 192,
    'dec_depth': 3,
    'dec_num_heads': 6,
    'state_dec_num_heads': 4,
    'state_size': 64,
    'ray_enc_depth': 0,
    'fast_num_heads': 3,
    'state_gate_dim': 96,
    'dpt_feature_dim': 48,
    'dpt_last_dim': 24,
    'dpt_layer_dims': (24, 48, 96, 96),
    'dpt_coarse_skip': False,
    'rgb_head': False,
    'world_head': False,
    'round_qk_float16': False,
    'stem': 'convolution',
    'stem_dims': (24, 48, 96),
    'two_view': TwoViewConfig(
        flow_scale=2,
        motion_solver_steps=5,
        depth_memory=True,
        epipolar_input=True,
        global_scale=True,
    ),
}
# For a GPU: the structure of mem3r-tiny with four times its parameters and pixels.
_SMALL: dict[str, Any] = {
    **_TINY,
    'img_size': (256, 192),
    'enc_embed_dim': 320,
    'enc_depth': 6,
    'enc_num_heads': 8,
    'dec_embed_dim': 320,
    'dec_depth': 4,
    'dec_num_heads': 8,
    'state_dec_num_heads': 8,
    'state_size': 192,
    'fast_num_heads': 5,
    'state_gate_dim': 160,
    'dpt_feature_dim': 96,
    'dpt_last_dim': 48,
    'dpt_layer_dims': (48, 96, 192, 192),
    'stem_dims': (32, 64, 128),
}

PRESETS: dict[str, dict[str, Any]] = {
    'mem3r-tiny': _TINY,
    'mem3r-small': _SMALL,
    'mem3r-512-dpt': _MEM3R,
    'cut3r-512-dpt': {},
    # Published as an intermediate stage; square images, one MLP in place of each DPT.
    'cut3r-224-linear': {'img_size': (224, 224), 'head_type': 'linear'},
}
