"""Bags as sequences: two image topics, paired by their stamps, with the boxes beside them."""
from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rgbt_tracker_ros.data.bag_pairs import Pairing, choose_topics, nearest, pair_stamps
from rgbt_tracker_ros.data.bag_reader import BAG_SUFFIXES, Bag, TopicIndex, is_bag
from rgbt_tracker_ros.data.image_messages import ImageError, to_rgb, to_thermal
from rgbt_tracker_ros.data.layouts.rows import read_tracks
from rgbt_tracker_ros.data.open_files import Kept
from rgbt_tracker_ros.data.sequence import Boxes, Dataset, LayoutError, Sequence, identity_of
from rgbt_tracker_ros.data.sources import natural_order
from rgbt_tracker_ros.types import Pair, PairError

_log = logging.getLogger(__name__)


class BagFrames:
    """The pairs of a bag, read and decoded when asked for; the bag is opened at the first, and
    stays open: see Kept.

    `path`: of the bag. `topics`: of RGB and thermal, '' for none; `indexes`: of their messages.
    """

    def __init__(self, path: Path, topics: tuple[str, str], indexes: tuple[
            TopicIndex | None, TopicIndex | None], pairing: Pairing) -> None:
        self.path, self.topics = path, topics
        self.pairing = pairing
        self.indexes = indexes
        self._kept: Kept[Bag] = Kept()

    def __len__(self) -> int:
        return len(self.pairing)

    @property
    def identity(self) -> str:
        """See `identity_of`, and how messages were paired. :raises LayoutError: a file is gone."""
        files = sorted(p for p in self.path.rglob('*') if p.is_file()) if self.path.is_dir() \
            else [self.path]
        p = self.pairing
        return identity_of(files) + repr((self.topics, p.rgb.tobytes(), p.thermal.tobytes()))

    def pair(self, index: int) -> Pair:
        """Read and decode pair `index`.

        :raises LayoutError: if a message can't be read, or is no usable image.
        """
        images: list[Any] = [None, None]
        for side, (numbers, convert) in enumerate(((self.pairing.rgb, to_rgb),
                                                   (self.pairing.thermal, to_thermal))):
            topic, topic_index, at = self.topics[side], self.indexes[side], int(numbers[index])
            if at < 0 or topic_index is None:
                continue
            try:
                with self._kept.using(self.open) as bag:
                    images[side] = convert(bag.read(topic, topic_index, at))
            except (ImageError, PairError) as error:
                raise LayoutError(self.path, f'{topic}, message {at + 1}: {error}',
                                  index + 1) from error
        try:
            return Pair(images[0], images[1], int(self.pairing.stamps[index]),
                        int(self.pairing.skews[index]))
        except PairError as error:
            raise LayoutError(self.path, f'{" and ".join(filter(None, self.topics))}: {error}',
                              index + 1) from error

    def open(self) -> Bag:
        """Open the bag once more, for whoever wants more of it than its pairs.

        :raises LayoutError: if that can't be done any more.
        """
        return Bag(self.path)

    def close(self) -> None:
        """Close the bag; the next pair opens it again."""
        self._kept.close()


def open_bags(name: str, root: Path, *, rgb_topic: str | None = None,
              thermal_topic: str | None = None, slop: float = 0.025, thermal_offset: float = 0.0,
              complete: bool = False, truth: str | Path | None = None,
              truth_topic: str | None = None, images: bool = True, strict: bool = True,
              ) -> Dataset:
    """Open a bag, or a folder of bags (also two levels deep): each is a sequence.

    :param rgb_topic: `thermal_topic` likewise: None finds it, '' leaves the modality out.
    :param slop: largest difference of the stamps of a pair, s. `thermal_offset`: s, added to
        thermal stamps. `complete`: leave out images without a partner.
    :param truth: CSV with the columns frame (of the pairs, from 0) or stamp, and x, y, w, h; by
        default groundtruth.csv in the bag's folder, or NAME.csv beside the bag, where there is
        one. Pairs without a row are without the target where rows have frames, and not annotated
        where they have stamps. `truth_topic`: takes the boxes from a topic of this package's
        Track or TargetRequest, or of vision_msgs' Detection2D or Detection2DArray.
    :param images: has no effect: stamps and images are in one file.
    :raises LayoutError: if there is no bag, or a number makes no sense.
    """
    if not 0 <= slop < 60:
        raise LayoutError(root, f'slop is {slop!r}; it must be 0 to 60 s')
    return BagDataset(name, root, (rgb_topic, thermal_topic), int(slop * 1e9),
                      int(thermal_offset * 1e9), complete, Path(truth) if truth else None,
                      truth_topic, strict)


class BagDataset(Dataset):
    """See `open_bags`."""

    def __init__(self, name: str, root: Path, topics: tuple[str | None, str | None], slop: int,
                 thermal_offset: int, complete: bool, truth: Path | None, truth_topic: str | None,
                 strict: bool) -> None:
        self._topics, self._slop, self._offset = topics, slop, thermal_offset
        self._complete, self._truth, self._truth_topic = complete, truth, truth_topic
        self._strict = strict
        self._bags = self._find(root)
        if not self._bags:
            raise LayoutError(root, f'no bag; looked for {", ".join(BAG_SUFFIXES)} and folders '
                              'with metadata.yaml')
        if truth and len(self._bags) > 1:
            raise LayoutError(truth, f'one file of boxes for {len(self._bags)} bags; open one bag')
        super().__init__(name, root, tuple(self._bags))

    def _find(self, root: Path) -> dict[str, Path]:
        return _bags(root)

    def _open(self, name: str) -> Sequence:
        path = self._bags[name]
        with Bag(path) as bag:
            topics = choose_topics(bag.topics, bag.counts, *self._topics, path)
            indexes = bag.index(*filter(None, topics))
            rgb, thermal = (indexes.get(t) for t in topics)
            none = np.empty(0, np.int64)
            pairing = pair_stamps(none if rgb is None else rgb.stamps,
                                  none if thermal is None else thermal.stamps + self._offset,
                                  self._slop, self._complete)
            if not len(pairing):
                raise LayoutError(path, f'no pair: {topics[0]} and {topics[1]} have no stamps '
                                  f'within {self._slop / 1e9:g} s of each other')
            boxes, annotated = self._boxes(bag, pairing)
        return Sequence(name, BagFrames(path, topics, (rgb, thermal), pairing), boxes, annotated,
                        fps=pairing.rate)

    def _boxes(self, bag: Bag, pairing: Pairing) -> tuple[Boxes, NDArray[np.int64]]:
        path = bag.path
        if self._truth_topic is not None:
            if self._truth_topic not in bag.topics:
                raise LayoutError(path, f'no topic {self._truth_topic} for the boxes; there are '
                                  + ', '.join(sorted(bag.topics)))
            found = [_stamped_box(m, bag.path, row) for row, m in
                     enumerate(bag.messages(self._truth_topic), 1)]
            boxes = np.array([f[1] for f in found], np.float64).reshape(-1, 4)
            return self._at_stamps(boxes, np.array([f[0] for f in found], np.int64),
                                   np.arange(1, len(found) + 1), path, pairing)
        file = self._truth or next((f for f in (path / 'groundtruth.csv', path.with_suffix('.csv'))
                                    if f.is_file()), None)
        if file is None:
            return np.empty((0, 4)), np.empty(0, np.int64)
        track = read_tracks(file, stamps=True)[0]
        if track.key == 'stamp':
            return self._at_stamps(track.boxes, track.frames, track.rows, file, pairing)
        outside = np.flatnonzero(track.frames >= len(pairing))
        if len(outside):
            raise LayoutError(file, f'a box for pair {track.frames[outside[0]]} (counted from 0), '
                              f'but {path} has {len(pairing)}', int(track.rows[outside[0]]))
        return track.filled()

    def _at_stamps(self, boxes: Boxes, stamps: NDArray[np.int64], rows: NDArray[np.int64],
                   file: Path, pairing: Pairing) -> tuple[Boxes, NDArray[np.int64]]:
        at = nearest(stamps, pairing.stamps)
        far = np.abs(pairing.stamps[at] - stamps) > self._slop
        if far.any() and self._strict:
            first = int(np.flatnonzero(far)[0])
            raise LayoutError(file, f'a box at {stamps[first]} ns, but no pair within '
                              f'{self._slop / 1e9:g} s of that', int(rows[first]))
        if far.any():
            _log.warning('%s: %d boxes without a pair are left out', file, far.sum())
            boxes, at, rows = boxes[~far], at[~far], rows[~far]
        order = np.argsort(at, kind='stable')
        twice = np.flatnonzero(np.diff(at[order]) == 0)
        if len(twice):
            raise LayoutError(file, 'a second box for the same pair',
                              int(rows[order][twice[0] + 1]))
        return boxes[order], at[order]


def _bags(root: Path) -> dict[str, Path]:
    if is_bag(root):
        return {root.stem if root.is_file() else root.resolve().name: root}
    if not root.is_dir():
        return {}
    found: dict[str, Path] = {}
    for path in sorted(root.iterdir(), key=natural_order):
        if is_bag(path):
            found[path.stem if path.is_file() else path.name] = path
        elif path.is_dir():
            found.update({f'{path.name}/{p.stem if p.is_file() else p.name}': p
                          for p in sorted(path.iterdir(), key=natural_order) if is_bag(p)})
    return found


def _stamped_box(message: Any, path: Path, row: int) -> tuple[int, tuple[float, ...]]:
    """Return (stamp in ns, x, y, w, h) of a message that holds a box; zeros without one."""
    try:
        stamp = message.header.stamp
        nanoseconds = stamp.nanosec if hasattr(stamp, 'nanosec') else stamp.nsec
        time = int(stamp.sec) * 10**9 + int(nanoseconds)
        if hasattr(message, 'detections'):
            if not len(message.detections):
                return time, (0.0, 0.0, 0.0, 0.0)
            message = message.detections[0]
        if hasattr(message, 'bbox'):
            center = getattr(message.bbox.center, 'position', message.bbox.center)
            w, h = float(message.bbox.size_x), float(message.bbox.size_y)
            return time, (center.x - w / 2, center.y - h / 2, w, h)
        box = message.box
        return time, (float(box.x), float(box.y), float(box.w), float(box.h))
    except AttributeError as error:
        raise LayoutError(path, f'a message of type {type(message).__name__} holds no box that is '
                          f'known here: {error}', row) from error
