"""Files that stay open from pair to pair: how many, in which process, and with workers."""
from __future__ import annotations

from contextlib import suppress
import copy
import gc
import os
from pathlib import Path
import pickle
import threading

from bag_kit import IMAGE, Factory, write_bag
from layouts_kit import number, rgb_image, thermal_image, write_video
import pytest
import torch

from rgbt_tracker_ros.data.bag_reader import Bag
from rgbt_tracker_ros.data.layouts import open_layout
from rgbt_tracker_ros.data.open_files import MOST, Kept
from rgbt_tracker_ros.data.pair_sources import CropSizes, build_source
from rgbt_tracker_ros.data.shipped import SMOKE


class Thing:
    """Something that is open; `log` has the names of all that were closed."""

    def __init__(self, name: object, log: list[object]) -> None:
        self.name, self.log = name, log

    def close(self) -> None:
        self.log.append(self.name)


def use(kept: Kept[Thing], name: object, log: list[object]) -> Thing:
    with kept.using(lambda: Thing(name, log)) as thing:
        return thing


def test_the_one_that_was_not_used_for_longest_is_closed() -> None:
    log: list[object] = []
    kept = [Kept[Thing]() for _ in range(MOST + 2)]
    for i in range(MOST):
        use(kept[i], i, log)
    first = use(kept[0], 'again', log)
    assert first.name == 0 and not log
    for i in (MOST, MOST + 1):
        use(kept[i], i, log)
    assert log == [1, 2] and use(kept[0], 'again', log) is first
    kept[0].close()
    assert log == [1, 2, 0] and use(kept[0], 'again', log).name == 'again'


def test_what_another_thread_is_at_stays_open() -> None:
    log: list[object] = []
    busy, at_it, done = Kept[Thing](), threading.Event(), threading.Event()

    def work() -> None:
        with busy.using(lambda: Thing('busy', log)):
            at_it.set()
            done.wait(10)

    thread = threading.Thread(target=work)
    thread.start()
    assert at_it.wait(10)
    others = [Kept[Thing]() for _ in range(MOST + 1)]
    for i, one in enumerate(others):
        use(one, i, log)
    assert 'busy' not in log
    done.set()
    thread.join()
    use(Kept(), 'one more', log)
    assert 'busy' in log


@pytest.mark.parametrize('copied', [copy.deepcopy, lambda k: pickle.loads(pickle.dumps(k))])
def test_copies_are_closed(copied) -> None:
    log: list[object] = []
    kept = Kept[Thing]()
    thing = use(kept, 'first', log)
    assert use(copied(kept), 'second', log).name == 'second' and use(kept, 'x', log) is thing


def test_a_forked_process_opens_its_own_and_lets_the_parents_be() -> None:
    log: list[object] = []
    kept, held = Kept[Thing](), Kept[Thing]()
    use(kept, 'parent', log)
    with held.using(lambda: Thing('held', log)):        # as by a thread that is not forked
        child = os.fork()
        if not child:
            ok = False
            with suppress(BaseException):
                ok = use(kept, 'child', log).name == use(held, 'child', log).name == 'child'
                gc.collect()
            os._exit(0 if ok and not log else 1)
        assert os.waitpid(child, 0)[1] == 0
    assert use(kept, 'again', log).name == 'parent'


@pytest.mark.parametrize('workers', [1, 2])
def test_videos_can_be_read_by_workers_once_they_were_read_here(workers: int) -> None:
    """A decoder that was forked waits for ever."""
    source = build_source('videos', 0, CropSizes(32, 64), layout='videos',
                          root=str(SMOKE.rgb.parent))
    source.batch([0, 1])
    lists = [[2, 3], [4, 5]]
    made = list(source.iterate(lists, workers=workers))
    for numbers, batch in zip(lists, made, strict=True):
        again = source.batch(numbers)
        assert all(torch.equal(batch[k], again[k]) for k in again)


def test_a_bag_is_opened_anew_by_a_forked_process(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both would move one place in its file."""
    make = Factory('mcap')
    path = write_bag(tmp_path / 'walk', 'mcap', make, [
        ('/rgb', IMAGE, i, make.image(rgb_image(i), 'rgb8', i + 1)) for i in range(3)])
    sequence = open_layout('bag', path)['walk']
    sequence.pair(0)
    opened: list[Path] = []
    monkeypatch.setattr('rgbt_tracker_ros.data.recordings.Bag',
                        lambda path: (opened.append(path), Bag(path))[1])
    child = os.fork()
    if not child:
        status = 1
        with suppress(BaseException):
            status = int(number(sequence.pair(2).rgb) != 2 or opened != [path])
        os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    assert number(sequence.pair(1).rgb) == 1 and not opened


def test_so_many_videos_stay_open_and_no_more(tmp_path: Path) -> None:
    videos = [write_video(tmp_path / 'thermal' / f'{k}.avi', [thermal_image(i) for i in range(3)])
              for k in range(MOST + 3)]
    dataset = open_layout('videos', tmp_path)
    sequences = list(dataset)
    for sequence in sequences:
        assert number(sequence.pair(0).thermal, True) == 0
    files = [os.path.realpath(f'/proc/self/fd/{fd}') for fd in os.listdir('/proc/self/fd')]
    assert sum(str(v) in files for v in videos) == MOST
    for sequence in sequences:
        assert [number(sequence.pair(i).thermal, True) for i in (1, 2, 0)] == [1, 2, 0]
