"""Products inside kernels against NumPy's, in all the ways operands may lie in memory."""

import numba as nb
import numpy as np
import pytest

from modules import tiles
from modules.tiles import further, multiply, multiply_plus

SIZES = [(1, 1, 1), (6, 16, 64), (48, 64, 64), (13, 9, 5), (7, 31, 3), (2, 70, 33), (11, 18, 1), (5, 47, 200)]


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("add", [False, True])
def test_plain_product(sizes, add):
    """Every number is the sum in double precision to rounding; what lies around the result stays as it was."""
    rows, width, inner = sizes
    a, b, out = numbers(rows, inner), numbers(inner, width, seed=1), numbers(rows + 2, width, seed=2)
    expected = out.astype(np.float64)
    expected[1 : rows + 1] = a.astype(np.float64) @ b + (expected[1 : rows + 1] if add else 0.0)
    multiply(sizes, (a.ravel(), 0, inner, 1), (b.ravel(), 0, width), (out.reshape(-1), width, width), add)
    np.testing.assert_allclose(out, expected, atol=1e-5 * np.sqrt(inner), rtol=1e-5)
    assert np.array_equal(out[[0, -1]], numbers(rows + 2, width, seed=2)[[0, -1]])


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("ahead", [False, True])
def test_bias_and_relu(sizes, relu, ahead):
    """A sum begins with its column's bias, or what `out` holds, and ends with the ReLU; NaN stays NaN."""
    rows, width, inner = sizes
    a, b, bias = numbers(rows, inner), numbers(inner, width, seed=1), numbers(width, seed=2)
    out = numbers(rows, width, seed=3)
    a[-1, 0] = np.nan
    product, (first, second) = a.astype(np.float64) @ b, (a.ravel(), b.ravel())
    options = ((first, 0),) if ahead else ()  # what is asked for ahead changes nothing
    for start, expected in (((bias, 0, 0), product + bias), ((out.reshape(-1), 0, width), product + out)):
        found = out.copy() if start[0] is bias else out
        target = (found.reshape(-1), 0, width)
        multiply_plus(sizes, (first, 0, inner, 1), (second, 0, width), target, start, relu, *options)
        expected = np.where(expected <= 0.0, 0.0, expected) if relu else expected
        np.testing.assert_allclose(found, expected, atol=1e-5 * np.sqrt(inner), rtol=1e-5)


def test_further_is_behind_what_a_product_asks_for():
    """Lines of 16 numbers, four at each tile of 6 x 16 or 6 x 32."""
    assert further.py_func(("memory", 5), (48, 64)) == ("memory", 5 + 8 * (2 if tiles.WIDE else 4) * 64)
    assert further.py_func(("memory", 0), (1, 1)) == ("memory", 64)


@pytest.mark.parametrize("sizes", SIZES)
def test_transposed_and_strided_operands(sizes):
    """`a` read by columns from a wider matrix, `b` and the result as parts of wider ones."""
    rows, width, inner = sizes
    a, b = numbers(inner, rows + 3), numbers(inner, width + 5, seed=1)
    out = np.zeros((rows, width + 4), np.float32)
    a_at, b_at = (a.ravel(), 2, 1, rows + 3), (b.ravel(), 4, width + 5)
    multiply(sizes, a_at, b_at, (out.reshape(-1), 3, width + 4), False)
    expected = a[:, 2 : 2 + rows].astype(np.float64).T @ b[:, 4 : 4 + width]
    np.testing.assert_allclose(out[:, 3 : 3 + width], expected, atol=1e-5 * np.sqrt(inner), rtol=1e-5)
    assert not out[:, :3].any()
    assert not out[:, 3 + width :].any()


def test_a_number_does_not_depend_on_its_tile():
    """The same row alone, among seven and among eight: the same bits, whatever tiles they fall into."""
    a, b = numbers(8, 50), numbers(50, 21, seed=1)
    results = []
    for rows in (1, 7, 8):
        out = np.zeros((rows, 21), np.float32)
        multiply((rows, 21, 50), (a.ravel(), 0, 50, 1), (b.ravel(), 0, 21), (out.reshape(-1), 0, 21), False)
        results.append(out[0])
    assert np.array_equal(results[0], results[1])
    assert np.array_equal(results[0], results[2])


WIDE_PANEL = tiles._make_panel(32, False)


@nb.njit
def product_by_wide_tiles(rows, inner, a, b, out, add):
    first, target = tiles._address(a, 0), (tiles._address(out, 0), 32)
    WIDE_PANEL((rows, inner, add), (first, inner, 1), (tiles._address(b, 0), 32), target, target, (first, 0))


@pytest.mark.parametrize("rows", [1, 5, 13])
def test_tiles_of_avx_512_give_the_same_bits(rows):
    """32 columns at a time, which only processors with wider registers are given, and 16."""
    a, b, out = numbers(rows, 50), numbers(50, 32, seed=1), numbers(rows, 32, seed=2)
    expected = out.copy()
    product_by_wide_tiles(rows, 50, a.ravel(), b.ravel(), out.reshape(-1), True)
    for n in (0, 16):
        multiply((rows, 16, 50), (a.ravel(), 0, 50, 1), (b.ravel(), n, 32), (expected.reshape(-1), n, 32), True)
    assert np.array_equal(out, expected)
