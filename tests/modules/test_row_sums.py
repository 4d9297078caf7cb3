"""Sums of rows of a matrix, of every width and number of rows, in place."""

import numba as nb
import numpy as np
import pytest

from modules.row_sums import sum_rows


@nb.njit
def added(size, start, rows, target):
    sum_rows(size, ((start, 1),), rows, ((target, 2),))


@pytest.mark.parametrize("size", [1, 7, 16, 40, 65])
@pytest.mark.parametrize("count", [0, 1, 5])
def test_sums_of_rows(size, count):
    """In their order, some of them twice; what lies beside the target is left alone."""
    rng = np.random.default_rng(size)
    source, start = rng.standard_normal(9 * size).astype(np.float32), rng.standard_normal(size + 1).astype(np.float32)
    firsts = np.array([3, 0, 3, 8, 1, 5], np.int64) * size
    target = np.full(size + 4, 7.0, np.float32)
    added(size, start, (source, firsts, count), target)
    expected = start[1:].copy()
    for first in firsts[:count]:
        expected += source[first : first + size]
    np.testing.assert_array_equal(target[2 : size + 2], expected)
    assert (target[[0, 1, -2, -1]] == 7.0).all()
