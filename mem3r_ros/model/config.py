# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Everything that shapes the network, in the field names of CUT3R's published checkpoints.

Fields below "Mem3R" follow the Mem3R paper (arXiv 2604.07279); where its public text leaves a
choice open the help text says which one was taken and why. Fields below "Small presets" add
motion as an input; the full-size presets leave them off.
"""

from __future__ import annotations

from collections.abc import Mapping
import math
from typing import Any

from mem3r_ros.config import from_dict, setting, settings, to_dict
from mem3r_ros.errors import UserError

# Written by CUT3R's training code, without effect on the network as it is built here.
IGNORED_FIELDS = (
    'output_mode',
    'landscape_only',
    'patch_embed_cls',
    'freeze',
    'depth_head',
    'norm_im2_in_dec',
)


@settings
class ModelConfig:
    """Sizes and choices of one network; the defaults are CUT3R 512-DPT."""

    img_size: tuple = setting(
        (512, 512), 'width and height the network is meant for', low=1, high=16384, unit='px'
    )
    patch_size: int = setting(
        16, 'side of the square that becomes one image token', low=1, high=128
    )
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
        'keep the refinement unit of the coarsest DPT stage, which published checkpoints hold and '
        'nothing uses',
    )
    depth_mode: tuple = setting(('exp', '-inf', 'inf'), 'activation of the points')
    conf_mode: tuple = setting(('exp', 1, 'inf'), 'activation of the confidence')
    pose_mode: tuple = setting(('exp', '-inf', 'inf'), 'activation of the translation')
    rgb_head: bool = setting(True, 'whether the network can paint the image it was asked about')
    pose_head: bool = setting(True, 'whether the network predicts poses')
    world_head: bool = setting(
        True, 'points in the world frame by a head of their own; else camera points moved by pose'
    )
    round_qk_float16: bool = setting(
        True,
        'round q and k of the image encoder to float16 as the reference does (exact mode, '
        'float32 only)',
    )
    pose_token_after_reset: bool = setting(
        True,
        'start from the learned pose token after a reset (TTT3R streaming); off: read the '
        'initial memory (CUT3R streaming)',
    )

    # Mem3R
    pose_memory: str = setting(
        'local',
        'camera memory: CUT3R LocalMemory or Mem3R fast weights',
        choices=('local', 'fast_weights'),
    )
    fast_num_heads: int = setting(12, 'heads of the fast-weight MLP', low=1, high=1024)
    fast_decay_limit: float = setting(
        0.01, 'gamma: the most that one frame may forget', low=0.0, high=1.0
    )
    fast_learning_rate: float = setting(
        1e-3,
        'test-time learning rate at init (choice: the printed softplus(x + 0.001), about 0.69, '
        'diverges)',
        low=0.0,
    )
    fast_query_norm: str = setting(
        'head',
        'scope of the query normalisation (choice: per head, so that each head reads at full '
        'strength)',
        choices=('head', 'token'),
    )
    fast_output_norm: bool = setting(
        True,
        'RMS-normalise each head of the read-out (choice: without it no learning rate was stable)',
    )
    fast_detach_posterior: bool = setting(
        True,
        'keep the posterior pose token out of the inner loss gradient (choice: it is the target)',
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
    motion_input: bool = setting(
        False,
        'feed optical flow to the previous frame and pixel rays as extra channels; poses are then '
        'predicted relative to the previous frame and composed in the state',
    )
    flow_scale: int = setting(
        1,
        'the flow is measured on images this many times as large as the network takes',
        low=1,
        high=8,
    )
    motion_solver_steps: int = setting(
        0,
        'Gauss-Newton steps that fit relative pose and depth to the flow; 0 = off',
        low=0,
        high=100,
    )
    depth_memory: bool = setting(
        False,
        'remember the depth of the last frame and fetch it along the flow: an input of the '
        'network, and a measurement in the solver',
    )
    epipolar_input: bool = setting(
        False,
        'fit the epipolar geometry of the flow first: depth by parallax is an input of the '
        'network, and the pose head corrects the fitted motion',
    )
    global_scale: bool = setting(
        False,
        'the pose token, which sees the whole image, adds one factor to the depth of a frame',
    )
    points: str = setting(
        'xyz',
        'dense head: free 3-D points, or depth along the pixel ray',
        choices=('xyz', 'depth'),
    )
    resize_by: str = setting(
        'long_side',
        'how an image is brought to the network: its long side or its area is fixed',
        choices=('long_side', 'area'),
    )

    def check(self) -> None:
        """Refuse values that do not fit together."""
        self._check_widths()
        self.rope_base  # noqa: B018 - refuses what is no base
        if self.motion_input and not self.pose_head:
            raise UserError('motion_input needs pose_head, which tells the motion')
        if self.flow_scale != 1 and not self.motion_input:
            raise UserError('flow_scale needs motion_input, which takes the flow')
        if self.motion_solver_steps and not (self.motion_input and self.points == 'depth'):
            raise UserError('motion_solver_steps needs motion_input and points: depth')
        if self.depth_memory and self.points != 'depth':
            raise UserError('depth_memory needs points: depth')
        if self.epipolar_input and not self.depth_memory:
            raise UserError('epipolar_input needs depth_memory, which tells its scale')
        if self.global_scale and self.points != 'depth':
            raise UserError('global_scale needs points: depth')
        if self.points == 'depth' and not self.motion_input:
            raise UserError('points: depth needs motion_input, which supplies the pixel rays')
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

    @classmethod
    def from_metadata(cls, values: Mapping[str, Any]) -> ModelConfig:
        """
        Build from the ``config`` JSON of a checkpoint, in CUT3R's field names.

        Fields without effect here are skipped; unknown ones are refused, because they could
        change the numbers.

        :raises UserError: a field is unknown or has a refused value.
        """
        known = {key: value for key, value in values.items() if key not in IGNORED_FIELDS}
        size = known.get('img_size')
        if isinstance(size, (int, float)):
            known['img_size'] = (int(size), int(size))
        return from_dict(cls, known)

    def to_metadata(self) -> dict[str, Any]:
        """Return the fields as JSON-ready values."""
        return to_dict(self)


_MEM3R = {'pose_memory': 'fast_weights', 'state_gate': True}

PRESETS: dict[str, dict[str, Any]] = {
    'mem3r-tiny': {
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
        'motion_input': True,
        'flow_scale': 2,
        'motion_solver_steps': 5,
        'depth_memory': True,
        'epipolar_input': True,
        'global_scale': True,
        'points': 'depth',
    },
    'mem3r-512-dpt': _MEM3R,
    'cut3r-512-dpt': {},
    # Published as an intermediate stage; square images, one MLP in place of each DPT.
    'cut3r-224-linear': {'img_size': (224, 224), 'head_type': 'linear'},
}
