"""Pictures of made-up scenes in RGB and thermal, in batches, on any device.

One latent scene (a ground with patches, and objects) is drawn twice, with the same geometry and
another style: thermal has little texture, other polarity and offset, and is blurred.

**The same on CPU and GPU, to the last bit.** What is used is what IEEE 754 fixes: +, -, *, /,
comparisons, floor, gathers and integers, one operation a kernel. What is not used, because every
device rounds it in its own way: sin, exp, pow and other functions, sums of many floats, matrix
products, convolutions, `lerp`, `addcmul` and `alpha=` (fused multiply and add), and division by a
Python number (a GPU multiplies with its reciprocal). Waves are triangles, shapes polynomials, and
interpolation is by gathers with explicit weights.
"""
from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from rgbt_tracker_ros.data.random import Draws, noise_rows
from rgbt_tracker_ros.data.render_objects import Objects, Shading, View, shade

_LOW, _MID = 1.8, 0.55  # cells of the ground: in units of the target's size


@dataclass(frozen=True, slots=True)
class Cameras:
    """The cameras' state in B pictures, all (B,): gain and bias (grey levels) of each modality,
    standard deviation of its noise (grey levels), 1 or 0 whether it sends anything; how far the
    thermal picture lies to the right of and below the RGB picture (px), None for not at all; and
    the part of the plane that the cameras see: `bounds` (B, 4) left, top, right, bottom.
    """

    rgb_gain: Tensor
    rgb_bias: Tensor
    rgb_noise: Tensor
    thermal_gain: Tensor
    thermal_bias: Tensor
    thermal_noise: Tensor
    rgb_present: Tensor
    thermal_present: Tensor
    bounds: Tensor
    shift: tuple[Tensor, Tensor] | None = None

    @classmethod
    def perfect(cls, count: int, device: torch.device | str = 'cpu') -> Cameras:
        """Return cameras without noise or faults."""
        one, zero = torch.ones(count, device=device), torch.zeros(count, device=device)
        everything = torch.tensor([-1e9, -1e9, 1e9, 1e9], device=device).repeat(count, 1)
        return cls(one, zero, zero, one, zero, zero, one, one, everything)


def _per_sample(value: Tensor) -> Tensor:
    return value[:, None, None, None]


def _taps(place: Tensor, cell: float, span: float, cubic: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Return for places (B, N) on an axis: the lattice's places (B, G), the first of the taps
    (B, N) among them, and weights (T, B, N) of the T taps.
    """
    scaled = place * (1.0 / cell)
    whole = scaled.floor()
    t = scaled - whole
    whole = whole.long()
    first = whole[:, :1]
    count = int(span / cell) + (5 if cubic else 3)
    lattice = first + torch.arange(count, device=place.device) - (1 if cubic else 0)
    s = 1.0 - t
    if not cubic:
        return lattice, whole - first, torch.stack((s, t))
    # the uniform cubic B-spline
    s2, t2 = s * s, t * t
    weights = torch.stack((s2 * s * (1 / 6), (t2 * t * 0.5 - t2) + 2 / 3,
                           (s2 * s * 0.5 - s2) + 2 / 3, t2 * t * (1 / 6)))
    return lattice, whole - first, weights


def _interpolate(values: Tensor, column: Tensor, across: Tensor, row: Tensor,
                 down: Tensor) -> Tensor:
    """Interpolate (B, C, G, G) lattice values at B grids: (B, C, H, W)."""
    b, c, g, _ = values.shape
    index = column[:, None, None, :].expand(b, c, g, -1)
    field = values.gather(3, index) * across[0, :, None, None]
    for k in range(1, len(across)):
        field.add_(values.gather(3, index + k) * across[k, :, None, None])
    width = field.shape[3]
    # rows of (B, C) planes, one after the other: whole rows are copied
    planes = torch.arange(b * c, device=values.device).reshape(b, c, 1) * g
    flat = field.reshape(-1, width)
    rows = (planes + row[:, None]).reshape(-1)
    shape = (b, c, row.shape[1], width)
    out = flat.index_select(0, rows).reshape(shape).mul_(down[0, :, None, :, None])
    for k in range(1, len(down)):
        out.add_(flat.index_select(0, rows + k).reshape(shape).mul_(down[k, :, None, :, None]))
    return out


def ground(draws: Draws, view: View, contrast: float = 1.0) -> Tensor:
    """Return what lies behind the objects: (B, 4, H, W), RGB and thermal in about [0, 255].

    The same place of the plane looks the same in every view of the same draws.
    """
    x, y = view.columns(), view.rows()
    columns, column, across = _taps(x, _LOW, view.span, cubic=True)
    rows, row, down = _taps(y, _LOW, view.span, cubic=True)
    raw = draws.lattice('ground', 5, columns, rows) - 0.5
    light, colour, own = raw[:, :1], raw[:, 1:4], raw[:, 4:]
    base = draws.uniform('ground level', 4, 1, 1)
    strength = draws.uniform('ground contrast', 4, 1, 1, low=0.3, high=1.0) * contrast
    mixed = torch.cat((light * 130.0 + colour * 110.0, own * 120.0 - light * 60.0), 1)
    field = _interpolate(mixed * strength + (base * 110.0 + 60.0), column, across, row, down)
    # patches with edges: what makes a ground hard to tell from an object
    columns, column, across = _taps(x, _MID, view.span, cubic=False)
    rows, row, down = _taps(y, _MID, view.span, cubic=False)
    patch = _interpolate(draws.lattice('patches', 1, columns, rows), column, across, row, down)
    patch.sub_(0.5).mul_(5.0).clamp_(-0.5, 0.5)
    weight = draws.uniform('patch contrast', 4, 1, 1, low=-50.0, high=50.0) * contrast
    less = torch.tensor([1.0, 1.0, 1.0, 0.5], device=x.device)[:, None, None]
    return field.add_(patch * (weight * less))


def _blurred(image: Tensor) -> Tensor:
    """Blur (B, C, H, W) by the 3 x 3 binomial; the picture's edge goes on beyond it."""
    for dim in (2, 3):
        n = image.shape[dim]
        index = torch.arange(-1, n + 1, device=image.device).clamp_(0, n - 1)
        wide = image.index_select(dim, index)
        a, b, c = (wide.narrow(dim, k, n) for k in range(3))
        image = ((a + c) + (b + b)).mul_(0.25)
    return image


def shifted(image: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Move (B, C, H, W) pictures by (x, y) (B,) px to the right and down, bilinearly; the
    picture's edge fills what comes in.
    """
    for dim, shift in ((3, x), (2, y)):
        n = image.shape[dim]
        place = torch.arange(n, dtype=torch.float32, device=image.device) - shift[:, None]
        whole = place.floor()
        t = place - whole
        shape = [len(image), 1, 1, 1]
        shape[dim] = n
        low = whole.long().clamp(0, n - 1).reshape(shape).expand_as(image)
        high = (whole.long() + 1).clamp(0, n - 1).reshape(shape).expand_as(image)
        image = image.gather(dim, low) * (1.0 - t).reshape(shape) \
            + image.gather(dim, high) * t.reshape(shape)
    return image


def expose(picture: Tensor, gain: Tensor, bias: Tensor, noise: Tensor, grain: Tensor) -> Tensor:
    """Turn light (B, C, H, W) into 8 bits, with a gain, a bias and noise of `grain`."""
    out = (picture * _per_sample(gain)).add_(_per_sample(bias + 0.5))
    out.add_(grain * _per_sample(noise))
    return out.clamp_(0.0, 255.0).to(torch.uint8)


def render(draws: Draws, view: View, objects: Objects, cameras: Cameras, name: str = 'view',
           contrast: float = 1.0) -> tuple[Tensor, Tensor]:
    """Draw B scenes: RGB (B, 3, H, W) and thermal (B, 1, H, W), uint8.

    :param draws: of the scenes: the same draws give the same ground.
    :param name: of the instant: another name gives other noise.
    :param contrast: of the ground.
    """
    behind = ground(draws, view, contrast)
    front: Shading = shade(view, objects)
    rgb, thermal = behind[:, :3], behind[:, 3:]
    rgb = (front.rgb - rgb).mul_(front.alpha).add_(rgb)
    thermal = (front.thermal - thermal).mul_(front.alpha * front.heat).add_(thermal)
    thermal = _blurred(thermal)
    if cameras.shift is not None:
        thermal = shifted(thermal, *cameras.shift)
    grain = noise_rows(draws, f'{name} noise', 4 * view.height, view.width)
    grain = grain.reshape(len(draws), 4, view.height, view.width)
    rgb = expose(rgb, cameras.rgb_gain, cameras.rgb_bias, cameras.rgb_noise, grain[:, :3])
    thermal = expose(thermal, cameras.thermal_gain, cameras.thermal_bias, cameras.thermal_noise,
                     grain[:, 3:])
    x, y, b = view.columns(), view.rows(), cameras.bounds[..., None]
    inside = ((y >= b[:, 1]) & (y < b[:, 3]))[:, None, :, None] \
        & ((x >= b[:, 0]) & (x < b[:, 2]))[:, None, None, :]
    inside = inside.to(torch.uint8)
    return (rgb.mul_(inside * _per_sample(cameras.rgb_present).to(torch.uint8)),
            thermal.mul_(inside * _per_sample(cameras.thermal_present).to(torch.uint8)))
