"""A Siamese tracker of RGB and thermal: two streams and three paths, or one stream and one."""
from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from rgbt_tracker_ros.models.network import (
    Batch,
    Network,
    NetworkConfig,
    Output,
    Taps,
    standardise,
)
from rgbt_tracker_ros.models.paper_head import Maps, TowerHead, corner_boxes
from rgbt_tracker_ros.models.paths import EXCHANGES, HEADS, Fused, SimpleFusion, ThreePaths
from rgbt_tracker_ros.models.resnet import ResNet, block, shape_of
from rgbt_tracker_ros.models.xcorr import Matcher


@dataclass(frozen=True)
class SiameseConfig(NetworkConfig):
    """Sizes of a Siamese; the defaults are the heavy teacher's of `cmd_rgbt`."""

    streams: str = 'two'            # an extractor for each modality; or shared: one for both
    fusion: str = 'paths'           # three paths; or conv, sum: one
    exchange: str = 'attention'     # between the paths; or gate
    backbone: str = 'resnet50'      # a name of resnet.SHAPES
    widths: tuple[int, ...] = ()    # instead of the shape's, per stage
    blocks: tuple[int, ...] = ()
    stages: int = 4
    width: int = 256                # of the maps that are fused and matched
    kernel: int = 5                 # of the correlation, in cells, odd
    head: tuple[int, ...] = (256, 128, 64, 32)

    def __post_init__(self) -> None:
        """:raises ValueError: an unknown choice, or sizes that do not fit together."""
        for field, known in (('streams', ('two', 'shared')), ('fusion', ('paths', 'conv', 'sum')),
                             ('exchange', tuple(EXCHANGES))):
            if getattr(self, field) not in known:
                raise ValueError(f'{field} {getattr(self, field)!r} is unknown; known are '
                                 f'{", ".join(known)}')
        # crops of any size: those of SiamFC, 127 and 255, are odd
        for name in ('stride', 'template_size', 'search_size'):
            if getattr(self, name) < 1:
                raise ValueError(f'{name} is {getattr(self, name)}; it must be 1 px or more')
        if (self.fusion, self.exchange) == ('paths', 'attention') and self.width % HEADS:
            raise ValueError(f'width is {self.width}; it must be a multiple of {HEADS}, the heads '
                             "of exchange 'attention', or use exchange 'gate'")


class SiameseTemplate(NamedTuple):
    """What is kept of a template: `kernel` (B, W, k, k) of the fused path, and the mean `weights`
    (B, 2) of the modalities in it.
    """

    kernel: Tensor
    weights: Tensor


class Siamese(Network):
    """Backbone, fusion, depth-wise correlation with the template, centre head.

    Parts, for patterns of parameter names: `backbone` (`backbone.rgb` and `backbone.thermal`
    for two streams, `backbone.both` for a shared one), `neck`, `fusion`, `matcher`, `head`.
    One extractor for both runs once, on both modalities as a batch of twice the size.

    `taps(batch, path_heads=False)`:

    - `stages.{k}.rgb`, `stages.{k}.thermal`: backbone maps of the search crop; k counts from 0,
      the finest (0 is `layer1`).
    - `fused` (B, W, S, S): the fused search map, Q_f or R; `paths.v`, `paths.t`, `paths.f`:
      those of every path (`paths.f` is `fused`; only this one with `fusion` conv or sum).
    - `weights` (B, 2, h, w) of the modalities.
    - `score` (B, 1, S, S) logits, `size` and `offset` (B, 2, S, S) of the fused path.
    - with `path_heads`: `paths.{v,t,f}.score`, `.size`, `.offset`: the same matcher and head on
      each path, which say how good a path is.
    """

    Config: ClassVar[type[NetworkConfig]] = SiameseConfig
    config: SiameseConfig

    def __init__(self, config: SiameseConfig | None = None) -> None:
        """:raises ValueError: an unknown choice, or sizes that do not fit together."""
        super().__init__()
        self.config = c = config or SiameseConfig()
        names = ('rgb', 'thermal') if c.streams == 'two' else ('both',)
        shape = shape_of(c.backbone, c.widths, c.blocks, c.stages)
        extractors = {n: ResNet(shape, c.stride) for n in names}
        cin = extractors[names[0]].stages[-1].channels
        self.backbone = nn.ModuleDict(extractors)
        self.neck = nn.ModuleDict({n: block(cin, c.width, 1) for n in names})
        self.fusion: ThreePaths | SimpleFusion = (
            ThreePaths(c.width, c.exchange) if c.fusion == 'paths'
            else SimpleFusion(c.width, c.fusion))
        self.matcher = Matcher(c.width, c.width, c.kernel, c.stride)
        self.head = TowerHead(c.width, c.head)

    def _extract(self, rgb: Tensor, thermal: Tensor, present: Tensor
                 ) -> tuple[list[tuple[Tensor, Tensor]], Fused]:
        """Return the maps of every stage as (rgb, thermal), and what fusion makes of the last."""
        images = [standardise(x, present[:, i]).expand(-1, 3, -1, -1)
                  for i, x in enumerate((rgb, thermal))]
        if 'both' in self.backbone:
            doubled = self.backbone['both'](torch.cat(images))
            last = self.neck['both'](doubled[-1]).chunk(2)
            stages = [tuple(x.chunk(2)) for x in doubled]
        else:
            by_stream = [self.backbone[n](x) for n, x in zip(('rgb', 'thermal'), images,
                                                             strict=True)]
            last = [self.neck[n](x[-1]) for n, x in zip(('rgb', 'thermal'), by_stream,
                                                        strict=True)]
            stages = list(zip(*by_stream, strict=True))
        # a missing modality says nothing, not what the network makes of grey
        mask = present[:, :, None, None].to(last[0].dtype)
        return stages, self.fusion(last[0] * mask[:, :1], last[1] * mask[:, 1:], present)

    def taps(self, batch: Batch, path_heads: bool = False, seed: int = 0) -> Taps:
        """Run template and search crop; see the class for the names. Nothing is drawn, so `seed`
        makes no difference.
        """
        del seed
        template = self._extract(batch['template_rgb'], batch['template_thermal'],
                                 batch['template_present'])[1].maps
        stages, fused = self._extract(batch['search_rgb'], batch['search_thermal'],
                                      batch['search_present'])
        taps = {'fused': fused.maps['f'], 'weights': fused.weights}
        for k, (a, b) in enumerate(stages):
            taps[f'stages.{k}.rgb'], taps[f'stages.{k}.thermal'] = a, b
        box = batch['template_box'].float()
        for path, x in fused.maps.items():
            taps[f'paths.{path}'] = x
            if path_heads or path == 'f':
                maps = self._match(self.matcher.encode(template[path], box), x)
                if path_heads:
                    taps.update({f'paths.{path}.{k}': v for k, v in maps._asdict().items()})
                if path == 'f':
                    taps.update(maps._asdict())
        return taps

    def _match(self, kernel: Tensor, x: Tensor) -> Maps:
        return self.head(self.matcher(kernel, x))

    def encode_template(self, rgb: Tensor, thermal: Tensor, present: Tensor,
                        box: Tensor) -> SiameseTemplate:
        """Make the kernel; see `Network.encode_template`."""
        fused = self._extract(rgb, thermal, present)[1]
        kernel = self.matcher.encode(fused.maps['f'], box.float())
        return SiameseTemplate(kernel, fused.weights.mean((2, 3)))

    def forward(self, template: SiameseTemplate, rgb: Tensor, thermal: Tensor,
                present: Tensor) -> Output:
        """Look for the template; see `Network.forward`."""
        fused = self._extract(rgb, thermal, present)[1]
        maps = self._match(template.kernel, fused.maps['f'])
        return Output(maps.score, corner_boxes(maps.size, maps.offset, self.config.search_size),
                      fused.weights)
