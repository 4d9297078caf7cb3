"""Sharing compiled loops among PyTorch's threads: every part is done once, failures travel, results do not change."""

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


def test_without_that_openmp_one_thread_does_all(two_threads, monkeypatch):
    """Another runtime than GNU's has no such function to call."""
    monkeypatch.setattr(threads, "_gomp_parallel", lambda: 0)
    seen = np.zeros(3)
    share(count, parts_of(1, 1, 1), seen)
    assert (seen == 3).all()


@nb.njit(nogil=True)
def wait_for_others(part, done):
    """The first part ends when the others are done, or after billions of looks."""
    if part[0] == 0:
        looks = 0
        while done[1:].sum() < len(done) - 1 and looks < 10**9:
            looks += 1
        done[0] = done[1:].sum()
    else:
        done[part[0]] = 1


def test_a_free_thread_takes_the_next_part(two_threads):
    """While one thread is busy with the first part, the other does the rest."""
    done = np.zeros(4, np.int64)
    share(wait_for_others, parts_of(1, 1, 1, 1), done)
    assert done.tolist() == [3, 1, 1, 1]


@nb.njit(nogil=True, error_model="numpy")
def ask_for(part, sizes):
    """Memory of so many numbers."""
    sizes[part[0]] = len(np.empty(sizes[part[0]]))


@pytest.mark.parametrize("parts", [parts_of(1), parts_of(1, 1)], ids=["one", "two"])
def test_want_of_memory_is_raised_in_the_caller(parts, two_threads):
    """After all parts have ended, whichever of them failed."""
    sizes = np.full(len(parts), 1 << 55)
    sizes[1:] = 5
    with pytest.raises(MemoryError, match="ask_for"):
        share(ask_for, parts, sizes)
    assert sizes[1:].tolist() == [5] * (len(parts) - 1)


def test_arguments_of_other_types_are_compiled_for(two_threads):
    """Not read as those of the first call."""
    for kind in (np.float64, np.float32, np.int64):
        seen = np.zeros(2, kind)
        share(count, parts_of(1, 1), seen)
        assert seen.tolist() == [2, 2]


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
    assert [last - first for _, first, last, _ in parts] == [8, 8, 4, 4, 2, 2, 1, 1, 1, 1]
    assert parts_for(1 << 30, rows=512) == parts
    assert parts_for(1 << 30, rows=320) == parts_of(3, 3, 2, 2, 1, 1)
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
