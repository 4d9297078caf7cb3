"""Where the time goes and how much is left."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Timer
from time import perf_counter
from types import TracebackType

COLD_AFTER = 2.0  # seconds after which a compiler, not its cache, must be at work
_said: set[str] = set()


@contextmanager
def unless_done(seconds: float, action: Callable[[], None]) -> Iterator[None]:
    """Do `action`, in a thread of its own, if the block takes longer than that."""
    timer = Timer(seconds, action)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


@contextmanager
def note_if_slow(text: str, seconds: float = COLD_AFTER) -> Iterator[None]:
    """Say on stderr what is happening if it takes longer; each text once."""

    def say() -> None:
        if text not in _said:
            _said.add(text)
            print(text, file=sys.stderr, flush=True)

    with unless_done(seconds, say):
        yield


class PhaseTimer:
    """Seconds per named phase: `with timer("env"): ...`.

    Phases may be nested; the time of an inner phase does not count for the outer one.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._open: list[str] = []
        self._since = 0.0

    def __call__(self, phase: str) -> _Phase:
        """Return the context manager that measures `phase`."""
        return _Phase(self, phase)

    def enter(self, phase: str) -> None:
        """Start `phase`, pausing the one that runs."""
        self._charge()
        self._open.append(phase)

    def leave(self) -> None:
        """End the innermost phase and continue the one around it."""
        self._charge()
        self._open.pop()

    def _charge(self) -> None:
        now = perf_counter()
        if self._open:
            phase = self._open[-1]
            self.seconds[phase] = self.seconds.get(phase, 0.0) + now - self._since
        self._since = now


class _Phase:
    """One use of a `PhaseTimer`."""

    __slots__ = ("_phase", "_timer")

    def __init__(self, timer: PhaseTimer, phase: str) -> None:
        self._timer, self._phase = timer, phase

    def __enter__(self) -> None:
        self._timer.enter(self._phase)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.leave()


def time_left(t_env: int, t_max: int, steps_per_second: float) -> float | None:
    """Seconds until `t_max` env steps at the given speed; None while the speed is unknown."""
    return max(t_max - t_env, 0) / steps_per_second if steps_per_second > 0.0 else None


def time_str(seconds: float | None) -> str:
    """Format a duration as "1:02:03", with days in front from one day on; "-" if it is None."""
    if seconds is None:
        return "-"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    clock = f"{hours}:{minutes:02d}:{rest:02d}"
    return f"{days} d {clock}" if days else clock
