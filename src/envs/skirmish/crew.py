"""Several threads for one kernel call: the caller and its helpers take chunks of environments until none is left.

Helpers are Python threads inside a kernel that has released the GIL. The caller never waits for a helper to start:
a chunk belongs to whoever takes its number first, so a late helper costs speed, never correctness. Between calls
that follow each other quickly a helper spins, since waking a sleeping thread takes longer than a small step.
No threading layer of numba is involved, so worker processes may be forked at any time.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import types
from numba.extending import intrinsic

# Places in the box, a cache line each; per helper SEEN + role and ASLEEP + role.
TICKET, NEXT, DONE, CHUNK, SPIN, QUIT = range(0, 48, 8)
SEEN, ASLEEP, MOST = 48, 112, 63
CALLER = 0
SHORT_SPIN, LONG_SPIN = 100_000, 1_000_000  # looks at the ticket, about a nanosecond each
QUICK = 0.0008  # seconds between calls up to which helpers spin on
CHUNKS_EACH = 8


def _place(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    array = context.make_array(signature.args[0])(context, builder, args[0])
    return builder.gep(array.data, [args[1]])


@intrinsic
def look(typingctx: Any, box: Any, index: Any) -> Any:
    """Atomic read of `box[index]`."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.load_atomic(_place(context, builder, signature, args), "seq_cst", 8)

    return types.int64(box, types.int64), generate


@intrinsic
def put(typingctx: Any, box: Any, index: Any, value: Any) -> Any:
    """Atomic write of `box[index]`."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.store_atomic(args[2], _place(context, builder, signature, args), "seq_cst", 8)
        return context.get_dummy_value()

    return types.none(box, types.int64, types.int64), generate


@intrinsic
def take(typingctx: Any, box: Any, index: Any) -> Any:
    """Atomic `box[index] += 1`; returns the old value."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        one = context.get_constant(types.int64, 1)
        return builder.atomic_rmw("add", _place(context, builder, signature, args), one, "seq_cst")

    return types.int64(box, types.int64), generate


def _serve(call: Callable[[int], None], box: np.ndarray, wake: threading.Event, role: int) -> None:
    while not box[QUIT]:
        call(role)
        wake.wait()
        wake.clear()


def _dismiss(box: np.ndarray, wakes: list[threading.Event], pid: int) -> None:
    box[QUIT] = 1
    if os.getpid() == pid:
        for wake in wakes:
            wake.set()


class Crew:
    """Runs `call(role)` in the caller's thread and in those of its helpers.

    Args:
        call: the kernel with all its arguments but the role; it must not hold a reference to the crew's owner.
        box: shared int64 array made by `new_box`.
        n_threads: the caller and its helpers.
    """

    def __init__(self, call: Callable[[int], None], box: np.ndarray, n_threads: int) -> None:
        self.call, self.box, self.n_threads = call, box, n_threads
        self._pid, self._last = -1, 0.0
        self._wakes: list[threading.Event] = []

    def run(self) -> None:
        """One call, shared among the threads; returns when every chunk is done."""
        if self.n_threads > 1:
            self._rouse()
        self.call(CALLER)
        self._last = time.perf_counter()

    def _rouse(self) -> None:
        if self._pid != os.getpid():  # the first call, or the first in a forked process, which has no threads
            self._start()
        self.box[SPIN] = LONG_SPIN if time.perf_counter() - self._last < QUICK else SHORT_SPIN
        for role, wake in enumerate(self._wakes, start=1):
            if self.box[ASLEEP + role]:
                wake.set()

    def _start(self) -> None:
        self._pid = os.getpid()
        self.box[SEEN : ASLEEP + MOST] = 0
        self.box[SEEN : SEEN + MOST] = self.box[TICKET]
        self._wakes = [threading.Event() for _ in range(1, self.n_threads)]
        for role, wake in enumerate(self._wakes, start=1):
            job = (self.call, self.box, wake, role)
            threading.Thread(target=_serve, args=job, daemon=True, name=f"skirmish-{role}").start()
        weakref.finalize(self, _dismiss, self.box, self._wakes, self._pid)

    def close(self) -> None:
        """Send the helpers home; another call brings new ones."""
        if self._pid == os.getpid():
            _dismiss(self.box, self._wakes, self._pid)
        self.n_threads = 1


def new_box(n_envs: int, n_threads: int) -> np.ndarray:
    """The shared array for `n_envs` environments and `n_threads` threads."""
    box = np.zeros(ASLEEP + MOST + 1, np.int64)
    parts = 1 if n_threads == 1 else CHUNKS_EACH * n_threads
    box[CHUNK] = max(1, n_envs // parts)
    return box
