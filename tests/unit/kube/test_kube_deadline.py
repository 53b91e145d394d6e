# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest

from plugins.module_utils._kube.deadline import Backoff, Deadline


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds >= 0
        self.now += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def deadline(clock: Clock) -> Deadline:
    return Deadline(60, clock=clock, sleep=clock.sleep)


@pytest.fixture(autouse=True)
def _real_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Backoff, "FIRST", 0.5)
    monkeypatch.setattr(Backoff, "MOST", 15.0)


def test_a_pause_ends_at_the_deadline(clock: Clock, deadline: Deadline) -> None:
    assert deadline.pause(59) is True
    assert deadline.remaining == 1
    assert deadline.pause(59) is False
    assert clock.now == 160
    assert deadline.expired
    assert deadline.remaining == 0


def test_pauses_double_up_to_the_most(clock: Clock, deadline: Deadline) -> None:
    backoff = Backoff(deadline, jitter=lambda: 1.0)
    lengths = []
    for _turn in range(7):
        before = clock.now
        backoff.pause()
        lengths.append(clock.now - before)
    assert lengths == [0.5, 1, 2, 4, 8, 15, 15]


def test_pauses_start_small_again_after_a_healthy_minute(clock: Clock) -> None:
    deadline = Deadline(1000, clock=clock, sleep=clock.sleep)
    backoff = Backoff(deadline, jitter=lambda: 1.0)
    for _turn in range(5):
        backoff.pause()
    clock.now += 61
    before = clock.now
    backoff.pause()
    assert clock.now - before == 0.5


def test_what_the_server_asks_for_is_the_least_up_to_the_deadline(clock: Clock, deadline: Deadline) -> None:
    backoff = Backoff(deadline, jitter=lambda: 0.0)
    backoff.pause(3)
    assert clock.now == 103
    assert backoff.pause(30)
    assert clock.now == 133
    assert backoff.pause(3600) is False
    assert clock.now == 160


def test_a_last_look_never_ends_later_than_its_moment_after_the_end(clock: Clock, deadline: Deadline) -> None:
    assert deadline.grace(1) == 60
    clock.now = 159.75
    assert deadline.grace(1) == 1
    clock.now = 160.75
    assert deadline.grace(1) == 0.25
    clock.now = 170
    assert deadline.grace(1) == 0


def test_jitter_keeps_pauses_apart(deadline: Deadline) -> None:
    lengths = set()
    for _turn in range(20):
        before = deadline.spent
        Backoff(deadline).pause()
        lengths.add(round(deadline.spent - before, 6))
    assert len(lengths) > 15
    assert all(0 <= length <= 0.5 for length in lengths)
