"""Ctrl-C, SIGTERM and SIGHUP as a polite request, so that a run stops between two updates and not inside one.

While a `StopRequest` is entered, the first signal only sets a flag that the loop asks for with `requested()`. A
loop that has not asked within the grace period is interrupted by `KeyboardInterrupt`. Later signals are ignored:
what is being saved is not cut short.
"""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType, TracebackType
from typing import Any

GRACE_SECONDS = 4.0  # leaves time to save within the ten seconds a stop may take, on a busy machine too

_current: list[StopRequest] = []


class Stopped(KeyboardInterrupt):
    """The stop that was asked for, at a point from which the run can go on as if nothing had happened."""


def requested() -> bool:
    """Tell whether the user wants the run to stop. Whoever gets True must save and raise `KeyboardInterrupt`."""
    return bool(_current) and _current[-1].acknowledge()


def stop_if_requested() -> None:
    """Raise `Stopped` between two steps of a loop if the user has asked for a stop."""
    if requested():
        raise Stopped


class StopRequest:
    """Context manager that takes over the signals; main thread only.

    Args:
        grace: seconds from the signal to the `KeyboardInterrupt`, if nobody asks for the flag.
        last: the process ends afterwards: once a stop was asked for, signals stay ignored to its very end.
    """

    def __init__(self, grace: float = GRACE_SECONDS, last: bool = False) -> None:
        self.grace, self.last = grace, last
        self._asked = self._acknowledged = self._expired = False
        self._watchdog: threading.Timer | None = None
        self._old: dict[int, Any] = {}

    def __enter__(self) -> StopRequest:
        """Install the handlers."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            ignored = signal.getsignal(number) is signal.SIG_IGN
            if number != signal.SIGHUP or not ignored:  # nohup asks for SIGHUP to be ignored
                self._old[number] = signal.signal(number, self._on_signal)
        _current.append(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Put the old handlers back."""
        _current.remove(self)
        self._disarm()
        for number, handler in self._old.items():
            signal.signal(number, signal.SIG_IGN if self.last and self._asked else handler)

    def acknowledge(self) -> bool:
        """Tell whether a stop is wanted; after a True no `KeyboardInterrupt` comes from here any more."""
        if self._asked:
            self._acknowledged = True
            self._disarm()
        return self._asked

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._expired and not self._acknowledged:
            self._acknowledged = True
            raise KeyboardInterrupt
        if self._asked:
            _tell("already stopping; kill -9 ends the process at once, without saving")
            return
        self._asked = True
        _tell(f"{signal.Signals(number).name}: stopping")
        self._watchdog = threading.Timer(self.grace, self._expire, [threading.main_thread().ident])
        self._watchdog.daemon = True
        self._watchdog.start()

    def _expire(self, main_thread: int) -> None:
        self._expired = True
        signal.pthread_kill(main_thread, signal.SIGINT)

    def _disarm(self) -> None:
        if self._watchdog is not None:
            self._watchdog.cancel()


def _tell(text: str) -> None:
    """Write past Python's buffers, which may be in use: this runs inside a signal handler."""
    try:
        os.write(2, f"\n{text}\n".encode())
    except OSError:
        return  # nobody is there to read it
