"""Looking for a cached template in a search crop's features: what Student and Twin share."""
from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
import torch.nn.functional as F

from rgbt_tracker_ros.models.convnet import ConvBN
from rgbt_tracker_ros.models.heads import CenterHead
from rgbt_tracker_ros.models.network import MODALITIES, Batch, Network, Output, Taps
from rgbt_tracker_ros.models.roi import cell_cover


class Template(NamedTuple):
    """What is kept of the template: (B, C, T) descriptors and values of its T cells, and the
    weights (B, 2) of the modalities it was made with.
    """

    keys: Tensor
    values: Tensor
    mask: Tensor
    weights: Tensor


class MatchingNetwork(Network):
    """A network whose two crops become one feature map each, which are matched cell by cell.

    Matching is by two means: the cosine of every search cell with every template cell
    (pixel-wise correlation, Yan et al., 2021, Alpha-Refine), and reading the template's features
    and its box mask through attention (space-time memory, Oh et al., 2019). A centre head
    follows.

    The template's cells do not look at the search crop, so `encode_template` runs once for a
    target.

    A subclass gives `features` and calls `add_matching` once its own layers are made.
    """

    def add_matching(self, width: int, head: int) -> None:
        """Make the layers for features of `width` channels and a centre head of `head`."""
        c = self.config
        tokens = (c.template_size // c.stride) ** 2
        self.key = nn.Conv2d(width, width, 1)
        self.value = nn.Conv2d(width + 1, width, 1)
        self.temperature = nn.Parameter(torch.tensor(10.0))
        self.join = ConvBN(2 * width + tokens + 1, head, 1)
        self.head = CenterHead(head, head, c.stride)

    def features(self, rgb: Tensor, thermal: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        """Return a crop's features (B, C, S, S), S = n/stride, and weights (B, 2, S', S')."""
        raise NotImplementedError

    def search_taps(self, rgb: Tensor, thermal: Tensor, present: Tensor) -> Taps:
        """Return what the training pass gives of a search crop: `weights`, `features`, or more."""
        x, weights = self.features(rgb, thermal, present)
        return {'weights': weights, 'features': x}

    def taps(self, batch: Batch, *, seed: int = 0, modality: str = 'both') -> Taps:
        """Run the training pass; nothing is drawn in it, whatever the seed.

        :param modality: what it is shown: 'both', 'rgb' alone, 'thermal' alone (where both are
            there; where one is, that one); 'each' of these in one go, as one batch: the taps of
            the latter two are then 'rgb.score' and so on.
        :raises ValueError: any other modality.
        """
        if modality == 'each':
            return self._each(batch)
        template_present = shown(batch['template_present'], modality)
        template = self.encode_template(batch['template_rgb'], batch['template_thermal'],
                                        template_present, batch['template_box'])
        seen = self.search_taps(batch['search_rgb'], batch['search_thermal'],
                                shown(batch['search_present'], modality))
        out = self.match(template, seen['features'], seen['weights'])
        return {'score': out.logits, 'boxes': out.boxes} | seen

    def _each(self, batch: Batch) -> Taps:
        kinds = ('both', *MODALITIES)
        names = [f'{crop}_{what}' for crop in ('template', 'search')
                 for what in ('rgb', 'thermal')] + ['template_box']
        stacked = {k: batch[k].repeat(len(kinds), *(1,) * (batch[k].ndim - 1)) for k in names}
        for crop in ('template', 'search'):
            stacked[f'{crop}_present'] = torch.cat(
                [shown(batch[f'{crop}_present'], m) for m in kinds])
        found = self.taps(stacked)
        count = len(batch['template_box'])
        return {('' if kind == 'both' else f'{kind}.') + name: value[k * count:(k + 1) * count]
                for k, kind in enumerate(kinds) for name, value in found.items()}

    def encode_template(self, rgb: Tensor, thermal: Tensor, present: Tensor,
                        box: Tensor) -> Template:
        """Encode a template crop; `box` (B, 4) x, y, w, h in crop px."""
        x, weights = self.features(rgb, thermal, present)
        mask = cell_cover(box, self.config.template_size // self.config.stride,
                          self.config.stride).to(x.dtype)
        return Template(F.normalize(self.key(x).flatten(2), dim=1),
                        self.value(torch.cat((x, mask), 1)).flatten(2), mask.flatten(2),
                        (weights * mask_resize(mask, weights)).sum((2, 3)))

    def forward(self, template: Template, rgb: Tensor, thermal: Tensor,
                present: Tensor) -> Output:
        """Look for the template in a search crop of (B, ., n, n)."""
        return self.match(template, *self.features(rgb, thermal, present))

    def match(self, template: Template, x: Tensor, weights: Tensor) -> Output:
        """Look for the template in what `features` gave for a search crop."""
        # cells first, channels last: as the convolutions leave them, so that nothing is turned
        query = F.normalize(self.key(x).flatten(2).transpose(1, 2), dim=2)
        cosine = query @ template.keys  # (B, search cells, template cells)
        attention = torch.softmax(self.temperature * cosine.float(), 2).to(x.dtype)
        read = attention @ template.values.transpose(1, 2)
        inside = attention @ template.mask.transpose(1, 2)
        # only what the box holds votes for the target
        votes = cosine * template.mask
        cells = torch.cat((x.flatten(2).transpose(1, 2), read, votes, inside), 2)
        joined = cells.transpose(1, 2).reshape(*cells.shape[::2], *x.shape[2:])
        logits, edges = self.head(self.join(joined))
        return Output(logits.float(), self.head.boxes(edges), weights)


def shown(present: Tensor, modality: str) -> Tensor:
    """Return `present` (B, 2) with one modality alone left of two: see `MatchingNetwork.taps`."""
    if modality == 'both':
        return present
    if modality not in MODALITIES:
        raise ValueError(f'modality is {modality!r}; use both, {", ".join(MODALITIES)}')
    alone = torch.zeros_like(present)
    alone[:, MODALITIES.index(modality)] = 1
    return torch.where(present.sum(1, keepdim=True) > 1, alone, present)


def mask_resize(mask: Tensor, like: Tensor) -> Tensor:
    """Resize a (B, 1, h, w) mask to the size of `like` and scale it to a sum of 1."""
    m = F.interpolate(mask.float(), size=like.shape[2:], mode='nearest')
    return m / m.sum((2, 3), keepdim=True).clamp(min=1e-6)
