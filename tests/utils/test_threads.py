"""Sharing compiled loops among PyTorch's threads: every part is done once, failures travel, results do not change."""

import threading

import numba as nb
import numpy as np
import pytest
import torch as th

from modules.gru import GRU
from utils import threads
from utils.threads import WORTH_A_THREAD, parts_for, parts_of, share
from utils.timehelper import note_if_slow


@nb.njit(nogil=True)
def count(part, seen):
    """Mark what this part covers as done."""
    seen[part[1] : part[2]] += part[3]


@pytest.fixture
def two_threads():
    """PyTorch with two threads, whatever the tests run with."""
    before = th.get_num_threads()
    th.set_num_threads(2)
    yield
    th.set_num_threads(before)


@pytest.mark.parametrize("sizes", [[1], [1, 1], [1, 1, 1], [4, 4, 2, 2, 1, 1, 1, 1]])
def test_every_part_is_done_once(sizes, two_threads):
    """Also with more parts than threads, and again with the same threads."""
    seen, parts = np.zeros(sum(sizes)), parts_of(*sizes)
    assert [part[0] for part in parts] == list(range(len(sizes)))
    for repeat in (1, 2):
        share(count, parts, seen)
        assert (seen == repeat * sum(sizes)).all()


def test_a_free_thread_takes_the_next_part(two_threads):
    """While one thread is busy with the first part, the other does the rest."""
    first, others = threading.Event(), []

    def work(part):
        if part[0] == 0:
            assert first.wait(10), "the other thread did not do the other parts"
        else:
            others.append(part[0])
            if len(others) == 3:
                first.set()

    share(work, parts_of(1, 1, 1, 1))
    assert others == [1, 2, 3]


def test_failures_are_raised_in_the_caller(two_threads):
    """What any part raises arrives, after all parts have ended."""

    def fail(part):
        raise ValueError(f"part of {part[3]}")

    with pytest.raises(ValueError, match="part of 2"):
        share(fail, parts_of(1, 1))


def test_a_kernel_that_is_compiled_says_so_once(two_threads, capfd, monkeypatch):
    """Where it takes long; not when it was used before."""
    monkeypatch.setattr(threads, "COMPILING", "compiling, for a test")
    monkeypatch.setattr(threads, "note_if_slow", lambda text: note_if_slow(text, 0.0))
    parts = parts_of(1, 1)
    for repeat in (1, 2):
        fresh = nb.njit(nogil=True)(count.py_func)
        share(fresh, parts, np.zeros(2))
        assert capfd.readouterr().err == ("compiling, for a test\n" if repeat == 1 else "")
        share(fresh, parts, np.zeros(2))
    assert capfd.readouterr().err == ""


def test_little_work_stays_on_one_thread(two_threads):
    """A few rows are not worth waking anyone."""
    assert parts_for(1000) == parts_of(1)
    assert parts_for(WORTH_A_THREAD) == parts_of(1, 1)


def test_long_loops_end_in_small_parts(two_threads):
    """Where rows are many enough for it; together they are everything."""
    parts = parts_for(1 << 30)
    assert [last - first for _, first, last, _ in parts] == [4, 4, 2, 2, 1, 1, 1, 1]
    assert parts_for(1 << 30, rows=320) == parts
    assert parts_for(1 << 26) == parts_for(1 << 30, rows=150) == parts_of(3, 3, 1, 1)
    assert parts_for(1 << 30, rows=96) == parts_of(1, 1)


def test_gru_does_not_depend_on_the_threads(two_threads):
    """Outputs are bit-equal, gradients equal to the rounding of the biases' sums."""
    th.manual_seed(0)
    gru, counts = GRU(2, 5, 32), [301] * 20 + [150] * 20
    x = th.randn(2, sum(counts), 5)
    results = []
    for n_threads in (1, 2):
        th.set_num_threads(n_threads)
        out = gru(x, counts)
        results.append([out, *th.autograd.grad(out.square().sum(), list(gru.parameters()))])
    assert th.equal(results[0][0], results[1][0])
    for one, two in zip(*results, strict=True):
        th.testing.assert_close(one, two, rtol=1e-5, atol=1e-3)
