"""A segment as a bag: the same questions, answered from the index of its MCAP file."""
from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from rosbags.typesys import Stores, get_typestore

from rgbt_tracker_ros.data.bag_reader import Bag, TopicIndex
from rgbt_tracker_ros.data.segments_mcap import McapFile


class SegmentBag(Bag):
    """An MCAP file, whole or cut off; a context manager. `file`: its index."""

    def __init__(self, path: Path, file: McapFile) -> None:
        self.path, self.file = path, file
        self.ros1 = False
        self.topics, self.counts = file.kinds, file.counts
        self._store = get_typestore(Stores.ROS2_JAZZY)

    def index(self, *topics: str) -> dict[str, TopicIndex]:
        """Return the messages of topics: see Bag."""
        found = {}
        for topic in topics:
            rows = self.file.messages(topic)
            found[topic] = TopicIndex(rows.stamps, rows.logged, np.arange(len(rows)))
        return found

    def close(self) -> None:
        """Do as Bag does."""
        # there is nothing to close: the file is opened for every message

    def _raw(self, topics: tuple[str, ...], start: int | None = None, stop: int | None = None,
             ) -> Iterator[tuple[str, int, bytes]]:
        for topic in topics:
            rows = self.file.messages(topic)
            for at in range(len(rows)):
                logged = int(rows.logged[at])
                if (start is None or logged >= start) and (stop is None or logged < stop):
                    yield topic, logged, self.file.read(rows, at)

    def _find(self, topic: str, index: TopicIndex, at: int) -> bytes:
        return self.file.read(self.file.messages(topic), int(index.nth[at]))

    def _definition(self, topic: str) -> str:
        return next(c.definition for c in self.file.channels.values() if c.topic == topic)
