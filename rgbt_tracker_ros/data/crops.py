"""Crops of recorded pairs as the networks take them, and batches of such crops."""
from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray
import torch

from rgbt_tracker_ros.data.jitter import CropView
from rgbt_tracker_ros.data.pair_sources import Batch, Condition, CropSizes
from rgbt_tracker_ros.tracking.geometry import Crop, thermal_to_rgb
from rgbt_tracker_ros.types import Box, Pair


def to_8_bits(thermal: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Return a thermal image as (H, W) uint8.

    False colours become their brightness. 16-bit and float images are stretched between their 1st
    and 99th percentile, as a camera's automatic gain does; what is not finite becomes 0.
    """
    if thermal.ndim == 3:
        return np.asarray(cv2.cvtColor(thermal.astype(np.uint8), cv2.COLOR_RGB2GRAY))
    if thermal.dtype == np.uint8:
        return thermal.astype(np.uint8)
    values = thermal.astype(np.float32)
    finite = np.isfinite(values)
    if not finite.any():
        return np.zeros(values.shape, np.uint8)
    low, high = np.percentile(values[finite], (1, 99))
    scaled = (values - low) * (255 / max(float(high - low), 1e-6))
    return np.clip(np.where(finite, scaled, 0), 0, 255).astype(np.uint8)


def cut(pair: Pair, crop: Crop, box: Box) -> CropView:
    """Cut a crop out of both images of a pair; `box` and `crop` are in px of its reference image.

    A thermal image of another size is taken for the same view at another resolution.
    """
    blank = np.zeros((crop.size, crop.size), np.uint8)
    rgb = np.repeat(blank[..., None], 3, axis=2) if pair.rgb is None else crop.cut(pair.rgb)
    thermal = blank
    if pair.thermal is not None:
        image = to_8_bits(pair.thermal)
        height, width = image.shape
        scale = None if (width, height) == pair.size else \
            thermal_to_rgb((), (width, height), pair.size)
        thermal = crop.cut(image, scale)
    present = (float(pair.rgb is not None), float(pair.thermal is not None))
    return CropView(rgb, thermal, crop.to_crop(box), present)


def inside_major(crop: Crop, width: int, height: int, max_scale: float = 1.5) -> Crop:
    """Shrink and shift a crop so that it fits an image along the image's longer side (the border
    mode of SuperDiMP); it shrinks by `max_scale` at most.
    """
    side = max(crop.side / max_scale, min(crop.side, float(max(width, height))))
    cx, cy = crop.x0 + crop.side / 2, crop.y0 + crop.side / 2

    def start(center: float, length: int) -> float:
        if side > length:  # it sticks out whatever one does: evenly
            return (length - side) / 2
        return min(max(center - side / 2, 0.0), length - side)

    return Crop(start(cx, width), start(cy, height), side, crop.size)


def shows_image(crop: Crop, width: int, height: int) -> bool:
    """Tell whether a crop shows a pixel or more of an image."""
    across = min(crop.x0 + crop.side, width) - max(crop.x0, 0)
    down = min(crop.y0 + crop.side, height) - max(crop.y0, 0)
    return crop.side >= 1 and min(across, down) * crop.scale >= 1


def collate(indices: Sequence[int], views: Sequence[tuple[CropView, CropView]],
            crops: CropSizes, device: str | torch.device) -> Batch:
    """Make a batch of (template, search) views, 0 or more, of these sizes; see pair_sources."""
    out: Batch = {}
    for k, (name, n) in enumerate((('template', crops.template_size),
                                   ('search', crops.search_size))):
        column = [pair[k] for pair in views]
        out[f'{name}_rgb'] = _stacked([v.rgb.transpose(2, 0, 1) for v in column], 3, n)
        out[f'{name}_thermal'] = _stacked([v.thermal[None] for v in column], 1, n)
        boxes, present = [v.box.as_tuple() for v in column], [v.present for v in column]
        out[f'{name}_box'] = torch.tensor(boxes).reshape(len(views), 4)
        out[f'{name}_present'] = torch.tensor(present).reshape(len(views), 2)
    out['index'] = torch.tensor(list(indices), dtype=torch.int64)
    out['visible'] = torch.ones(len(views))
    out['condition'] = missing_condition(out['search_present'])
    return {k: v.to(device) for k, v in out.items()}


def _stacked(images: Sequence[NDArray[np.uint8]], channels: int, side: int) -> torch.Tensor:
    """Stack images (channels, side, side); of none: (0, channels, side, side)."""
    return torch.from_numpy(np.stack(images) if images else
                            np.zeros((0, channels, side, side), np.uint8))


def missing_condition(present: torch.Tensor) -> torch.Tensor:
    """Return the condition (B,) that a `present` (B, 2) tells of: a modality may be missing."""
    rgb, thermal = present.unbind(1)
    return ((rgb < thermal).long() * int(Condition.RGB_DEGRADED)
            + (thermal < rgb).long() * int(Condition.THERMAL_DEGRADED))
