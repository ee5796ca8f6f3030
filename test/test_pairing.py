"""Pairing: nearest, one to one, in order, at once; and what becomes of everything else."""
from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
import random

from hypothesis import given, settings
from hypothesis import strategies as st
import pytest

from rgbt_tracker_ros.nodes.health import Health, StreamHealth
from rgbt_tracker_ros.nodes.pairing import RGB, THERMAL, Match, PairingSettings, PairMatcher
from rgbt_tracker_ros.nodes.timing import StreamTiming

MS = 1_000_000
PERIOD = 33 * MS
SETTINGS = PairingSettings(slop=20 * MS, deadline=40 * MS, queue=8)
SHIPPED = PairingSettings()
Arrival = tuple[str, int, int]      # stream, stamp, time of arrival (ns)


def feed(matcher: PairMatcher[int], arrivals: Iterable[Arrival], end: int = 0
         ) -> list[tuple[int, Match[int]]]:
    """Feed arrivals in order, polling whenever it is due, and return (time, match)."""
    out: list[tuple[int, Match[int]]] = []
    for stream, stamp, now in [*arrivals, ('', 0, end)]:
        while matcher.wake_at is not None and matcher.wake_at < now:
            due = matcher.wake_at
            out += [(due, m) for m in matcher.poll(due)]
            assert matcher.wake_at is None or matcher.wake_at > due, 'woken for nothing'
        if stream:
            out += [(now, m) for m in matcher.add(stream, stamp, stamp, now)]
    return out


def arrivals(rgb: Iterable[int], thermal: Iterable[int], delay_rgb: int = 5 * MS,
             delay_thermal: int = 5 * MS) -> list[Arrival]:
    return sorted([(RGB, s, s + delay_rgb) for s in rgb]
                  + [(THERMAL, s, s + delay_thermal) for s in thermal], key=lambda a: a[2])


def nearest_first(rgb: list[int], thermal: list[int], slop: int) -> set[tuple[int, int]]:
    """Match by brute force: the nearest two of all, then the nearest two of the rest, ..."""
    left_rgb, left_thermal, pairs = set(rgb), set(thermal), set()
    for _, r, t in sorted((abs(r - t), r, t) for r in rgb for t in thermal if abs(r - t) <= slop):
        if r in left_rgb and t in left_thermal:
            left_rgb.remove(r)
            left_thermal.remove(t)
            pairs.add((r, t))
    return pairs


def late(numbers: Iterable[int], by: int, count: int = 60) -> list[int]:
    """Return stamps of a driver that publishes when it gets to it: late ones, then in a burst."""
    stamps, now = [], 0
    for i in range(count):
        now = max(now + MS, i * PERIOD + (by if i in numbers else 0))
        stamps.append(now)
    return stamps


def hiccups(rate_rgb: int, rate_thermal: int, phase: int, seconds: int = 20) -> list[Arrival]:
    """Two drivers on one host that stands still now and then: both stamp late, then in a burst."""
    rng = random.Random(5)
    still = sorted((at, at + rng.randint(15, 60) * MS)
                   for at in (rng.randint(0, seconds * 1000) * MS for _ in range(3 * seconds)))
    came: list[Arrival] = []
    for stream, rate, offset, delay in ((RGB, rate_rgb, 0, 2), (THERMAL, rate_thermal, phase, 3)):
        stamp = now = 0
        for i in range(seconds * rate):
            due = i * 1000 * MS // rate + offset
            for begin, end in still:
                due = end if begin <= due < end else due
            stamp = max(stamp + MS // 5, due)
            now = max(now + 1, stamp + delay * MS + rng.randint(0, 2 * MS))
            came.append((stream, stamp, now))
    return sorted(came, key=lambda a: a[2])


def unpaired(came: list[Arrival], matches: list[tuple[int, Match[int]]],
             settings: PairingSettings = SHIPPED) -> int:
    """Count RGB images that left alone although a partner came within the deadline."""
    arrived = {(stream, stamp): now for stream, stamp, now in came}
    alone = {m.rgb for _, m in matches if m.thermal is None}
    rgb, thermal = ([t for s, t, _ in came if s == stream] for stream in (RGB, THERMAL))
    return sum(r in alone and arrived[THERMAL, t] - arrived[RGB, r] <= settings.deadline
               for r, t in nearest_first(rgb, thermal, settings.slop))


def held(came: list[Arrival], matches: list[tuple[int, Match[int]]]) -> list[int]:
    """Return how long (ns) images that left alone had waited, for those that did."""
    arrived = {stamp: now for stream, stamp, now in came if stream == RGB}
    return [now - arrived[m.rgb] for now, m in matches
            if m.rgb is not None and m.thermal is None and now > arrived[m.rgb]]


def pairs_of(matches: Iterable[tuple[int, Match[int]]]) -> set[tuple[int, int]]:
    return {(m.rgb, m.thermal) for _, m in matches
            if m.rgb is not None and m.thermal is not None}


@pytest.mark.parametrize(('delay_rgb', 'delay_thermal'), [(5, 5), (5, 12), (30, 5), (5, 35)])
def test_a_pair_leaves_the_moment_it_is_complete(delay_rgb: int, delay_thermal: int) -> None:
    stamps = range(0, 60 * PERIOD, PERIOD)
    matches = feed(PairMatcher(SETTINGS), arrivals(stamps, stamps, delay_rgb * MS,
                                                   delay_thermal * MS))
    assert [m.stamp for _, m in matches] == list(stamps)
    assert all(m.skew == 0 for _, m in matches)
    assert {now - m.stamp for now, m in matches} == {max(delay_rgb, delay_thermal) * MS}


@given(st.data())
@settings(deadline=None, max_examples=300)
def test_regular_cameras_are_matched_as_by_brute_force(data: st.DataObject) -> None:
    """Two cameras with jitter, a phase, losses, and any order of arrival in the deadline."""
    phase = data.draw(st.integers(-8, 8), label='phase (ms)')
    jitter = 2 * MS
    rng = data.draw(st.randoms(use_true_random=False))

    def camera(offset: int) -> list[int]:
        stamps = [i * PERIOD + offset + rng.randint(-jitter, jitter) for i in range(40)]
        lost = {i + rng.randint(0, 3) for i in range(10, 40, 6)}
        return [s for i, s in enumerate(stamps) if i not in lost]

    rgb, thermal = camera(0), camera(phase * MS)
    came: list[Arrival] = []
    for stream, stamps in ((RGB, rgb), (THERMAL, thermal)):
        now = 0
        for s in stamps:
            now = max(now + 1, s + rng.randint(15, 30) * MS)    # in order, as DDS keeps it
            came.append((stream, s, now))
    matches = feed(PairMatcher(SETTINGS), sorted(came, key=lambda a: a[2]), 10**12)
    assert pairs_of(matches) == nearest_first(rgb, thermal, SETTINGS.slop)
    answered = [m.rgb for _, m in matches if m.rgb is not None]
    assert answered == rgb      # each once, in order, with or without a partner


@given(st.lists(st.tuples(st.sampled_from([RGB, THERMAL]), st.integers(-400, 2000),
                          st.integers(0, 60)), max_size=60),
       st.integers(0, 60), st.integers(0, 80), st.integers(1, 8))
@settings(deadline=None)
def test_whatever_comes_is_accounted_for(events: list[tuple[str, int, int]], slop: int,
                                         deadline: int, queue: int) -> None:
    matcher: PairMatcher[int] = PairMatcher(
        PairingSettings(slop * MS, deadline * MS, queue=queue))
    now, came = 0, []
    for stream, stamp, step in events:
        now += step * MS
        came.append((stream, stamp * MS, now))
    out = [m for _, m in feed(matcher, came)]
    for match in out:
        if match.skew is not None:
            assert abs(match.skew) <= slop * MS
            assert match.rgb is not None and match.thermal == match.rgb + match.skew
        assert match.stamp == (match.rgb if match.rgb is not None else match.thermal)
    if not matcher.jumps:
        assert all(a.stamp < b.stamp for a, b in pairwise(out))
        for stream in ('rgb', 'thermal'):
            items = [i for m in out if (i := getattr(m, stream)) is not None]
            assert len(items) == len(set(items))
    assert len(events) == sum(t.received for t in matcher.timing.values())
    assert len(events) == (2 * matcher.pairs + matcher.singles + matcher.unmatched
                           + matcher.waiting)
    assert matcher.waiting <= 2 * queue
    assert (matcher.waiting == 0) == (matcher.wake_at is None)
    assert len(out) == matcher.pairs + matcher.singles
    matcher.poll(now + 10**12)
    assert matcher.waiting == 0


def test_nearest_partner_wins_over_the_first() -> None:
    matcher: PairMatcher[int] = PairMatcher(PairingSettings(50 * MS, 100 * MS))
    came = arrivals([0, 42 * MS, 83 * MS], [40 * MS, 84 * MS])
    assert pairs_of(feed(matcher, came, 10**12)) == {(42 * MS, 40 * MS), (83 * MS, 84 * MS)}


@pytest.mark.parametrize(('rate_rgb', 'rate_thermal', 'share'), [
    (30, 9, 9 / 30), (30, 60, 1), (10, 30, 1), (60, 30, 0.5), (30, 25, 0.7)])
def test_cameras_of_different_rates(rate_rgb: int, rate_thermal: int, share: float) -> None:
    rgb = [i * 10**9 // rate_rgb for i in range(5 * rate_rgb)]
    thermal = [i * 10**9 // rate_thermal + 3 * MS for i in range(5 * rate_thermal)]
    matcher: PairMatcher[int] = PairMatcher(PairingSettings(25 * MS, 40 * MS))
    matches = feed(matcher, arrivals(rgb, thermal), 10**12)
    assert [m.rgb for _, m in matches if m.rgb is not None] == rgb
    assert all(m.rgb is not None for _, m in matches if m.stamp < rgb[-1])
    assert len(pairs_of(matches)) >= 0.95 * share * len(rgb)
    waits = sorted(now - m.stamp - 5 * MS for now, m in matches)
    assert waits[len(waits) // 2] <= 3 * MS     # whoever has no partner does not wait for one


def test_a_stopped_stream_is_waited_for_twice() -> None:
    stamps = list(range(0, 90 * PERIOD, PERIOD))
    thermal = [s for s in stamps if not 30 <= s // PERIOD < 60]
    matches = feed(PairMatcher(SETTINGS), arrivals(stamps, thermal), 10**12)
    waits = {m.stamp // PERIOD: now - m.stamp - 5 * MS for now, m in matches}
    assert [m.rgb for _, m in matches] == stamps
    assert sum(w > 0 for w in waits.values()) <= 3
    assert max(waits.values()) == SETTINGS.deadline
    assert {m.stamp // PERIOD for _, m in matches if m.thermal is None} <= {*range(30, 61)}


@pytest.mark.parametrize('late', [RGB, THERMAL])
def test_a_late_stream_is_left_out_until_it_is_punctual(late: str) -> None:
    stamps = list(range(0, 120 * PERIOD, PERIOD))
    came = [(stream, s, s + 5 * MS + (200 * MS if stream == late and 40 <= i < 80 else 0))
            for i, s in enumerate(stamps) for stream in (RGB, THERMAL)]
    matcher: PairMatcher[int] = PairMatcher(SETTINGS)
    states = []
    matches: list[tuple[int, Match[int]]] = []
    for arrival in sorted(came, key=lambda a: a[2]):
        matches += feed(matcher, [arrival])
        states.append((arrival[2], matcher.timing[late].late))
    assert [on for now, on in states if 60 * PERIOD < now < 80 * PERIOD].count(False) == 0
    assert not states[-1][1]
    alone = [m for _, m in matches if m.skew is None]
    assert all(getattr(m, late) is None for m in alone)
    assert 38 <= len(alone) <= 50
    assert matcher.pairs > 65
    assert sum(now - m.stamp > 6 * MS for now, m in matches) <= 3     # never waited for again
    assert matcher.unmatched >= 38


@pytest.mark.parametrize(('delay_rgb', 'delay_thermal'), [(2, 3), (3, 2), (2, 17)])
@pytest.mark.parametrize('offset', [0, 300])
@pytest.mark.parametrize('by', [0, 15, 25, 30, 39, 60, 100, 200])
def test_pairs_with_late_stamps_and_in_the_burst_after_them(
        by: int, offset: int, delay_rgb: int, delay_thermal: int) -> None:
    """Of every ten pairs one is late: all are paired, each the moment it is complete."""
    stamps = late(range(9, 600, 10), by * MS, 600)
    came = [(s, t - (offset * MS if s == THERMAL else 0), now) for s, t, now in arrivals(
        stamps, stamps, delay_rgb * MS, delay_thermal * MS)]
    matcher: PairMatcher[int] = PairMatcher(PairingSettings(thermal_offset=offset * MS))
    matches = feed(matcher, came, 10**15)
    assert [(m.rgb, m.thermal) for _, m in matches] == [(s, s - offset * MS) for s in stamps]
    assert {now - m.stamp for now, m in matches} == {max(delay_rgb, delay_thermal) * MS}


@pytest.mark.parametrize(('rate_rgb', 'rate_thermal', 'phase', 'lost', 'waits'), [
    (30, 30, 0, 0, 0), (30, 30, 5, 3, 12), (30, 30, 12, 2, 24), (60, 60, 0, 0, 0),
    (60, 60, 5, 3, 16), (100, 100, 0, 0, 0), (10, 10, 0, 0, 0), (10, 10, 5, 1, 1),
    (30, 29, 5, 3, 28), (60, 30, 0, 15, 60), (30, 15, 0, 2, 29), (30, 10, 0, 1, 34),
    (30, 9, 0, 9, 28), (9, 30, 0, 0, 0)])
def test_streams_of_a_host_that_stands_still_now_and_then(
        rate_rgb: int, rate_thermal: int, phase: int, lost: int, waits: int) -> None:
    """`lost`: RGB images at most whose partner came in time, `waits`: those that wait in vain."""
    came = hiccups(rate_rgb, rate_thermal, phase * MS)
    matches = feed(PairMatcher(), came, 10**15)
    assert [m.rgb for _, m in matches if m.rgb is not None] == [t for s, t, _ in came if s == RGB]
    assert unpaired(came, matches) <= lost
    assert len(held(came, matches)) <= waits
    assert max(held(came, matches), default=0) <= SHIPPED.deadline


@pytest.mark.parametrize(('rate_rgb', 'rate_thermal', 'phase'), [
    (60, 30, 0), (60, 30, 12), (30, 15, 5), (30, 10, 0), (30, 25, 3), (10, 10, 45), (30, 1, 5)])
def test_no_image_waits_for_a_camera_that_is_known_to_be_slower_or_out_of_step(
        rate_rgb: int, rate_thermal: int, phase: int) -> None:
    rgb, thermal = ([i * 1000 * MS // rate + offset for i in range(20 * rate)]
                    for rate, offset in ((rate_rgb, 0), (rate_thermal, phase * MS)))
    came = arrivals(rgb, thermal)
    matches = [(now, m) for now, m in feed(PairMatcher(), came, 10**15)
               if 5000 * MS < m.stamp < thermal[-1]]
    assert len(matches) >= 14 * rate_rgb
    assert not held(came, matches)


@pytest.mark.parametrize(('loss', 'by', 'lost'), [
    (0.05, 0, 0), (0.05, 30, 1), (0.05, 60, 1), (0.2, 0, 6), (0.2, 30, 11), (0.2, 60, 12)])
def test_lost_images_and_late_stamps(loss: float, by: int, lost: int) -> None:
    rng = random.Random(4)
    stamps = late(range(9, 600, 10), by * MS, 600)
    thermal = [s for s in stamps if rng.random() > loss]
    rgb = [s for s in stamps if rng.random() > loss / 2]
    came = arrivals(rgb, thermal, 2 * MS, 3 * MS)
    assert unpaired(came, feed(PairMatcher(), came, 10**15)) <= lost


@pytest.mark.parametrize(('sigma', 'phase', 'lost'), [
    (2, 0, 0), (2, 8, 0), (6, 0, 5), (6, 8, 20), (10, 0, 20), (10, 8, 28)])
def test_cameras_that_jitter_each_on_its_own(sigma: int, phase: int, lost: int) -> None:
    rng = random.Random(3)
    rgb, thermal = (sorted(i * PERIOD + offset + round(rng.gauss(0, sigma) * MS)
                           for i in range(600)) for offset in (0, phase * MS))
    came = arrivals(rgb, thermal, 2 * MS, 3 * MS)
    assert unpaired(came, feed(PairMatcher(), came, 10**15)) <= lost


def test_a_stream_of_late_stamps_that_stops_and_comes_back() -> None:
    stamps = late(range(9, 600, 10), 30 * MS, 600)
    came = arrivals(stamps, [s for s in stamps if not 200 <= s // PERIOD < 400], 2 * MS, 3 * MS)
    matches = feed(PairMatcher(), came, 10**15)
    assert [m.rgb for _, m in matches] == stamps
    assert unpaired(came, matches) <= 1
    assert len(held(came, matches)) <= 4


def test_woken_when_the_pair_is_due_that_waits() -> None:
    """And not for an older image, which leaves with it."""
    matcher: PairMatcher[int] = PairMatcher()
    for stream, stamp in ((THERMAL, 100), (RGB, 120), (THERMAL, 137)):
        assert matcher.add(stream, stamp * MS, stamp, stamp * MS) == []
    assert matcher.wake_at == 120 * MS + SHIPPED.deadline
    match, = matcher.poll(matcher.wake_at)
    assert (match.rgb, match.thermal, matcher.unmatched) == (120, 137, 1)


def test_stamps_that_go_back_start_anew() -> None:
    matcher: PairMatcher[int] = PairMatcher(SETTINGS)
    first = list(range(0, 30 * PERIOD, PERIOD))
    feed(matcher, arrivals(first, first))
    for lap in (1, 2):
        moved = [(s, stamp, now + lap * 10**10) for s, stamp, now in arrivals(first, first)]
        matches = feed(matcher, moved, 10**12 if lap == 2 else 0)
        assert len(pairs_of(matches)) >= len(first) - 1
        assert matcher.jumps >= lap


@pytest.mark.parametrize('back', [0, 1, 100 * MS])
def test_equal_and_slightly_older_stamps_are_dropped(back: int) -> None:
    matcher: PairMatcher[int] = PairMatcher(SETTINGS)
    matcher.add(RGB, 200 * MS, 1, 0)
    assert matcher.add(RGB, 200 * MS - back, 2, 1) == []
    assert (matcher.unmatched, matcher.jumps) == (1, 0)


def test_offset_is_added_to_thermal_stamps() -> None:
    matcher: PairMatcher[int] = PairMatcher(PairingSettings(thermal_offset=-500 * MS))
    matcher.add(RGB, 10**9, 1, 0)
    match, = matcher.add(THERMAL, 1_503 * MS, 2, 1)
    assert (match.stamp, match.skew) == (10**9, 3 * MS)


@pytest.mark.parametrize('stream', [RGB, THERMAL])
def test_a_single_camera_never_waits(stream: str) -> None:
    matcher: PairMatcher[int] = PairMatcher(use_rgb=stream == RGB, use_thermal=stream == THERMAL)
    for i in range(5):
        match, = matcher.add(stream, i * PERIOD, i, i * PERIOD)
        assert getattr(match, stream) == i
        assert matcher.wake_at is None


def test_lost_images_are_counted_and_pauses_are_not() -> None:
    matcher: PairMatcher[int] = PairMatcher(use_thermal=False)
    indices = [*range(20), *range(22, 40), *range(45, 60), *range(500, 520)]
    random.seed(1)
    for i in indices:
        matcher.add(RGB, i * PERIOD + random.randint(-MS, MS), i, i * PERIOD)
    assert matcher.timing[RGB].lost == 2 + 5
    assert matcher.timing[RGB].period == pytest.approx(PERIOD, abs=2 * MS)


@pytest.mark.parametrize('rate', [15, 30, 100])
def test_jitter_is_no_loss(rate: int) -> None:
    matcher: PairMatcher[int] = PairMatcher(use_thermal=False)
    rng, period = random.Random(1), 1000 * MS // rate
    for i in range(1000):
        matcher.add(RGB, i * period + round(rng.gauss(0, 0.15 * period)), i, i * period)
    assert matcher.timing[RGB].lost < 10


@pytest.mark.parametrize(('rgb', 'thermal'), [(30, 1), (30, 3), (30, 9), (1, 30), (100, 2)])
def test_a_slow_camera_does_not_make_the_other_late(rgb: int, thermal: int) -> None:
    matcher: PairMatcher[int] = PairMatcher(SETTINGS)
    for arrival in arrivals(*([i * 1000 * MS // rate for i in range(10 * rate)]
                              for rate in (rgb, thermal))):
        feed(matcher, [arrival])
        assert not any(t.late for t in matcher.timing.values())


@pytest.mark.parametrize('offset', [-10**6, -3, 3, 10**6])
def test_with_clocks_that_disagree_rgb_is_answered(offset: int) -> None:
    matcher: PairMatcher[int] = PairMatcher(SETTINGS)
    came = [(s, t + (offset * 1000 * MS if s == THERMAL else 0), now) for s, t, now in arrivals(
        range(0, 300 * PERIOD, PERIOD), range(0, 300 * PERIOD, PERIOD))]
    matches = feed(matcher, came)
    assert [m.rgb for _, m in matches if m.rgb is not None] == [t for s, t, _ in came if s == RGB]
    assert not pairs_of(matches)
    assert sum(now > m.stamp + 5 * MS for now, m in matches) < 5, 'waited for nothing'


@pytest.mark.parametrize('offset', [-10**6, -10, -2, 2, 10**6])
def test_when_rgb_stops_thermal_goes_on_by_whatever_clock(offset: int) -> None:
    """Offset in s. RGB is gone for four seconds, and back."""
    matcher: PairMatcher[int] = PairMatcher(SETTINGS)
    stamps = range(0, 300 * PERIOD, PERIOD)
    came = [(s, t + (offset * 1000 * MS if s == THERMAL else 0), now) for s, t, now in arrivals(
        [s for s in stamps if not 60 <= s // PERIOD < 180], stamps)]
    matches = feed(matcher, came)
    assert [m.rgb for _, m in matches if m.rgb is not None] == [t for s, t, _ in came if s == RGB]
    alone = [now for now, m in matches if m.rgb is None]
    # a clock that is behind: after a second, or once its stamps are newer than RGB's last
    wait = 0 if offset > 0 else 2000 if offset == -2 else 1000
    assert -2 * PERIOD < alone[0] - 60 * PERIOD - wait * MS < 250 * MS
    assert alone[-1] <= 180 * PERIOD + 5 * MS and len(alone) > 50
    # where RGB stops, or where it is back
    assert matcher.jumps == (offset != -2)


@pytest.mark.parametrize('rate, burst', [(0.5, 1), (1, 1), (2, 1), (2.5, 1), (30, 8), (30, 20)])
@pytest.mark.parametrize('offset', [-1e6, -10, -1.2])
def test_slow_and_bursty_cameras_are_not_gone(rate: float, burst: int, offset: float) -> None:
    """RGB images come `burst` at a time, after the last of them."""
    matcher: PairMatcher[int] = PairMatcher(SETTINGS)
    rgb = [round(i * 1e9 / rate) for i in range(int(60 * rate))]
    came = [(RGB, t, rgb[min(i // burst * burst + burst, len(rgb)) - 1])
            for i, t in enumerate(rgb)]
    came += [(THERMAL, t + round(offset * 1e9), t + 5 * MS)
             for t in range(0, 60 * 1000 * MS, PERIOD)]
    matches = feed(matcher, sorted(came, key=lambda c: c[2]))
    assert matcher.jumps == 0
    assert [m.rgb for _, m in matches if m.rgb is not None] == rgb[:matcher.timing[RGB].received]


def test_rgb_images_that_wait_behind_thermal_ones_are_no_stop() -> None:
    """Nobody took images for a while, and thermal's are taken first."""
    matcher: PairMatcher[int] = PairMatcher(SETTINGS)
    for i in range(60):
        now = (i if i < 40 else max(i, 46)) * PERIOD
        matcher.add(THERMAL, i * PERIOD - 10**10, i, now)
        matcher.add(RGB, i * PERIOD, i, now + MS)
    assert (matcher.jumps, matcher.singles) == (0, 60)


@pytest.mark.parametrize('speed', [0.25, 0.5, 4])
def test_a_recording_is_matched_at_any_speed(speed: float) -> None:
    matcher: PairMatcher[int] = PairMatcher(SETTINGS)
    stamps = range(0, 100 * PERIOD, PERIOD)
    came = [(s, t, round(now / speed)) for s, t, now in arrivals(stamps, stamps)]
    assert all(m.skew == 0 for _, m in feed(matcher, came))


def test_what_comes_at_about_the_deadline_is_not_in_and_out() -> None:
    timing, other = StreamTiming(), StreamTiming()
    verdicts = []
    for i in range(200):
        other.add(i * PERIOD, i * PERIOD)
        now = i * PERIOD + (45 if i % 8 < 4 else 37) * MS
        timing.note_lag(i * PERIOD, now, other, 20 * MS, 40 * MS)
        timing.add(i * PERIOD, now)
        verdicts.append(timing.late)
    assert sum(a != b for a, b in pairwise(verdicts)) == 1


@pytest.mark.parametrize('rate', [1, 2, 5, 30, 100])
@pytest.mark.parametrize('speed', [1, 0.1])
def test_a_regular_stream_is_well_at_any_rate_and_stopped_when_it_stops(
        rate: int, speed: float) -> None:
    timing, period = StreamTiming(), 1000 * MS // rate
    stream = StreamHealth('rgb', '/rgb/image_raw', timing)
    step = round(period / speed)
    for i in range(10):
        timing.add(i * period, i * step)
        stream.accept()
        if step < 2000 * MS or i > 3:   # slower ones can't be told from stopped ones at first
            assert stream.judge((i + 1) * step - 1, 250 * MS, 40 * MS)[0] == Health.OK
    patience = max(250 * MS, 3 * step)
    assert stream.judge(9 * step + patience + 1, 250 * MS, 40 * MS)[0] == Health.STOPPED


@pytest.mark.parametrize('stamp', [0, 77])
def test_images_without_stamps_of_their_own_are_invalid(stamp: int) -> None:
    stream = StreamHealth('rgb', '/rgb/image_raw', timing := StreamTiming())
    timing.add(stamp, 0)
    stream.accept()
    for i in range(1, 200):
        stream.leave_out('not newer', i * PERIOD)
    health, text = stream.judge(200 * PERIOD, 250 * MS, 40 * MS)
    assert (health, text) == (Health.INVALID, 'rgb (/rgb/image_raw): not newer')
