# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Visible surface and depth of each pixel.

The inverse depth of a plane is a linear function of the pixel. A convex body is hit where the
smallest inverse depth of the planes by which a ray enters exceeds the largest of those by which it
leaves. A round side adds the two roots of a quadratic equation. Bodies are binned to square tiles
of the image. In each round, all tiles of all frames process their next candidate in one matrix
product.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mem3r_ros.worlds.scene import FACES, ROUND

# F frames, O bodies (the last one is the shell), T tiles of an image, L = TILE * TILE pixels

TILE = 8
NEAR_M = 0.02
SPECK_PX = 0.8  # smaller bodies are not drawn
BATCH = 4  # candidates of a tile that are processed at once
BEYOND = 1e9  # an inverse depth larger than any other


@dataclass(frozen=True, slots=True)
class Bodies:
    """Inverse depths of all surfaces as linear functions of the pixel (x, y, 1)."""

    rays: Tensor  # [F, O, 3, 3] direction of unit depth of pixel (x, y, 1), body frames
    eyes: Tensor  # [F, O, 3] the camera's centre, body frames, m
    entry: Tensor  # [F, O, 3, 3] the planes facing the camera, at most three
    entry_face: Tensor  # [F, O, 3] which of the six planes they are
    forms: Tensor  # [F * O, 9, 3] the former, and the planes facing away
    planes: Tensor  # [F, O, 6, 3] all planes
    side: Tensor  # [F, O, 4, 3] the round side: its scaled ray, and their product with the eye
    excess: Tensor  # [F, O] constant term of the quadratic equation
    is_round: Tensor  # [O]


def relate(arrays: dict[str, Tensor], rays: Tensor, eyes: Tensor) -> Bodies:
    """
    Convert the surfaces of all bodies to inverse depths.

    :param arrays: of Scene.arrays.
    :param rays: direction of unit depth of pixel (x, y, 1) in body frames, [F, O, 3, 3].
    :param eyes: the camera's centre in body frames, m, [F, O, 3].
    """
    normals, offsets, quadrics = arrays['normals'], arrays['offsets'], arrays['quadrics']
    distance = offsets - torch.einsum('okc,foc->fok', normals, eyes)
    is_entry = distance < 0
    safe = torch.where(is_entry, distance.clamp(max=-1e-5), distance.clamp(min=1e-5))
    planes = torch.einsum('okc,focd->fokd', normals, rays) / safe[..., None]
    order = is_entry.to(torch.int8).argsort(dim=-1, descending=True, stable=True)[..., :3]
    entry = planes.gather(2, order[..., None].expand(*order.shape, 3))
    never = torch.tensor([0.0, 0.0, BEYOND], device=planes.device)
    entry = torch.where(is_entry.gather(2, order)[..., None], entry, never)
    leave = torch.where(is_entry[..., None], -never, planes)
    scaled_rays, scaled_eyes = rays * quadrics[..., None], eyes * quadrics
    product = torch.einsum('foc,focd->fod', scaled_eyes, scaled_rays)
    return Bodies(
        rays, eyes, entry, order, torch.cat([entry, leave], dim=2).flatten(0, 1), planes,
        torch.cat([scaled_rays, product[:, :, None]], dim=2),
        scaled_eyes.square().sum(-1) - 1, quadrics.any(dim=-1),
    )  # fmt: skip


def tile_candidates(
    halves: Tensor,
    R_camera_body: Tensor,
    t_camera_body: Tensor,
    intrinsics: Tensor,
    tiles: tuple[int, int],
    view_m: float,
) -> tuple[Tensor, Tensor]:
    """
    Find the tiles in which each body may be seen.

    :param halves: half extents of the bodies' bounds, m, [O, 3].
    :param R_camera_body: [F, O, 3, 3].
    :param t_camera_body: the bodies' centres in the camera's frame, m, [F, O, 3].
    :param intrinsics: fx, fy, cx, cy in px, [4].
    :param tiles: columns and rows of tiles.
    :param view_m: bodies farther away are not seen.
    :return: bool [F, T, O], and the largest inverse depth of each body, 1/m, [F, O].
    """
    # A tile lies between two planes through the camera's centre for its columns and two for its
    # rows; a body beyond one of them is not seen in it.
    depth = t_camera_body[..., 2]
    margin = (R_camera_body[..., 2, :].abs() * halves).sum(-1)
    nearest = (depth - margin).clamp(min=NEAR_M)
    radius = halves.square().sum(-1).sqrt()
    is_seen = (depth + margin > NEAR_M) & (t_camera_body.square().sum(-1) < view_m**2)
    is_seen &= 2 * radius * intrinsics[0] > SPECK_PX * nearest
    hits = []
    for axis, count in enumerate(tiles):
        border = torch.arange(count + 1, device=halves.device) * float(TILE)
        slope = ((border - 0.5 - intrinsics[axis + 2]) / intrinsics[axis])[:, None]
        row, last = R_camera_body[..., axis, None, :], R_camera_body[..., 2, None, :]
        reach = ((row - slope * last).abs() * halves[:, None]).sum(-1)  # [F, O, count + 1]
        offset = t_camera_body[..., axis, None] - slope[:, 0] * depth[..., None]
        hits.append(((offset + reach)[..., :-1] >= 0) & ((offset - reach)[..., 1:] <= 0))
    both = hits[1][..., :, None] & hits[0][..., None, :] & is_seen[..., None, None]
    return both.flatten(2).transpose(1, 2), 1 / nearest


def tile_grids(tiles: tuple[int, int], device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the first pixel (x, y) of each tile [T, 2] and (x, y, 1) within a tile [3, L]."""
    rows, columns = torch.meshgrid(
        torch.arange(tiles[1], device=device), torch.arange(tiles[0], device=device), indexing='ij'
    )
    corners = torch.stack([columns, rows], dim=-1).reshape(-1, 2) * float(TILE)
    y, x = torch.meshgrid(
        torch.arange(TILE, device=device), torch.arange(TILE, device=device), indexing='ij'
    )
    local = torch.stack([x, y, torch.ones_like(x)]).reshape(3, -1).to(torch.float32)
    return corners, local


def _shifted(forms: Tensor, corner: Tensor) -> Tensor:
    """Refer linear functions [N, K, 3] of the pixel to the corners [N, 2] of their tiles."""
    constant = forms[..., 2] + (forms[..., :2] * corner[:, None]).sum(-1)
    return torch.cat([forms[..., :2], constant[..., None]], dim=-1)


def cast(
    bodies: Bodies, candidates: Tensor, reach: Tensor, tiles: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """
    Find the visible surface of every pixel.

    :param bodies: bodies in the frame of the camera.
    :param candidates: bool [F, T, O]; the column of the shell is ignored.
    :param reach: largest inverse depth of each body, 1/m, [F, O].
    :param tiles: columns and rows of tiles.
    :return: inverse depth in 1/m, [F * T, L], and the surface as body * FACES + face, int64
        [F * T, L].
    """
    num_frames, num_tiles, num_bodies = candidates.shape
    corners, local = tile_grids(tiles, candidates.device)
    shell = bodies.planes[:, -1, None].expand(-1, num_tiles, -1, -1).flatten(0, 1)
    shell = _shifted(shell, corners.repeat(num_frames, 1)) @ local
    nearest, surface = shell.max(dim=1)
    surface += (num_bodies - 1) * FACES
    body = torch.full_like(surface, -1)

    # Near bodies first, so that hidden bodies can be skipped.
    order = reach[:, :-1].argsort(dim=1, descending=True)
    candidates = candidates.gather(2, order[:, None].expand(-1, num_tiles, -1)).flatten(0, 1)
    counts = candidates.sum(dim=1)
    starts = counts.cumsum(0) - counts
    place, slot = candidates.nonzero(as_tuple=True)
    frame = torch.div(place, num_tiles, rounding_mode='floor')
    which = order[frame, slot]
    reach = reach[frame, which]
    tile = counts.nonzero().squeeze(-1)
    first = starts[tile]
    steps = torch.arange(BATCH, device=tile.device)
    while len(tile):
        pair = first[:, None] + steps
        pair = torch.minimum(pair, (starts + counts - 1)[tile][:, None])  # the last one again
        frame = torch.div(tile, num_tiles, rounding_mode='floor')
        corner = corners[tile - frame * num_tiles]
        near, code = _meet(bodies, frame, which[pair], corner, local)
        old = nearest.index_select(0, tile)
        best, choice = near[:, 0], code[:, 0]
        for step in range(1, BATCH):
            choice = torch.where(near[:, step] > best, code[:, step], choice)
            best = torch.maximum(best, near[:, step])
        body.index_copy_(0, tile, torch.where(best > old, choice, body.index_select(0, tile)))
        best = torch.maximum(best, old)
        nearest.index_copy_(0, tile, best)
        first = first + BATCH
        goes_on = first < (starts + counts)[tile]
        goes_on &= reach[first.clamp(max=len(reach) - 1)] > best.amin(1)
        tile, first = tile[goes_on], first[goes_on]
    return nearest, _with_faces(bodies, body, surface, corners, local)


def _meet(
    bodies: Bodies, frame: Tensor, which: Tensor, corner: Tensor, local: Tensor
) -> tuple[Tensor, Tensor]:
    """
    Intersect the rays of tiles with some bodies.

    :param frame: frame of each tile, [N].
    :param which: bodies, [N, K].
    :param corner: first pixel of each tile, [N, 2].
    :param local: pixels within a tile, [3, L].
    :return: inverse depth of entry, [N, K, L], not positive where missed; and a code of the body,
        [N, K, L], higher by the number of bodies on its round side.
    """
    num_bodies = bodies.is_round.numel()
    index = frame[:, None] * num_bodies + which
    forms = _shifted(bodies.forms[index].flatten(1, 2), corner) @ local
    forms = forms.view(*which.shape, 9, -1)
    near = torch.minimum(torch.minimum(forms[:, :, 0], forms[:, :, 1]), forms[:, :, 2])
    far = forms[:, :, 3:].amax(2)
    code = which[..., None].expand(near.shape)
    tile, step = bodies.is_round[which].nonzero(as_tuple=True)
    if len(tile):
        chosen = index[tile, step]
        enters, leaves = _meet_side(bodies, chosen, corner[tile], local)
        planes = near[tile, step]
        code = code.clone()
        code[tile, step] += (enters < planes).to(code.dtype) * num_bodies
        near[tile, step] = torch.minimum(planes, enters)
        far[tile, step] = torch.maximum(far[tile, step], leaves)
    return near.masked_fill_((near <= far) | (near > 1 / NEAR_M), -1), code


def _meet_side(
    bodies: Bodies, index: Tensor, corner: Tensor, local: Tensor
) -> tuple[Tensor, Tensor]:
    """Return inverse depths [N, L] at which rays enter and leave round sides."""
    forms = _shifted(bodies.side.flatten(0, 1)[index], corner) @ local
    square = forms[:, :3].square().sum(1)  # a of a + 2 b w + c w**2 = 0
    product = forms[:, 3]
    excess = bodies.excess.flatten()[index][:, None]
    excess = torch.where(excess.abs() < 1e-6, 1e-6, excess)
    root = product.square() - square * excess
    missed = root < 0
    root = root.clamp_(min=0).sqrt_()
    enters = torch.where(excess > 0, (root - product) / excess, BEYOND).masked_fill_(missed, -1)
    return enters, -(root + product) / excess


def _with_faces(
    bodies: Bodies, body: Tensor, surface: Tensor, corners: Tensor, local: Tensor
) -> Tensor:
    """Return the face through which each ray enters the body that it hits."""
    num_bodies, num_tiles = bodies.is_round.numel(), len(corners)
    tile, pixel = (body >= 0).nonzero(as_tuple=True)
    code = body[tile, pixel]
    on_side = code >= num_bodies
    code = torch.where(on_side, code - num_bodies, code)
    frame = torch.div(tile, num_tiles, rounding_mode='floor')
    index = frame * num_bodies + code
    rows = bodies.entry.flatten(0, 1).flatten(1).t().contiguous().index_select(1, index)
    corner = corners[tile - frame * num_tiles]
    x, y = local[0][pixel] + corner[:, 0], local[1][pixel] + corner[:, 1]
    first, second, third = (rows[k] * x + rows[k + 1] * y + rows[k + 2] for k in (0, 3, 6))
    choice = (second < first).to(torch.int64)
    choice = torch.where(third < torch.minimum(first, second), 2, choice)
    face = bodies.entry_face.flatten()[index * 3 + choice]
    surface[tile, pixel] = code * FACES + torch.where(on_side, ROUND, face)
    return surface
