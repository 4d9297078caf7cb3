"""Phases and durations."""

from __future__ import annotations

from time import sleep

import pytest

from utils import timehelper
from utils.timehelper import PhaseTimer, note_if_slow, time_left, time_str


def test_nested_phases_count_once(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(timehelper, "perf_counter", lambda: clock[0])
    timer = PhaseTimer()
    with timer("test"):
        clock[0] += 1.0
        with timer("env"):
            clock[0] += 2.0
        clock[0] += 4.0
    clock[0] += 100.0
    with pytest.raises(ValueError), timer("env"):
        clock[0] += 8.0
        raise ValueError
    assert timer.seconds == {"test": 5.0, "env": 10.0}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "-"), (0, "0:00:00"), (59.6, "0:01:00"), (3723, "1:02:03"), (90_061, "1 d 1:01:01")],
)
def test_time_str(seconds: float | None, text: str) -> None:
    assert time_str(seconds) == text


def test_time_left() -> None:
    assert time_left(100, 300, 50.0) == 4.0
    assert time_left(400, 300, 50.0) == 0.0
    assert time_left(0, 300, 0.0) is None


def test_what_is_fast_is_not_noted(capfd: pytest.CaptureFixture[str]) -> None:
    """And what is slow once, whoever else is slow for the same reason."""
    with note_if_slow("not said", 60.0):
        pass
    for _ in range(2):
        with note_if_slow("said", 0.0):
            sleep(0.2)
    assert capfd.readouterr().err == "said\n"
