"""Recordings without labels as training pairs, and made-up scenes between them against forgetting.

Three kinds of samples, by their shares:

- `tracks`: template and search crop of two moments of a pseudo track, which the tracker itself
  followed and found to hold (`pseudo_tracks`);
- `instant`: both crops of one region that a generator chose (CMD-TIR, Sun et al., ACM MM 2021),
  from a pair and the next one: where it is in the search crop is known whatever it shows. Of one
  pair both would have the same noise, by which anything can be found;
- `replay`: made-up scenes, as the shipped student was trained with; a share of them `dressed` as
  the recorded cameras would show them.
"""
from __future__ import annotations

from collections.abc import Sequence as Numbers
from dataclasses import fields
import sys
from typing import Any, NamedTuple

import numpy as np
import torch

from rgbt_tracker_ros.data.crops import collate, to_8_bits
from rgbt_tracker_ros.data.dressing import dress
from rgbt_tracker_ros.data.jitter import CropView
from rgbt_tracker_ros.data.options import OptionError
from rgbt_tracker_ros.data.pair_sources import Batch, CropSizes, PairSource
from rgbt_tracker_ros.data.pseudo_boxes import center_boxes, random_boxes
from rgbt_tracker_ros.data.pseudo_tracks import PseudoTrack, read_tracks
from rgbt_tracker_ros.data.random import Draws
from rgbt_tracker_ros.data.recorded_options import GENERATORS, RecordedOptions, read_pattern
from rgbt_tracker_ros.data.regions import regions_of
from rgbt_tracker_ros.data.samples import SampleConfig, Samples
from rgbt_tracker_ros.data.sequence import Sequence
from rgbt_tracker_ros.data.varied_scenes import VariedScenes
from rgbt_tracker_ros.data.video_pairs import open_sequences
from rgbt_tracker_ros.tracking.geometry import Crop, Matrix, thermal_to_rgb
from rgbt_tracker_ros.types import Box, Pair

_ALONE = 0.1  # chance of a crop of both modalities to lose one


class Sample(NamedTuple):
    """A template and a search view, whether the target is in the search view, and what batches
    say of it: see RecordedPairs.
    """

    views: tuple[CropView, CropView]
    visible: bool
    recorded: bool
    made_up: bool
    boxed: bool
    held: bool


class RecordedPairs(PairSource):
    """See the module, and RecordedOptions. Batches have keys (B,) float32 that others lack, 1 or
    0: `recorded`, of the recordings; `made_up`, as it was drawn, not dressed; `boxed`, the edges
    of the box are those of the target, which is not known of pseudo boxes; `held`, not dressed.
    """

    Options = RecordedOptions
    kind = 'recorded'
    options: RecordedOptions

    def __init__(self, seed: int, crops: CropSizes, opened: list[Sequence] | None = None,
                 **options: Any) -> None:
        """Open the recordings, or take sequences that were `opened` already.

        :raises OptionError: if an option is wrong, there is no pair, or a track goes beyond its
            sequence.
        :raises LayoutError: if the data on the disk is not as it should be.
        """
        super().__init__(seed, crops, **options)
        o = self.options
        if opened is None:
            opened = open_sequences(self.kind, o.layout, o.root, o.layout_options, o.sequences)
        self.sequences = [s for s in opened if len(part_of(s, o.part))]
        if not self.sequences:
            raise OptionError(f'recorded: there is no pair in {o.root or "any sequence"}')
        self._spans = [part_of(s, o.part) for s in self.sequences]
        self._starts = np.concatenate(([0], np.cumsum([len(span) for span in self._spans])))
        self._tracks = self._read_tracks()
        shares = np.array([o.tracked if any(self._tracks) else 0.0, o.instant, o.replay])
        if not shares.sum():
            raise OptionError('recorded: tracked, instant and replay are all 0, or only tracked '
                              'is not and there are no tracks')
        self._shares = shares / shares.sum()
        sizes = {f.name: getattr(crops, f.name) for f in fields(crops)}
        self._images = Samples([], sys.maxsize, seed, SampleConfig(**sizes))
        self._scenes = VariedScenes(seed, crops)
        # shown as the recorded cameras would, thermal lies off as theirs does and no further
        self._dressed = VariedScenes(seed, crops, misaligned=0.0) if o.offset else self._scenes
        self._pattern = read_pattern(o.pattern) if o.pattern else None

    def _read_tracks(self) -> list[list[PseudoTrack]]:
        """Return the tracks of each sequence, cut to the part that is used."""
        file, places = self.options.tracks, {s.name: i for i, s in enumerate(self.sequences)}
        found: list[list[PseudoTrack]] = [[] for _ in self.sequences]
        for track in read_tracks(file) if file else ():
            place = places.get(track.sequence)
            if place is None:   # of recordings that are kept aside
                continue
            count = len(self.sequences[place])
            if track.frames[-1] >= count:
                raise OptionError(f'recorded: {file} has pair {track.frames[-1]} of '
                                  f'{track.sequence}, which has {count}')
            if len(inside := track.within(self._spans[place])):
                found[place].append(inside)
        return found

    def batch(self, indices: Numbers[int], device: str | torch.device = 'cpu') -> Batch:
        """Return the samples of these numbers (0 or more) as one batch on `device`.

        :raises LayoutError: if an image can't be decoded.
        """
        drawn = [self.sample(int(i)) for i in indices]
        out = collate(indices, [d.views for d in drawn], self.crops, device)
        for key in ('visible', 'recorded', 'made_up', 'boxed', 'held'):
            out[key] = torch.tensor([float(getattr(d, key)) for d in drawn], device=device)
        return out

    def sample(self, index: int) -> Sample:
        """Return sample `index`."""
        rng = np.random.default_rng((self.seed, index))
        kind = int(rng.choice(3, p=self._shares))
        if kind == 2:
            return self._made_up(rng, index)
        place, frame = self._moment(rng, index)
        at = place if kind or self._tracks[place] else self._another(rng, index, place)
        if kind == 0 and at is not None:
            boxed = self.options.true_boxes
            views, visible = self._tracked(rng, index, at)
        else:
            boxed = False
            views, visible = self._instant(rng, index, place, frame), True
        if rng.random() < 0.5:
            for view in views:
                view.flip()
        for view in views:
            _lose(rng, view)
        return Sample(views, visible, True, False, boxed, True)

    def _moment(self, rng: np.random.Generator, index: int) -> tuple[int, int]:
        """Return a sequence's place and a pair of it, of the part that sample `index` is of."""
        slot = index % self.options.slots
        at = int(rng.integers(*self._part(slot, slot + 1)))
        place = self._place(at)
        return place, at - int(self._starts[place]) + self._spans[place].start

    def _part(self, first: int, stop: int) -> tuple[int, int]:
        """Return the pairs of slots `first` to `stop`, counted over all sequences; not none."""
        total, slots = int(self._starts[-1]), self.options.slots
        low = first * total // slots
        return low, max(stop * total // slots, low + 1)

    def _place(self, at: int) -> int:
        return int(np.searchsorted(self._starts, at, side='right')) - 1

    def _another(self, rng: np.random.Generator, index: int, place: int) -> int | None:
        """Return another sequence with tracks, None where there is none: of the sample's own
        half of a batch, quarter, and so on, as far as there is one: of those that the process
        reads that draws it.
        """
        slots, among = self.options.slots, 1
        while True:
            first = index % slots // among * among
            low, stop = self._part(first, min(first + among, slots))
            others = [i for i in range(self._place(low), self._place(stop - 1) + 1)
                      if i != place and self._tracks[i]]
            if others:
                return int(rng.choice(others))
            if among >= slots:
                return None
            among *= 2

    def _made_up(self, rng: np.random.Generator, index: int) -> Sample:
        dressed = rng.random() < self.options.dressed
        scenes = self._dressed if dressed else self._scenes
        drawn = self._images[index] if rng.random() < 0.5 else \
            {k: v[0] for k, v in scenes.batch([index]).items()}
        template, search = (
            CropView(np.ascontiguousarray(drawn[f'{n}_rgb'].numpy().transpose(1, 2, 0)),
                     drawn[f'{n}_thermal'][0].numpy(),
                     Box(*(float(v) for v in drawn[f'{n}_box'])),
                     (float(drawn[f'{n}_present'][0]), float(drawn[f'{n}_present'][1])))
            for n in ('template', 'search'))
        if dressed:
            place, frame = self._moment(rng, index)
            pair = self.sequences[place].pair(frame)
            box = self._somewhere(rng, index, place, frame, pair)
            # what lies outside the picture is black and of no camera
            crop = _inside(self._search_crop(rng, box), *pair.size)
            x, y = self.options.offset or (0.0, 0.0)
            dress(rng, (template, search), self._view(pair, box, crop),
                  (x * crop.scale, y * crop.scale), self._pattern_in(crop, pair))
        return Sample((template, search), bool(drawn['visible']), False, not dressed, True,
                      not dressed)

    def _somewhere(self, rng: np.random.Generator, index: int, place: int, frame: int,
                   pair: Pair) -> Box:
        """Return a box in a pair: half of the time of what is tracked or stands out there, which
        tells its contrast, otherwise anywhere and as large as what is tracked in its sequence.
        """
        tracks = self._tracks[place]
        if rng.random() < 0.5:
            seen = [t.box(int(row)) for t in tracks for row in np.flatnonzero(t.frames == frame)] \
                or regions_of(pair, self.options.homography)
            if seen:
                return seen[int(rng.integers(len(seen)))]
        drawn = random_boxes(Draws(self.seed, torch.tensor([index])),
                             torch.tensor([pair.size], dtype=torch.float32))[0, 0]
        x, y, w, h = (float(v) for v in drawn)
        if tracks:
            track = tracks[int(rng.integers(len(tracks)))]
            w, h = (float(v) for v in track.boxes[int(rng.integers(len(track))), 2:])
        return Box(x, y, w, h)

    def _tracked(self, rng: np.random.Generator, index: int,
                 place: int) -> tuple[tuple[CropView, CropView], bool]:
        tracks = self._tracks[place]
        lengths = np.sqrt([len(t.frames) for t in tracks])
        track = tracks[rng.choice(len(tracks), p=lengths / lengths.sum())]
        a = int(rng.integers(len(track.frames)))
        near = np.flatnonzero(np.abs(track.frames - track.frames[a]) <= self.options.max_gap)
        b = int(rng.choice(near))
        sequence = self.sequences[place]
        search = self._view(sequence.pair(int(track.frames[b])), track.box(b),
                            self._search_crop(rng, track.box(b)))
        # of another recording: of this one it could be the same
        if rng.random() < self.options.absent and (
                other := self._another(rng, index, place)) is not None:
            track = self._tracks[other][rng.integers(len(self._tracks[other]))]
            sequence, a = self.sequences[other], int(rng.integers(len(track.frames)))
            template = self._view(sequence.pair(int(track.frames[a])), track.box(a),
                                  self._template_crop(rng, track.box(a)))
            return (template, search), False
        template = self._view(sequence.pair(int(track.frames[a])), track.box(a),
                              self._template_crop(rng, track.box(a)))
        return (template, search), True

    def _instant(self, rng: np.random.Generator, index: int, place: int,
                 frame: int) -> tuple[CropView, CropView]:
        sequence, span = self.sequences[place], self._spans[place]
        pair = sequence.pair(frame)
        boxes = self.regions(pair, index)
        box = boxes[int(rng.integers(len(boxes)))]
        beside = [i for i in (frame - 1, frame + 1) if i in span]
        other = sequence.pair(beside[int(rng.integers(len(beside)))]) if beside else pair
        if other.size != pair.size:  # the camera was changed
            other = pair
        return (self._view(pair, box, self._template_crop(rng, box)),
                self._view(other, box, self._search_crop(rng, box)))

    def regions(self, pair: Pair, index: int) -> list[Box]:
        """Return the regions that the generator chooses in a pair, in px of the reference image;
        `index` decides what is drawn.
        """
        kind = self.options.generator
        if kind == 'all':
            kind = GENERATORS[int(np.random.default_rng((self.seed, index, 1)).choice(
                3, p=(0.6, 0.3, 0.1)))]
        if kind == 'regions' and (found := regions_of(pair, self.options.homography)):
            return found
        size = torch.tensor([pair.size], dtype=torch.float32)
        boxes = center_boxes(size) if kind == 'center' else \
            random_boxes(Draws(self.seed, torch.tensor([index])), size)
        return [Box(*map(float, b)) for b in boxes[0]]

    def _template_crop(self, rng: np.random.Generator, box: Box) -> Crop:
        c, side = self.crops, np.sqrt(box.area)
        x, y = np.array(box.center) + rng.normal(0, 0.04, 2) * side
        return Crop.around(_resized(box, rng.normal(0, 0.05, 2)), c.template_factor,
                           c.template_size, (float(x), float(y)))

    def _search_crop(self, rng: np.random.Generator, box: Box) -> Crop:
        c = self.crops
        reach = rng.normal(0, 0.3, 2) if rng.random() < 0.6 else rng.uniform(-1.5, 1.5, 2)
        stretch = np.clip(rng.normal(0, 0.2), -0.5, 0.5) + rng.normal(0, 0.08, 2)
        guess = _resized(box, stretch)
        x, y = np.array(box.center) + reach * np.sqrt(guess.area)
        return Crop.around(guess, c.search_factor, c.search_size, (float(x), float(y)))

    def _view(self, pair: Pair, box: Box, crop: Crop) -> CropView:
        blank = np.zeros((crop.size, crop.size), np.uint8)
        rgb = np.repeat(blank[..., None], 3, 2) if pair.rgb is None else crop.cut(pair.rgb)
        thermal = blank
        if pair.thermal is not None:
            levels = thermal_levels(pair.thermal, self.options.thermal_range)
            thermal = crop.cut(levels, self._to_rgb(levels, pair))
        return CropView(rgb, thermal, crop.to_crop(box),
                        (float(pair.rgb is not None), float(pair.thermal is not None)))

    def _to_rgb(self, thermal: np.ndarray[Any, Any], pair: Pair) -> Matrix | None:
        size = (thermal.shape[1], thermal.shape[0])
        there = pair.rgb is not None and (bool(self.options.homography) or size != pair.size)
        return thermal_to_rgb(self.options.homography, size, pair.size) if there else None

    def _pattern_in(self, crop: Crop, pair: Pair) -> np.ndarray[Any, np.dtype[np.float32]] | None:
        """Return the thermal sensor's fixed pattern in a crop; None where it is not known, or is
        that of another sensor.
        """
        if self._pattern is None or pair.thermal is None \
                or pair.thermal.shape[:2] != self._pattern.shape:
            return None
        return crop.cut(self._pattern, self._to_rgb(self._pattern, pair))


def thermal_levels(thermal: np.ndarray[Any, Any],
                   fixed: Numbers[float] = ()) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Return a thermal image in 8 bits, over the `fixed` range where one is given (2 numbers)."""
    if not fixed or thermal.ndim == 3:
        return to_8_bits(thermal)
    low, high = fixed
    scaled = (thermal.astype(np.float32) - low) * (255 / (high - low)) + 0.5
    return np.clip(np.nan_to_num(scaled), 0, 255).astype(np.uint8)


def part_of(sequence: Sequence, part: tuple[float, ...]) -> range:
    """Return the pairs of a sequence that lie in a part of it; parts that touch share none."""
    first, stop = (round(share * len(sequence)) for share in part)
    return range(first, stop)


def _inside(crop: Crop, width: int, height: int) -> Crop:
    """Return a crop shrunk and moved until all of it lies in the picture."""
    side = min(crop.side, width, height)
    x, y = (min(max(start + (crop.side - side) / 2, 0.0), length - side)
            for start, length in ((crop.x0, width), (crop.y0, height)))
    return Crop(x, y, side, crop.size)


def _resized(box: Box, stretch: np.ndarray[Any, np.dtype[np.float64]]) -> Box:
    """Return a box whose sides are multiplied by e^stretch."""
    w, h = np.array((box.w, box.h)) * np.exp(stretch)
    return Box.from_center(*box.center, float(w), float(h))


def _lose(rng: np.random.Generator, view: CropView) -> None:
    """Take a modality away now and then, so that each stays of use alone."""
    lost = rng.random() < _ALONE, rng.random() < 0.5
    if all(view.present) and lost[0]:
        if lost[1]:
            view.rgb, view.present = np.zeros_like(view.rgb), (0.0, 1.0)
        else:
            view.thermal, view.present = np.zeros_like(view.thermal), (1.0, 0.0)
