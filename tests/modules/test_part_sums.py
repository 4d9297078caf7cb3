"""Sums of parts, added up, in the shapes they were asked for in."""

import numpy as np
import pytest
import torch as th

from modules.dense import chain
from modules.part_sums import PartSums
from utils.threads import parts_of

SHAPES = [(2, 3, 5), (7,), (2, 0, 4), (1, 300, 200), (33,)]


def test_kernels_clear_what_was_there(monkeypatch):
    """Gradients of dense layers where memory holds NaN and most parts have no rows."""
    x, weights = th.randn(1, 300, 5), [th.randn(2, 5, 4).requires_grad_(), th.randn(2, 4, 3).requires_grad_()]
    biases, results, made = [th.zeros(2, 1, size) for size in (4, 3)], [], PartSums.__init__

    def used(sums, *args):
        made(sums, *args)
        sums._memory.fill_(th.nan)

    monkeypatch.setattr(PartSums, "__init__", used)
    for parts in (parts_of(1), parts_of(*[1] * 700)):
        monkeypatch.setattr("modules.dense.parts_for", lambda work, parts=parts: parts)
        results.append(th.autograd.grad(chain(x, weights, biases).square().sum(), weights))
    for one, other in zip(*results, strict=True):
        assert one.isfinite().all()
        th.testing.assert_close(one, other)


@pytest.mark.parametrize("count", [1, 2, 8])
def test_totals_are_sums_over_parts(count):
    """Every number of every part counts once, empty shapes are kept."""
    sums = PartSums(parts_of(*[1] * count), SHAPES)
    rng, expected = np.random.default_rng(0), []
    for array, shape in zip(sums.arrays, SHAPES, strict=True):
        assert array.shape == (count, *shape)
        assert array.flags.c_contiguous
        array[:] = rng.integers(-9, 10, array.shape).astype(np.float32)  # whole numbers: exact in any order
        expected.append(th.from_numpy(array.sum(0)))
    totals = sums.total()
    assert [tuple(total.shape) for total in totals] == SHAPES
    for total, right in zip(totals, expected, strict=True):
        assert th.equal(total, right)
