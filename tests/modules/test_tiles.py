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
def test_bias_and_relu(sizes, relu):
    """A sum begins with its column's bias, or what `out` holds, and ends with the ReLU; NaN stays NaN."""
    rows, width, inner = sizes
    a, b, bias = numbers(rows, inner), numbers(inner, width, seed=1), numbers(width + 2, seed=2)
    out, wide = numbers(rows, width + 3, seed=3), width + 3
    a[rows // 2, 0] = np.nan if rows > 1 else 0.5
    for start, first in (((bias, 2, 0), bias[2:]), (None, out[:, 1 : 1 + width])):
        found = out.copy()
        target = (found.reshape(-1), 1, wide)
        expected = first + a.astype(np.float64) @ b
        multiply_plus(sizes, (a.ravel(), 0, inner, 1), (b.ravel(), 0, width), target, start or target, relu)
        expected = np.where(expected <= 0.0, 0.0, expected) if relu else expected
        np.testing.assert_allclose(found[:, 1 : 1 + width], expected, atol=1e-5 * np.sqrt(inner), rtol=1e-5)
        assert np.isnan(found).any() == (rows > 1)
        assert np.array_equal(found[:, [0, -1]], out[:, [0, -1]])


@pytest.mark.parametrize("place", [0, 10**9])
def test_what_is_asked_for_ahead_changes_nothing(place):
    """Also where there is no memory."""
    sizes, a, b, bias = (13, 31, 20), numbers(13, 20), numbers(20, 31, seed=1), numbers(31, seed=2)
    operands, outs = ((a.ravel(), 0, 20, 1), (b.ravel(), 0, 31)), [np.zeros((13, 31), np.float32) for _ in range(4)]
    targets = [(out.reshape(-1), 0, 31) for out in outs]
    multiply(sizes, *operands, targets[0], False)
    multiply(sizes, *operands, targets[1], False, (bias, place))
    multiply_plus(sizes, *operands, targets[2], (bias, 0, 0), True)
    multiply_plus(sizes, *operands, targets[3], (bias, 0, 0), True, (bias, place))
    assert np.array_equal(outs[0], outs[1])
    assert np.array_equal(outs[2], outs[3])


@pytest.mark.parametrize(
    ("sizes", "tiles_of_16", "tiles_of_32"), [((48, 64), 32, 16), ((1, 1), 1, 1), ((13, 31), 15, 15)]
)
def test_further_is_behind_what_a_product_asks_for(sizes, tiles_of_16, tiles_of_32):
    """Lines of 16 numbers, four at each tile of 6 x 16 or 6 x 32, or one as wide as a smaller power of two."""
    assert further(("memory", 5), sizes) == ("memory", 5 + 64 * (tiles_of_32 if tiles.WIDE else tiles_of_16))


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


WIDE_SUM, WIDE_LAYER = tiles._make_panel(32, False), tiles._make_panel(32, True)


@nb.njit
def products_by_wide_tiles(rows, inner, a, b, bias, outs):
    first, of_b, target = tiles._address(a, 0), (tiles._address(b, 0), 32), (tiles._address(outs[0], 0), 32)
    WIDE_SUM((rows, inner, True), (first, inner, 1), of_b, target, target, (first, 0))
    target, start = (tiles._address(outs[1], 0), 32), (tiles._address(bias, 0), 0)
    WIDE_LAYER((rows, inner, True), (first, inner, 1), of_b, target, start, (first, 0))


@pytest.mark.parametrize("rows", [1, 5, 13])
def test_tiles_of_avx_512_give_the_same_bits(rows):
    """32 columns at a time, which only processors with wider registers are given, and 16; sums and layers."""
    a, b, bias, out = numbers(rows, 50), numbers(50, 32, seed=1), numbers(32, seed=3), numbers(rows, 32, seed=2)
    outs, expected = (out.copy(), out.copy()), (out.copy(), out.copy())
    products_by_wide_tiles(rows, 50, a.ravel(), b.ravel(), bias, tuple(x.reshape(-1) for x in outs))
    for n in (0, 16):
        operands = (rows, 16, 50), (a.ravel(), 0, 50, 1), (b.ravel(), n, 32)
        multiply(*operands, (expected[0].reshape(-1), n, 32), True)
        multiply_plus(*operands, (expected[1].reshape(-1), n, 32), (bias, n, 0), True)
    assert np.array_equal(outs, expected)
