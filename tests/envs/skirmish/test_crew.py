"""Threads of one call: the same result for any number, after close, in forked workers, and under a stream of calls."""

from __future__ import annotations

import gc
import multiprocessing as mp
import threading
import time

import numpy as np

from envs.skirmish import scripts
from envs.skirmish.flags import Flags
from envs.skirmish.simulation import Simulation


def trace(sim: Simulation, steps: int) -> float:
    """A number that depends on every state of a short random play."""
    rng = np.random.default_rng(0)
    sim.reset(range(sim.n_envs))
    total, active = 0.0, np.ones(sim.n_envs, bool)
    for _ in range(steps):
        sim.step(scripts.random(sim, rng), active)
        total += float(sim.world.state.astype(np.float64).sum()) + float(sim.world.envs["reward"][active].sum())
        active &= ~(sim.world.envs["terminated"] | sim.world.envs["truncated"])
    return total


def make(threads: int) -> Simulation:
    return Simulation(Flags(map_name="2s3z"), n_envs=130, threads=threads)


def test_any_number_of_threads_gives_the_same_result() -> None:
    expected = trace(make(1), 60)
    for threads in (2, 3, 8):
        assert trace(make(threads), 60) == expected


def test_sleeping_helpers_wake_up() -> None:
    expected, sim = trace(make(1), 3), make(2)
    for _ in range(5):
        assert trace(sim, 3) == expected
        time.sleep(0.02)


def test_helpers_leave_when_closed_or_forgotten() -> None:
    before = set(threading.enumerate())  # helpers of earlier tests may be about to leave
    sim, other = make(3), make(3)
    trace(sim, 2), trace(other, 2)
    helpers = set(threading.enumerate()) - before
    assert len(helpers) == 4
    expected = trace(make(1), 2)
    sim.close()
    assert trace(sim, 2) == expected  # alone, without helpers
    del sim, other
    gc.collect()
    deadline = time.monotonic() + 30
    for helper in helpers:
        helper.join(max(0.0, deadline - time.monotonic()))
    assert not [helper.name for helper in helpers if helper.is_alive()]


def _in_child(sim: Simulation, queue: mp.Queue[float]) -> None:
    queue.put(trace(sim, 5))


def test_a_forked_worker_may_go_on_with_an_environment() -> None:
    sim = make(2)
    expected = trace(sim, 5)
    context = mp.get_context("fork")
    queue: mp.Queue[float] = context.Queue()
    worker = context.Process(target=_in_child, args=(sim, queue))
    worker.start()
    assert queue.get(timeout=60) == expected
    worker.join(60)
    assert trace(sim, 5) == expected
