"""Formulas over lanes against numpy, of every length, in place, with what is not a number."""

import numba as nb
import numpy as np
import pytest

from modules.lanes import elementwise

FORMULA = elementwise(lambda x, y: (2.0 * x * y + 1.0, (1.0 - x) / (y * y + 0.5)))
BOUNDED = elementwise(lambda x, y: (x.within(1.5), x.where_positive(y)))


@nb.njit
def formula(size, x, y, a, b):
    FORMULA(size, ((x, 1), (y, 0)), ((a, 2), (b, 0)))


@nb.njit
def in_place(size, x, y):
    FORMULA(size, ((x, 0), (y, 0)), ((x, 0), (y, 0)))


@nb.njit
def bounded(size, x, y, a, b):
    BOUNDED(size, ((x, 0), (y, 0)), ((a, 0), (b, 0)))


@pytest.mark.parametrize("size", [0, 1, 2, 3, 7, 8, 16, 31, 64, 100])
def test_every_number_once_and_no_other(size):
    """Places of the first numbers are where they are said to be."""
    rng = np.random.default_rng(size)
    x, y = rng.standard_normal((2, size + 1), np.float32)
    a, b = np.full((2, size + 3), 7.0, np.float32)
    formula(size, x, y, a, b)
    x, y = x[1:].astype(np.float64), y[:-1].astype(np.float64)
    np.testing.assert_allclose(a[2 : size + 2], 2 * x * y + 1, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(b[:size], (1 - x) / (y * y + 0.5), rtol=1e-6, atol=1e-6)
    assert (a[:2] == 7).all()
    assert a[-1] == 7
    assert (b[size:] == 7).all()


def test_results_may_replace_what_they_are_made_of():
    """All numbers of a lane are read before any is written."""
    x, y = np.random.default_rng(0).standard_normal((2, 37)).astype(np.float32)
    a, b = np.empty((2, 40), np.float32)
    formula(37, np.append(np.float32(0), x), y, a, b)
    in_place(37, x, y)
    np.testing.assert_array_equal(x, a[2:39])
    np.testing.assert_array_equal(y, b[:37])


def test_not_a_number_is_not_hidden():
    """Bounds leave it as it is; a condition on it is not met."""
    x, y = np.array([np.nan, 9, -9, 1, 5], np.float32), np.array([1, 1, 0, -1, np.nan], np.float32)
    a, b = np.empty((2, 5), np.float32)
    bounded(5, x, y, a, b)
    np.testing.assert_array_equal(a, np.array([np.nan, 1.5, -1.5, 1, 1.5], np.float32))
    np.testing.assert_array_equal(b, np.array([np.nan, 9, 0, 0, 5], np.float32))
