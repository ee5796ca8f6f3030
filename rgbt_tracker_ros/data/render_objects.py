"""Made-up objects: an identity code, what it looks like in each modality, and where it is drawn.

An object's code becomes colours and stripes in RGB, and through another map, of other parts of
the code, a temperature and its gradient in thermal: who it is can be told in either modality, and
neither is a copy of the other.
"""
from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from rgbt_tracker_ros.data.ieee import fold

CODE = 8
"""Numbers in [0, 1) that an identity is made of."""


class View(NamedTuple):
    """What a camera's picture shows of the plane of the scene: its left top corner (B,) and what a
    pixel measures (B,), in units of the target's size; `width` x `height` px; `span`: no picture
    of the batch is wider or higher than that many units.
    """

    x: Tensor
    y: Tensor
    pixel: Tensor
    width: int
    height: int
    span: float

    def columns(self) -> Tensor:
        """Return (B, width): where the centres of the columns of pixels are."""
        return _centres(self.x, self.pixel, self.width)

    def rows(self) -> Tensor:
        """Return (B, height): where the centres of the rows of pixels are."""
        return _centres(self.y, self.pixel, self.height)

    def box(self, cx: Tensor, cy: Tensor, w: Tensor, h: Tensor) -> Tensor:
        """Return (B, 4) x, y, w, h in px of a box (B,) around (cx, cy) in the plane."""
        return torch.stack(((cx - w * 0.5 - self.x) / self.pixel,
                            (cy - h * 0.5 - self.y) / self.pixel,
                            w / self.pixel, h / self.pixel), -1)


def _centres(start: Tensor, pixel: Tensor, count: int) -> Tensor:
    place = torch.arange(count, dtype=torch.float32, device=start.device) + 0.5
    return start[:, None] + place * pixel[:, None]


@dataclass(frozen=True, slots=True)
class Objects:
    """K objects of each of B scenes, the last in front: all (B, K), `code` (B, K, CODE).

    An object is |u|^p + |v|^p < 1 in its box, p = 2, or 4 where `square`. `heat`: how far its
    temperature stands out from what is behind it, 1 or less.
    """

    cx: Tensor
    cy: Tensor
    w: Tensor
    h: Tensor
    code: Tensor
    square: Tensor
    shown: Tensor
    heat: Tensor


class Shading(NamedTuple):
    """Objects as a camera sees them, per pixel: `alpha` (B, 1, H, W) share of it that they cover,
    `rgb` (B, 3, H, W) and `thermal` (B, 1, H, W) in [0, 255], `heat` (B, 1, H, W).
    """

    alpha: Tensor
    rgb: Tensor
    thermal: Tensor
    heat: Tensor


def _looks(code: Tensor) -> tuple[Tensor, ...]:
    """Return the appearance of codes (..., CODE): colour (..., 3) and what stripes add to it
    (..., 3), stripes per object across and down, temperature, and its gradients across and down.
    """
    z = code.unbind(-1)
    colour = torch.stack(z[:3], -1) * 190.0 + 30.0
    other = torch.stack([fold(z[3] * 1.7 + z[0]), fold(z[4] * 1.7 + z[1]),
                         fold(z[5] * 1.7 + z[2])], -1) * 190.0 + 30.0
    count = z[6] * 2.0 + 1.0
    warm = fold(z[1] * 0.9 + z[4] * 1.1 + z[6] * 0.8) * 150.0 + 50.0
    slope_x = (fold(z[2] * 1.3 + z[5]) - 0.5) * 80.0
    slope_y = (fold(z[3] * 1.3 + z[7]) - 0.5) * 80.0
    return colour, other - colour, count * z[7], count * (1.0 - z[7]), warm, slope_x, slope_y


def _coverage(view: View, x: Tensor, y: Tensor, o: Objects) -> tuple[Tensor, Tensor]:
    """Return (B, H, W): share that objects cover, and 1 + the number of the one in front."""
    half_w, half_h = o.w * 0.5, o.h * 0.5
    u = (x[:, None] - o.cx[..., None]) / half_w[..., None]
    v = (y[:, None] - o.cy[..., None]) / half_h[..., None]
    u, v = u * u, v * v
    u = torch.where(o.square[..., None], u * u, u)
    v = torch.where(o.square[..., None], v * v, v)
    # 1 - u^p - v^p grows by about 2 p per box: an edge about a pixel wide, its middle on the line
    sharp = torch.minimum(half_w, half_h) / view.pixel[:, None] \
        * torch.where(o.square, 0.25, 0.5)
    sharp = sharp.clamp(min=0.5)[..., None]
    u = (1.0 - u) * sharp + torch.where(o.shown, 0.5, -1e9)[..., None]
    v = v * -sharp
    shape = (len(x), y.shape[1], x.shape[1])
    alpha = torch.zeros(shape, device=x.device)
    front = torch.zeros(shape, dtype=torch.uint8, device=x.device)
    cover, threshold = torch.empty_like(alpha), torch.empty_like(alpha)
    for k in range(o.cx.shape[1]):
        torch.add(u[:, k, None, :], v[:, k, :, None], out=cover)
        cover.clamp_(0.0, 1.0)
        # a pixel is of the one in front that covers half of it, or else of who covers most
        torch.clamp(alpha, max=0.5, out=threshold)
        front = torch.maximum(front, (cover > threshold).view(torch.uint8) * (k + 1))
        alpha = torch.maximum(alpha, cover)
    return alpha, front


def shade(view: View, o: Objects) -> Shading:
    """Draw objects as both cameras would, each pixel with the one in front."""
    x, y = view.columns(), view.rows()
    alpha, front = _coverage(view, x, y, o)
    colour, stripe, across, down, warm, slope_x, slope_y = _looks(o.code)
    # all that is linear in a pixel's place becomes three numbers an object
    across, down = across / o.w, down / o.h
    slope_x, slope_y = slope_x / o.w, slope_y / o.h
    start = -(across * o.cx) - down * o.cy + 0.25
    base = warm - slope_x * o.cx - slope_y * o.cy
    table = torch.stack((*colour.unbind(-1), *stripe.unbind(-1), across, down, start,
                         slope_x, slope_y, base, o.heat))
    b, k = o.cx.shape
    scene = torch.arange(b, device=x.device)[:, None, None] * k
    # where there is no object any will do, alpha is 0
    index = (front.long() - 1).clamp_(min=0).add_(scene).reshape(-1)
    picked = table.reshape(len(table), -1).index_select(1, index)
    picked = picked.reshape(len(table), *alpha.shape)
    x, y = x[:, None, :], y[:, :, None]
    wave = picked[6] * x
    wave = wave.add_(picked[7] * y).add_(picked[8])
    wave.sub_((wave + 0.5).floor()).abs_()                  # 0 to 1/2 and back
    wave.sub_(0.25).mul_(6.0).add_(0.5).clamp_(0.0, 1.0)    # bands with soft edges
    rgb = picked[3:6] * wave
    rgb.add_(picked[0:3])
    warmth = picked[9] * x
    warmth = warmth.add_(picked[10] * y).add_(picked[11])
    return Shading(alpha[:, None], rgb.transpose(0, 1), warmth[:, None], picked[12][:, None])
