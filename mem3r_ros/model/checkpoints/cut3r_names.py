# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Mapping between our parameter names and those of CUT3R's published checkpoints.

The table maps ours to CUT3R's; the lookup uses its inverse over all names of a network.
"""

from __future__ import annotations

from collections.abc import Iterable
import re

# Applied in order; each pattern is anchored or unambiguous.
_TO_CUT3R = [
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r'^image_encoder\.stem\.', 'patch_embed.'),
        (r'^image_encoder\.blocks\.', 'enc_blocks.'),
        (r'^image_encoder\.norm\.', 'enc_norm.'),
        (r'^ray_encoder\.stem\.', 'patch_embed_ray_map.'),
        (r'^ray_encoder\.blocks\.', 'enc_blocks_ray_map.'),
        (r'^ray_encoder\.norm\.', 'enc_norm_ray_map.'),
        (r'^masked_image_token$', 'masked_img_token'),
        (r'^masked_ray_token$', 'masked_ray_map_token'),
        (r'^register_tokens$', 'register_tokens.weight'),
        (r'^pose_memory\.slots$', 'pose_retriever.mem'),
        (r'^pose_memory\.masked_value$', 'pose_retriever.masked_token'),
        (r'^pose_memory\.query\.', 'pose_retriever.proj_q.'),
        (r'^pose_memory\.(read|write)_blocks\.', r'pose_retriever.\1_blocks.'),
        (r'^decoder\.image_embed\.', 'decoder_embed.'),
        (r'^decoder\.state_embed\.', 'decoder_embed_state.'),
        (r'^decoder\.image_blocks\.', 'dec_blocks.'),
        (r'^decoder\.state_blocks\.', 'dec_blocks_state.'),
        (r'^decoder\.image_norm\.', 'dec_norm.'),
        (r'^decoder\.state_norm\.', 'dec_norm_state.'),
        (r'^predictor\.pose_head\.', 'downstream_head.pose_head.mlp.'),
        (r'^predictor\.world_blocks\.', 'downstream_head.final_transform.'),
        (r'^predictor\.camera_head\.proj\.', 'downstream_head.proj.'),
        (r'^predictor\.world_head\.proj\.', 'downstream_head.cross_proj.'),
        (r'^predictor\.rgb_head\.proj\.', 'downstream_head.rgb_proj.'),
        (r'^predictor\.camera_head\.', 'downstream_head.dpt_self.'),
        (r'^predictor\.world_head\.', 'downstream_head.dpt_cross.'),
        (r'^predictor\.rgb_head\.', 'downstream_head.dpt_rgb.'),
        (r'\.attention\.', '.attn.'),
        (r'\.cross_attention\.proj\.', '.cross_attn.proj.'),
        (r'\.cross_attention\.query\.', '.cross_attn.projq.'),
        (r'\.cross_attention\.key\.', '.cross_attn.projk.'),
        (r'\.cross_attention\.value\.', '.cross_attn.projv.'),
        (r'\.norm_other\.', '.norm_y.'),
        (r'\.modulation\.', '.mlp.1.'),
        (r'(\.dpt_\w+)\.project\.(\d)\.', r'\1.act_postprocess.\2.0.'),
        (r'(\.dpt_\w+)\.resize\.(\d)\.', r'\1.act_postprocess.\2.1.'),
        (r'\.head1\.', '.head.0.'),
        (r'\.head2\.', '.head.2.'),
        (r'\.head3\.', '.head.4.'),
    )
]
_LEVEL = re.compile(r'\.level_conv\.(\d)\.')
_FUSION = re.compile(r'\.fusion\.(\d)\.(skip|refine|out)\.')
_FUSION_PARTS = {'skip': 'resConfUnit1', 'refine': 'resConfUnit2', 'out': 'out_conv'}
_ALIAS = re.compile(r'\.scratch\.layer_rn\.(\d)\.')


def cut3r_name(name: str) -> str:
    """Return CUT3R's name of one of our parameters; parameters that it lacks keep their name."""
    for pattern, replacement in _TO_CUT3R:
        name = pattern.sub(replacement, name)
    name = _LEVEL.sub(lambda match: f'.scratch.layer{int(match[1]) + 1}_rn.', name)
    return _FUSION.sub(
        lambda match: f'.scratch.refinenet{int(match[1]) + 1}.{_FUSION_PARTS[match[2]]}.', name
    )


def without_alias(name: str) -> str:
    """Return the first of the two names under which CUT3R stores some DPT weights."""
    return _ALIAS.sub(lambda match: f'.scratch.layer{int(match[1]) + 1}_rn.', name)


def without_prefixes(names: Iterable[str]) -> dict[str, str]:
    """
    Remove prefixes that wrappers add to every name of a file: ``weights/`` and ``module.``.

    :return: plain name to stored name, in the given order.
    """
    plain = {name: name for name in names}
    for prefix in ('weights/', 'module.'):
        if all(name.startswith(prefix) for name in plain):
            plain = {name.removeprefix(prefix): stored for name, stored in plain.items()}
    return plain


def state_side_source(name: str) -> str | None:
    """
    Return the image decoder's parameter that initialises one of the state decoder.

    Checkpoints without a state decoder (DUSt3R's) are loaded this way, as in CUT3R.
    """
    prefix = 'decoder.state_blocks.'
    if not name.startswith(prefix):
        return None
    return 'decoder.image_blocks.' + name.removeprefix(prefix)


class NameMap:
    """Maps every accepted name of a parameter to ours."""

    def __init__(self, our_names: Iterable[str]) -> None:
        """Index the parameters of one network."""
        self._ours = {}
        for name in our_names:
            self._ours[name] = name
            self._ours[cut3r_name(name)] = name

    def find(self, stored_name: str) -> str | None:
        """Return our name, or None where the network has no such parameter."""
        return self._ours.get(without_alias(stored_name))
