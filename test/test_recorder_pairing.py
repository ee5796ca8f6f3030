"""Pairing for files: nothing is given up by a guess, and nothing goes without being named."""
from __future__ import annotations

from collections.abc import Iterable

from hypothesis import given, settings
from hypothesis import strategies as st
import pytest
from test_pairing import (
    MS,
    PERIOD,
    SETTINGS,
    Arrival,
    arrivals,
    feed,
    nearest_first,
    pairs_of,
)

from rgbt_tracker_ros.nodes.pairing import RGB, THERMAL, PairingSettings
from rgbt_tracker_ros.nodes.recorder_pairing import PatientMatcher

PATIENT = PairingSettings(slop=25 * MS, deadline=500 * MS, queue=256)


def late(numbers: Iterable[int], by: int, count: int = 60) -> list[int]:
    """Return stamps of a driver that publishes when it gets to it: late ones, then in a burst."""
    stamps, now = [], 0
    for i in range(count):
        now = max(now + MS, i * PERIOD + (by if i in numbers else 0))
        stamps.append(now)
    return stamps


@pytest.mark.parametrize('first', [RGB, THERMAL])
@pytest.mark.parametrize('by', [0, 15, 25, 30, 39, 60, 200])
def test_stamps_of_a_late_driver_lose_nothing(by: int, first: str) -> None:
    stamps = late(range(9, 60, 10), by * MS)
    came = arrivals(stamps, stamps, *((2 * MS, 3 * MS) if first == RGB else (3 * MS, 2 * MS)))
    matcher: PatientMatcher[int] = PatientMatcher(PATIENT)
    matches = feed(matcher, came, 10**12)
    assert [(m.rgb, m.thermal) for _, m in matches] == [(s, s) for s in stamps]
    assert not matcher.lost


@given(st.lists(st.tuples(st.integers(1, 120), st.integers(0, 400), st.integers(0, 400)),
                min_size=1, max_size=40))
@settings(deadline=None)
def test_equal_stamps_always_meet(steps: list[tuple[int, int, int]]) -> None:
    """Whatever the intervals, and whichever comes first: up to the deadline after its partner."""
    stamp, came, clocks = 0, list[Arrival](), {RGB: 0, THERMAL: 0}
    for step, *delays in steps:
        stamp += step * MS
        for stream, delay in zip(clocks, delays, strict=True):
            clocks[stream] = max(clocks[stream] + 1, stamp + delay * MS)
            came.append((stream, stamp, clocks[stream]))
    matcher: PatientMatcher[int] = PatientMatcher(PATIENT)
    pairs = pairs_of(feed(matcher, sorted(came, key=lambda a: a[2]), 10**12))
    assert pairs == {(s, s) for _, s, _ in came}
    assert not matcher.lost


@given(st.data())
@settings(deadline=None, max_examples=200)
def test_regular_cameras_are_matched_as_by_brute_force(data: st.DataObject) -> None:
    phase = data.draw(st.integers(-8, 8), label='phase (ms)')
    rng = data.draw(st.randoms(use_true_random=False))

    def camera(offset: int) -> list[int]:
        stamps = [i * PERIOD + offset + rng.randint(-2 * MS, 2 * MS) for i in range(40)]
        lost = {i + rng.randint(0, 3) for i in range(10, 40, 6)}
        return [s for i, s in enumerate(stamps) if i not in lost]

    rgb, thermal = camera(0), camera(phase * MS)
    came: list[Arrival] = []
    for stream, stamps in ((RGB, rgb), (THERMAL, thermal)):
        now = 0
        for s in stamps:
            now = max(now + 1, s + rng.randint(15, 200) * MS)
            came.append((stream, s, now))
    matcher: PatientMatcher[int] = PatientMatcher(PATIENT)
    pairs = pairs_of(feed(matcher, sorted(came, key=lambda a: a[2]), 10**12))
    assert pairs == nearest_first(rgb, thermal, PATIENT.slop)
    assert sorted(matcher.lost) == sorted(
        [(RGB, s) for s in rgb if s not in {r for r, _ in pairs}]
        + [(THERMAL, s) for s in thermal if s not in {t for _, t in pairs}])


@given(st.lists(st.tuples(st.sampled_from([RGB, THERMAL]), st.integers(-400, 2000),
                          st.integers(0, 60)), max_size=60),
       st.integers(0, 60), st.integers(0, 80), st.integers(1, 8), st.integers(1, 20))
@settings(deadline=None)
def test_whatever_comes_is_paired_waits_or_is_named(
        events: list[tuple[str, int, int]], slop: int, deadline: int, queue: int, limit: int
        ) -> None:
    matcher: PatientMatcher[int] = PatientMatcher(
        PairingSettings(slop * MS, deadline * MS, queue=queue), lambda _: 7, 7 * limit)
    now, came = 0, list[Arrival]()
    for stream, stamp, step in events:
        now += step * MS
        came.append((stream, stamp * MS, now))
    pairs = [m for _, m in feed(matcher, came)]
    for match in pairs:
        assert match.rgb is not None and match.thermal is not None and match.skew is not None
        assert match.thermal - match.rgb == match.skew
        assert abs(match.skew) <= slop * MS
    assert len(events) == 2 * len(pairs) + len(matcher.lost) + matcher.waiting
    assert len(matcher.lost) == matcher.unmatched + matcher.singles
    assert matcher.waiting <= min(2 * queue, limit)
    assert matcher.waiting_bytes == 7 * matcher.waiting
    assert (matcher.waiting == 0) == (matcher.wake_at is None)
    pairs += matcher.poll(now + 10**12)
    assert matcher.waiting == 0
    accounted = [(RGB, m.rgb) for m in pairs] + [(THERMAL, m.thermal) for m in pairs]
    assert sorted([*accounted, *matcher.lost]) == sorted((s, t) for s, t, _ in came)


@pytest.mark.parametrize(('rate_rgb', 'rate_thermal', 'share'), [
    (30, 9, 9 / 30), (30, 60, 1), (10, 30, 1), (60, 30, 0.5), (30, 25, 25 / 30)])
def test_cameras_of_different_rates(rate_rgb: int, rate_thermal: int, share: float) -> None:
    rgb = [i * 10**9 // rate_rgb for i in range(5 * rate_rgb)]
    thermal = [i * 10**9 // rate_thermal + 3 * MS for i in range(5 * rate_thermal)]
    matcher: PatientMatcher[int] = PatientMatcher(PATIENT)
    pairs = pairs_of(feed(matcher, arrivals(rgb, thermal), 10**12))
    assert len(pairs) / len(rgb) == pytest.approx(share, abs=0.02)
    assert all(abs(r - t) <= PATIENT.slop for r, t in pairs)


@pytest.mark.parametrize('silent', [RGB, THERMAL])
@pytest.mark.parametrize(('stall', 'lose'), [(450, 0), (900, 13)])
def test_a_stream_that_is_held_up(silent: str, stall: int, lose: int) -> None:
    """Its images come in one go: too late for partners that waited for the deadline."""
    stamps = [i * PERIOD for i in range(90)]
    came = [(stream, s, max(s, 30 * PERIOD + stall * MS)
             if stream == silent and 30 * PERIOD <= s < 30 * PERIOD + stall * MS else s)
            for stream in (RGB, THERMAL) for s in stamps]
    matcher: PatientMatcher[int] = PatientMatcher(PATIENT)
    pairs = pairs_of(feed(matcher, sorted(came, key=lambda a: a[2:] + a[1:2]), 10**12))
    assert len(pairs) == len(stamps) - lose
    assert sorted(s for stream, s in matcher.lost if stream == silent) == sorted(
        s for stream, s in matcher.lost if stream != silent) == stamps[30:30 + lose]


def test_without_a_partner_an_image_waits_for_the_deadline() -> None:
    matcher: PatientMatcher[int] = PatientMatcher(SETTINGS)
    for stream in (RGB, THERMAL):
        assert matcher.add(stream, 10**9 * (stream == THERMAL), 0, now=5 * MS) == []
    assert matcher.lost == [(RGB, 0)]       # thermal has gone on
    assert matcher.wake_at == 5 * MS + SETTINGS.deadline
    assert matcher.poll(4 * MS + SETTINGS.deadline) == []
    assert matcher.waiting == 1
    assert matcher.poll(5 * MS + SETTINGS.deadline) == []
    assert matcher.lost == [(RGB, 0), (THERMAL, 0)]


def test_images_that_wait_take_no_more_than_their_bytes() -> None:
    settings_ = PairingSettings(slop=25 * MS, deadline=10**10, queue=256)
    matcher: PatientMatcher[int] = PatientMatcher(settings_, lambda _: 100, 1000)
    stamps = [i * PERIOD for i in range(30)]
    for s in stamps:
        assert matcher.add(RGB, s, s, s) == []
        assert matcher.waiting_bytes <= 1000
    assert matcher.lost == [(RGB, s) for s in stamps[:20]] and matcher.unmatched == 20
    # who completes a pair takes no room: nothing more goes
    pairs = [m for s in stamps[20:] for m in matcher.add(THERMAL, s, s, stamps[-1])]
    assert [m.stamp for m in pairs] == stamps[20:] and len(matcher.lost) == 20


def test_without_rgb_there_is_nothing_to_record_by_any_clock() -> None:
    matcher: PatientMatcher[int] = PatientMatcher(PATIENT)
    stamps = range(0, 60 * PERIOD, PERIOD)
    came = [(s, t - (10**10 if s == THERMAL else 0), now)
            for s, t, now in arrivals(stamps[:30], stamps)]
    assert not feed(matcher, came, 10**12)
    assert (matcher.jumps, len(matcher.lost)) == (0, len(came))
