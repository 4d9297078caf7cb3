"""Blocks of rows as columns: every number in its place; sums, maxima, results of any number of actions."""

import numba as nb
import numpy as np
import pytest

from modules.columns import BLOCK, each_action, turn
from modules.lanes import LOWEST

SUM = each_action(lambda x, ok, factor, bound: ((x * factor).where(ok > 0.0, 0.0), x - bound), "sum")
MAXIMUM, TWICE = each_action(lambda x: (x,), "max"), each_action(lambda x: (2.0 * x,))


@nb.njit
def turned(size, x, y):
    turn(size, (x, 3, size[1] + 2), (y, 1, size[0] + 5))


@pytest.mark.parametrize("size", [(1, 1), (8, 8), (7, 20), (32, 18), (33, 70), (16, 5), (0, 4)])
def test_every_number_in_its_place_and_no_other(size):
    """Rows with gaps between them, what lies in the gaps of the target is left alone."""
    height, width = size
    rng = np.random.default_rng(0)
    x, y = rng.random(3 + height * (width + 2), np.float32), np.full(1 + width * (height + 5), 7.0, np.float32)
    turned(size, x, y)
    rows, found = x[3:].reshape(height, width + 2), y[1:].reshape(width, height + 5)
    np.testing.assert_array_equal(found[:, :height], rows[:, :width].T)
    assert (found[:, height:] == 7.0).all()
    assert y[0] == 7.0


@nb.njit
def reduced(count, x, ok, factors, results):
    out, totals, tops = results
    SUM(count, ((x, 0), (ok, 0)), ((factors, 0), np.float32(0.5)), ((out, 0),), ((totals, 0),))
    MAXIMUM(count, ((x, 0),), (), (), ((tops, 0),))
    TWICE(count, ((x, 0),), (), ((x, 0),), ())


@pytest.mark.parametrize("count", [0, 1, 9, 18])
def test_sums_maxima_and_results(count):
    """A number for each row; a maximum passes over NaN; a result may replace what it is made of."""
    rng = np.random.default_rng(count)
    x, ok = rng.standard_normal((2, count, BLOCK)).astype(np.float32)
    factors, out = rng.random(BLOCK, np.float32), np.zeros((count, BLOCK), np.float32)
    totals, tops = np.empty((2, BLOCK), np.float32)
    x[count // 2 : count // 2 + 1, 3] = np.nan if count > 1 else 1.0
    before = x.copy()
    reduced(count, x.reshape(-1), ok.reshape(-1), factors, (out.reshape(-1), totals, tops))
    expected = np.where(ok > 0, before.astype(np.float64) * factors, 0.0).sum(0)
    np.testing.assert_allclose(totals, expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(tops, np.fmax.reduce(before, 0, initial=np.float32(LOWEST)))
    np.testing.assert_array_equal(out, before - np.float32(0.5))
    np.testing.assert_array_equal(x, 2 * before)
