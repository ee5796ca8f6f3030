"""DiMP: a filter learned from the reference finds the target, IoU-Net finds its box."""
from __future__ import annotations

from typing import ClassVar, NamedTuple, cast

import torch
from torch import Tensor

from rgbt_tracker_ros.models.center_box import CenterBox
from rgbt_tracker_ros.models.dimp_classifier import Classifier, best_corner, gaussian_label
from rgbt_tracker_ros.models.dimp_config import (
    DiMPConfig,
    check,
    modality_checked,
)
from rgbt_tracker_ros.models.dimp_tracker import (
    best_nodes,
    dropped_features,
    refine,
    subnode_peaks,
    template_views,
    to_logits,
)
from rgbt_tracker_ros.models.iou_net import IoUNet, draw_candidates
from rgbt_tracker_ros.models.network import (
    MODALITIES,
    Batch,
    Network,
    NetworkConfig,
    Output,
    Taps,
    standardise,
)
from rgbt_tracker_ros.models.paper_head import corner_boxes
from rgbt_tracker_ros.models.resnet import ResNet, shape_of

PEAKS = 3  # of the score, whose boxes are refined


class DiMPTemplate(NamedTuple):
    """What is kept of a template: `filter` (B, C, f, f), `modulation` (B, D) of the box estimator,
    `size` (B, 2) of the target in search crop px, `weights` (B, 2) of the modalities.
    """

    filter: Tensor
    modulation: Tensor
    size: Tensor
    weights: Tensor


class DiMP(Network):
    """A tracker of one modality at a time, with a reference branch and a test branch that need
    not see the same one (cross-modal distillation, Sun et al., 2021).

    Parts, for patterns of parameter names: `backbone`, `classifier` (`feature`, `initialiser`,
    `optimizer`), `box`.

    `taps(batch, reference='rgb', test='thermal', seed=0)`; both default to `config.modality`:

    - `scores.{i}` (B, 1, n, n), i = 0 ... steps: score of the filter after i steps of the
      optimiser, not a logit. Node (j, i) is at (i, j) * stride crop px and n = S + 1 for an
      even filter; at (i + 0.5, j + 0.5) * stride and n = S for an odd one.
    - `label` (B, 1, n, n): the Gaussian that a score should be, around `search_box`.
    - `stages.{k}` and `stages.{k}.reference`: backbone maps of the test and the reference
      branch; k counts from 0, the finest (0 is `layer1`).
    - `features` (B, C, S, S): the classifier's test features.
    - `filters` (B, steps + 1, C, f, f) and `modulation` (B, D), what the reference branch gives.
    - with `box: iou_net`: `iou` (B, K), scores of K boxes drawn around `search_box` from (seed,
      index); `iou_density` (B, K), the density they were drawn with; `iou_target` (B, K), the
      density wanted; `iou_boxes` (B, K, 4) x, y, w, h.
    - with `box: center`: `score` (B, 1, S, S), logits of the last score at the cells (in the
      centre head's counting), `size` and `offset` (B, 2, S, S).

    The tracking pass learns the filter from 15 views of the template once; it is not updated
    online. Its boxes are of the template's size in proportion, or refined (`iou_net`) at the
    best three peaks, or read from the maps (`center`).
    """

    Config: ClassVar[type[NetworkConfig]] = DiMPConfig
    config: DiMPConfig

    def __init__(self, config: DiMPConfig | None = None) -> None:
        """:raises ValueError: an unknown choice, or sizes that do not fit together."""
        super().__init__()
        self.config = c = config or DiMPConfig()
        check(c)
        self.backbone = ResNet(shape_of(c.backbone, c.widths, c.blocks, c.stages), c.stride)
        fine, coarse = self.backbone.stages[-2:]
        self.classifier = Classifier(coarse.channels, c.channels, c.filter_size, c.stride, c.sigma)
        self.box: IoUNet | CenterBox = (
            IoUNet(fine, coarse, c.box_width) if c.box == 'iou_net'
            else CenterBox(coarse, c.box_width, c.template_size))

    def _maps(self, image: Tensor, present: Tensor) -> list[Tensor]:
        x = standardise(image, present)
        return self.backbone(x.expand(-1, 3, -1, -1))

    def taps(self, batch: Batch, reference: str = '', test: str = '', seed: int = 0,
             filters: Tensor | None = None, modulation: Tensor | None = None) -> Taps:
        """Run both branches; see the class for the names.

        :param reference: modality of the reference branch, :param test: of the test branch:
            'rgb', 'thermal' or '' for `config.modality`.
        :param filters, modulation: those taps of another pass (of this network or of one like
            it), whose reference branch then takes the place of this one's.
        """
        c = self.config
        ref, tst = (modality_checked(name or c.modality) for name in (reference, test))
        maps = self._maps(batch[f'search_{tst}'],
                          batch['search_present'][:, MODALITIES.index(tst)])
        taps = {f'stages.{k}': m for k, m in enumerate(maps)}
        cls = self.classifier
        if filters is None or modulation is None:
            ref_maps = self._maps(batch[f'template_{ref}'],
                                  batch['template_present'][:, MODALITIES.index(ref)])
            taps.update({f'stages.{k}.reference': m for k, m in enumerate(ref_maps)})
            box = batch['template_box'].float()
            learned = cls.filters(cls.features(ref_maps[-1])[:, None], box[:, None], c.steps)
            filters = torch.stack(learned, 1)
            modulation = self.box.modulation(ref_maps[-2], ref_maps[-1], box)
        taps['filters'], taps['modulation'] = filters, modulation
        taps['features'] = cls.features(maps[-1])
        scores = cls(taps['features'], list(filters.unbind(1)))
        taps.update({f'scores.{i}': s for i, s in enumerate(scores)})
        taps['label'] = gaussian_label(batch['search_box'], scores[-1].shape[-1], c.stride,
                                       cls.first_node, c.sigma)
        if isinstance(self.box, IoUNet):
            drawn = draw_candidates(batch['search_box'], batch['index'], c.candidates, seed)
            taps['iou'] = self.box(modulation, self.box.features(maps[-2], maps[-1]), drawn.boxes)
            taps.update(iou_density=drawn.density, iou_target=drawn.target,
                        iou_boxes=drawn.boxes)
        else:
            taps['score'] = to_logits(scores[-1][..., :c.cells, :c.cells])
            taps['size'], taps['offset'] = self.box(modulation, maps[-1])
        return taps

    def encode_template(self, rgb: Tensor, thermal: Tensor, present: Tensor,
                        box: Tensor) -> DiMPTemplate:
        """Learn the filter, keep the modulation; see `Network.encode_template`."""
        c, cls = self.config, self.classifier
        m = MODALITIES.index(c.modality)
        image = standardise((rgb, thermal)[m], present[:, m]).expand(-1, 3, -1, -1)
        box = box.to(image.dtype)
        views, boxes = template_views(image, box) if c.augment else (image[:, None], box[:, None])
        b, count = views.shape[:2]
        maps = self.backbone(views.flatten(0, 1))
        features = cls.features(maps[-1])
        features = features.reshape(b, count, *features.shape[1:])
        if c.augment:
            dropped = dropped_features(features[:, 0])
            features = torch.cat((features, dropped), 1)
            boxes = torch.cat((boxes, box[:, None].expand(-1, dropped.shape[1], -1)), 1)
        learned = cls.filters(features, boxes, c.template_steps)[-1]
        modulation = self.box.modulation(maps[-2][::count], maps[-1][::count], box)
        side = (box[:, 2] * box[:, 3]).clamp(min=1e-6).sqrt()[:, None]
        size = box[:, 2:] / side * (c.search_size / c.search_factor)
        return DiMPTemplate(learned, modulation, size, self._weights(present))

    def forward(self, template: DiMPTemplate, rgb: Tensor, thermal: Tensor,
                present: Tensor) -> Output:
        """Look for the target; a missing image gives the lowest score everywhere."""
        c, cls = self.config, self.classifier
        m = MODALITIES.index(c.modality)
        maps = self._maps((rgb, thermal)[m], present[:, m])
        scores, = cls(cls.features(maps[-1]), [template.filter])
        scores = scores * present[:, m, None, None, None]
        best, node = best_corner(scores, cls.first_node)
        at_nodes = self._boxes(template, maps, scores)
        boxes = at_nodes.flatten(2).gather(2, node.flatten(1)[:, None].expand(-1, 4, -1))
        return Output(to_logits(best), boxes.reshape(-1, 4, *node.shape[1:]),
                      self._weights(present)[:, :, None, None])

    def _weights(self, present: Tensor) -> Tensor:
        """(B, 2): all weight on the one modality."""
        weights = torch.zeros_like(present)
        weights[:, MODALITIES.index(self.config.modality)] = 1
        return weights

    def _boxes(self, template: DiMPTemplate, maps: list[Tensor], scores: Tensor) -> Tensor:
        """Corner boxes (B, 4, n, n) in crop px at the nodes of the score."""
        c, n = self.config, scores.shape[-1]
        if isinstance(self.box, CenterBox):
            size, offset = self.box(template.modulation, maps[-1])
            boxes = corner_boxes(size, offset, c.search_size)
            # the node at the crop's far edge has no cell of its own
            at = torch.arange(n, device=boxes.device).clamp(max=c.cells - 1)
            return boxes[..., at, :][..., at]
        at = torch.arange(n, device=scores.device) + self.classifier.first_node
        grid = torch.stack((at.expand(n, n), at[:, None].expand(n, n)))
        center = (grid + subnode_peaks(scores)) * c.stride
        half = template.size[:, :, None, None] / 2
        boxes = torch.cat((center - half, center + half), 1)
        return self._refined(template, maps, scores, boxes) if c.refine_steps else boxes

    def _refined(self, template: DiMPTemplate, maps: list[Tensor], scores: Tensor,
                 boxes: Tensor) -> Tensor:
        """Let IoU-Net refine the corner boxes (B, 4, n, n) at the best peaks."""
        c, net = self.config, cast(IoUNet, self.box)
        index = best_nodes(scores, PEAKS)[:, None].expand(-1, 4, -1)
        flat = boxes.flatten(2)
        corners = flat.gather(2, index).transpose(1, 2)
        start = torch.cat((corners[..., :2], corners[..., 2:] - corners[..., :2]), -1)
        features = net.features(maps[-2], maps[-1])
        with torch.inference_mode(False):  # so that boxes can have a gradient
            fine, coarse = (x.clone() for x in features)
            modulation = template.modulation.clone()
        found = refine(lambda x: net(modulation, (fine, coarse), x), start, c.proposals,
                       c.refine_steps, c.refine_rate)
        found = torch.cat((found[..., :2], found[..., :2] + found[..., 2:]), -1)
        return flat.scatter(2, index, found.transpose(1, 2).to(flat.dtype)).reshape(boxes.shape)
