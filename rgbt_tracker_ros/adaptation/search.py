"""The search for pseudo tracks through all recordings, in parts: each is kept once it is done.

Processes take parts in turn, so that they end at about the same time: one that waits for others
too long is ended by its process group.
"""
from __future__ import annotations

from collections.abc import Sequence as List
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from time import perf_counter

from tqdm import tqdm

from rgbt_tracker_ros.adaptation.mining import (
    Fresh,
    MiningSettings,
    mine,
    recorded_tracks,
    starts,
)
from rgbt_tracker_ros.data.pseudo_tracks import PseudoTrack, write_tracks
from rgbt_tracker_ros.data.sequence import Sequence
from rgbt_tracker_ros.distillation import resume

PART = 10        # things to do of a part: some ten seconds on one core
_TIMED = 5       # starts by which the rest is estimated
_WORTH = 60.0    # s: a shorter search is not announced


@dataclass(frozen=True)
class Search:
    """What is searched, and how: `spans` of each sequence are those that tracks may lie in, and
    none lies in two.
    """

    sequences: List[Sequence]
    spans: List[List[range]]
    settings: MiningSettings

    @cached_property
    def _all(self) -> list[tuple[int, range]]:
        return [(place, through) for place, parts in enumerate(self.spans) for span in parts
                for through in starts(span, self.settings)]

    @property
    def capped(self) -> bool:
        """Whether there are more starts than may be."""
        return len(self._all) > self.settings.most

    @cached_property
    def starts(self) -> list[tuple[int, range]]:
        """The pairs that regions are followed through, and the places of their sequences."""
        found, most = self._all, self.settings.most
        return [found[(2 * k + 1) * len(found) // (2 * most)] for k in range(most)] \
            if self.capped else found

    @cached_property
    def _things(self) -> list[tuple[int, range | None]]:
        """What there is to do: of each sequence the tracks that were recorded, then its starts."""
        recorded = [(place, -1, None) for place in range(len(self.sequences))]
        found = [(place, through.start, through) for place, through in self.starts]
        return [(place, through) for place, _, through in sorted(
            [*recorded, *found], key=lambda thing: thing[:2])]

    def files(self, folder: Path) -> list[Path]:
        """Return the files of all parts, in order."""
        count = -(-len(self._things) // PART)
        # a folder of a version that parted it otherwise must not be taken for ours
        return [folder / f'{number:04}_of_{count:04}.csv' for number in range(count)]

    def run(self, fresh: Fresh, folder: Path, rank: int = 0, world: int = 1) -> None:
        """Write the parts that are not there, those of process `rank` of `world`; the first one
        shows a bar, and says how long it will take as soon as that can be told.

        :raises LayoutError: if an image can't be decoded. :raises OSError: if a part can't be
            written.
        """
        ours = [*enumerate(self.files(folder))][rank::world]
        todo = [(self._things[number * PART:(number + 1) * PART], file)
                for number, file in ours if not file.is_file()]
        count = sum(through is not None for part, _ in todo for _, through in part)
        before, said = -1, list[PseudoTrack]()
        with tqdm(total=count, desc='looking for tracks', unit='start',
                  disable=True if rank else None) as bar:
            began, done = perf_counter(), 0
            for part, file in todo:
                found: list[PseudoTrack] = []
                for place, through in part:
                    sequence = self.sequences[place]
                    if place != before:
                        before = place
                        said = recorded_tracks(sequence, self.spans[place], self.settings)
                    if through is None:
                        found += said
                        continue
                    found += mine(fresh, sequence, through, self.settings, said)
                    bar.update()
                    done += 1
                    if done == _TIMED and not rank:
                        _announce(count, (perf_counter() - began) / done)
                resume.replace(file, partial(write_tracks, tracks=found))


def _announce(count: int, each: float) -> None:
    if count * each >= _WORTH:
        tqdm.write(f'looking for tracks from {count} starts, about {count * each / 60:.0f} '
                   'minutes; fewer by --set mining.most=N')
