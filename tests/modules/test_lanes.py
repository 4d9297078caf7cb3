"""Formulas over lanes against numpy, of every length, in place, with what is not a number."""

import numba as nb
import numpy as np
import pytest

from modules.lanes import elementwise, summed

FORMULA = elementwise(lambda x, y: (2.0 * x * y + 1.0, (1.0 - x) / (y * y + 0.5)))
BOUNDED = elementwise(lambda x, y: (x.within(1.5), x.where_positive(y)))

FUNCTIONS = elementwise(lambda x, y: (x.exp(), y.log(), x.or_less(y), x.at_least(0.5)))
CHOSEN = elementwise(lambda x, ok, bound: ((x * bound).where(ok, -1.0), bound.where(x > 0.25, x)))
SUM = summed(lambda x, ok: ((x * x).where(ok, 0.0), 2.0 * x))


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


@nb.njit
def functions(size, x, y, out):
    FUNCTIONS(size, ((x, 0), (y, 0)), ((out[0], 0), (out[1], 0), (out[2], 0), (out[3], 0)))


@nb.njit
def chosen(size, x, ok, bound, out):
    CHOSEN(size, ((x, 0), (ok, 0), bound), ((out[0], 0), (out[1], 0)))


@nb.njit
def total_of(size, x, ok, out):
    return SUM(size, ((x, 1), (ok, 1)), ((out, 0),))


def test_exponential_and_logarithm():
    """To 2e-7 over their range; what is below it is 0, what is not a number stays one."""
    x = np.concatenate((np.linspace(-87, 88, 100_001), [0.0, -87.5, -1e30, -np.inf, np.nan])).astype(np.float32)
    y = np.concatenate((np.logspace(-37.9, 38.5, 100_003), [1.0, 2.0, np.nan])).astype(np.float32)
    y[:50_000] = np.linspace(0.5, 2.0, 50_000)
    out = np.empty((4, len(x)), np.float32)
    functions(len(x), x, y, out)
    np.testing.assert_allclose(out[0][:-4], np.exp(x[:-4].astype(np.float64)), rtol=2e-7)
    np.testing.assert_array_equal(out[0][-5:], np.array([1, 0, 0, 0, np.nan], np.float32))
    np.testing.assert_allclose(out[1], np.log(y.astype(np.float64)), rtol=2e-7, atol=2e-8)
    np.testing.assert_array_equal(out[2], np.minimum(x, y))  # NaN if either is
    np.testing.assert_array_equal(out[3], np.maximum(x, np.float32(0.5)))


@pytest.mark.parametrize("size", [1, 5, 16, 50])
def test_conditions_and_numbers_for_all(size):
    """Truth values come as an array or from a comparison."""
    x = np.random.default_rng(size).standard_normal(size, np.float32)
    ok, out = x * 7 % 1 < 0.5, np.empty((2, size), np.float32)
    chosen(size, x, ok, np.float32(3.0), out)
    np.testing.assert_array_equal(out[0], np.where(ok, x * np.float32(3.0), np.float32(-1.0)))
    np.testing.assert_array_equal(out[1], np.where(x > np.float32(0.25), np.float32(3.0), x))


@pytest.mark.parametrize("size", [0, 1, 2, 3, 18, 32, 75, 200])
def test_sums(size):
    """Of all numbers once; of none 0; other results are written."""
    rng = np.random.default_rng(size)
    x, ok, out = (
        rng.standard_normal(size + 2, np.float32) - 5,
        rng.random(size + 2) < 0.5,
        np.full(size + 1, 7, np.float32),
    )
    total = total_of(size, x, ok, out)
    inside = x[1 : size + 1]
    np.testing.assert_allclose(total, (inside.astype(np.float64) ** 2)[ok[1 : size + 1]].sum(), rtol=1e-5)
    np.testing.assert_array_equal(out, [*(2 * inside), 7])
