"""Sharing compiled loops among PyTorch's threads: every part is done once, failures travel, results do not change."""

import numba as nb
import numpy as np
import pytest
import torch as th

from modules.gru import GRU
from utils.threads import share, workers_for


@nb.njit(nogil=True)
def count(part, seen, threads):
    """Mark this part as done."""
    seen[part[0]] += 1
    threads[0] = part[1]


@pytest.fixture
def two_threads():
    """PyTorch with two threads, whatever the tests run with."""
    before = th.get_num_threads()
    th.set_num_threads(2)
    yield
    th.set_num_threads(before)


@pytest.mark.parametrize("workers", [1, 2, 3, 7])
def test_every_part_is_done_once(workers, two_threads):
    """Also with more parts than threads, and again with the same threads."""
    seen, threads = np.zeros(workers), np.zeros(1)
    for repeat in (1, 2):
        share(count, workers, seen, threads)
        assert (seen == repeat).all()
        assert threads[0] == workers


def test_failures_are_raised_in_the_caller(two_threads):
    """What any part raises arrives, after all parts have ended."""

    def fail(part):
        raise ValueError(f"part {part[1]}")

    with pytest.raises(ValueError, match="part 2"):
        share(fail, 2)


def test_little_work_stays_on_one_thread(two_threads):
    """A few rows are not worth waking anyone."""
    assert workers_for(1000) == 1
    assert workers_for(1 << 30) == 2


def test_gru_does_not_depend_on_the_threads(two_threads):
    """Outputs are bit-equal, gradients equal to the rounding of the biases' sums."""
    th.manual_seed(0)
    gru, counts = GRU(2, 5, 32), [301] * 20 + [150] * 20
    x = th.randn(2, sum(counts), 5)
    results = []
    for threads in (1, 2):
        th.set_num_threads(threads)
        out = gru(x, counts)
        results.append([out, *th.autograd.grad(out.square().sum(), list(gru.parameters()))])
    assert th.equal(results[0][0], results[1][0])
    for one, two in zip(*results, strict=True):
        th.testing.assert_close(one, two, rtol=1e-5, atol=1e-3)
