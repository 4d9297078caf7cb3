"""The GRU recurrence on the CPU, compiled by numba: all steps of a row in one call, no memory traffic in between.

A call per step and operation would cost about ten passes over memory and several microseconds each. Rows are
independent of each other: workers take turns at groups of four, and a row's result depends neither on which rows are
computed beside it nor on the number of threads.

Arrays are float32; G groups, P packed rows (see `modules/gru.py`), M rows of the first step, H hidden units.
"""

from __future__ import annotations

import numba as nb
import numpy as np

F = np.float32
TANH_BOUND = F(8.0)  # beyond it tanh is 1 to float32 precision
# tanh(x) = x P(x^2) / Q(x^2) on [-8, 8]: least-squares fit, relative error 7e-9 before rounding, 3.2e-7 after it
P0, P1, P2, P3, P4 = F(1.0), F(0.13444533944), F(3.5716404673e-3), F(2.1895364625e-5), F(1.5231414352e-8)
Q1, Q2, Q3, Q4 = F(0.4677786231), F(2.6164604351e-2), F(3.4113615402e-4), F(8.522849271e-7)
ONE, HALF = F(1.0), F(0.5)
ROWS = 4  # rows multiplied together: each value loaded from the weights is used this often

FAST = {"contract", "arcp", "nsz"}  # fused multiply-add; no reordering, so results do not depend on width
# error_model="numpy" below: checking divisors for zero would keep LLVM from vectorising; short loops over few arrays
# because LLVM vectorises only where it can check cheaply that they do not overlap


@nb.njit(inline="always", fastmath=FAST)
def _tanh(x):  # type: ignore[no-untyped-def]
    x = TANH_BOUND if x > TANH_BOUND else x
    x = -TANH_BOUND if x < -TANH_BOUND else x
    x2 = x * x
    return x * ((((P4 * x2 + P3) * x2 + P2) * x2 + P1) * x2 + P0) / ((((Q4 * x2 + Q3) * x2 + Q2) * x2 + Q1) * x2 + ONE)


@nb.njit(inline="always", fastmath=FAST)
def _sigmoid(x):  # type: ignore[no-untyped-def]
    return HALF * _tanh(HALF * x) + HALF


@nb.njit(inline="always", fastmath=FAST)
def _add_product(a, w, out):  # type: ignore[no-untyped-def]
    """out += a w for `a [4,K]`, `w [K,n]`: four rows and four columns of `a` at a time."""
    inner, width = w.shape
    whole = inner - inner % 4
    for k in range(0, whole, 4):
        a00, a01, a02, a03 = a[0, k], a[0, k + 1], a[0, k + 2], a[0, k + 3]
        a10, a11, a12, a13 = a[1, k], a[1, k + 1], a[1, k + 2], a[1, k + 3]
        a20, a21, a22, a23 = a[2, k], a[2, k + 1], a[2, k + 2], a[2, k + 3]
        a30, a31, a32, a33 = a[3, k], a[3, k + 1], a[3, k + 2], a[3, k + 3]
        for j in range(width):
            w0, w1, w2, w3 = w[k, j], w[k + 1, j], w[k + 2, j], w[k + 3, j]
            out[0, j] = out[0, j] + a00 * w0 + a01 * w1 + a02 * w2 + a03 * w3
            out[1, j] = out[1, j] + a10 * w0 + a11 * w1 + a12 * w2 + a13 * w3
            out[2, j] = out[2, j] + a20 * w0 + a21 * w1 + a22 * w2 + a23 * w3
            out[3, j] = out[3, j] + a30 * w0 + a31 * w1 + a32 * w2 + a33 * w3
    for k in range(whole, inner):
        for m in range(ROWS):
            for j in range(width):
                out[m, j] += a[m, k] * w[k, j]


@nb.njit(inline="always", fastmath=FAST)
def _gates(h, b, old, x, inner, after):  # type: ignore[no-untyped-def]
    """One row: `h [3H]` is h_{t-1} W, `old [H]` is h_{t-1}; the others are rows of the arguments of `forward`."""
    size = len(old)
    for j in range(2 * size):
        x[j] = _sigmoid(x[j] + h[j] + b[j])
    for j in range(size):
        inner[j] = h[2 * size + j] + b[3 * size + j]
    for j in range(size):
        x[2 * size + j] = _tanh(x[2 * size + j] + b[2 * size + j] + x[j] * inner[j])
    for j in range(size):
        after[j] = x[2 * size + j] + x[size + j] * (old[j] - x[2 * size + j])


@nb.njit(cache=True, fastmath=FAST, nogil=True, error_model="numpy")
def forward(part, counts, parameters, h_0, gates, h_n, hidden):  # type: ignore[no-untyped-def]
    """All steps.

    Args:
        part: (this call's number, how many calls share the rows).
        counts: rows of every step.
        parameters: recurrent weights W `[G,H,3H]`; the biases of r, z and n outside of r's reach and of n within,
            `[G,4H]`.
        h_0: state before the first step, `[G,M,H]`.
        gates: `[G,P,3H]`: in, the input part; out, r, z and n.
        h_n: `[G,P,H]`: out, h_{t-1} W_n + b_n.
        hidden: `[G,P,H]`: out, h_t.
    """
    (worker, workers), (weight, bias) = part, parameters
    size = hidden.shape[2]
    old, product = np.zeros((ROWS, size), F), np.zeros((ROWS, 3 * size), F)
    for g in range(len(hidden)):
        previous, start = 0, 0
        for t in range(len(counts)):
            before = h_0[g] if t == 0 else hidden[g, previous:start]
            for first in range(ROWS * worker, counts[t], ROWS * workers):
                rows = min(ROWS, counts[t] - first)
                for m in range(rows):
                    one, given = old[m], before[first + m]
                    for j in range(size):
                        one[j] = given[j]
                product[:] = F(0.0)
                _add_product(old, weight[g], product)
                for m in range(rows):
                    x, inner, after = (
                        gates[g, start + first + m],
                        h_n[g, start + first + m],
                        hidden[g, start + first + m],
                    )
                    _gates(product[m], bias[g], old[m], x, inner, after)
            previous, start = start, start + counts[t]


@nb.njit(inline="always", fastmath=FAST)
def _through_gates(d, x, old, inner, out, kept, d_bias):  # type: ignore[no-untyped-def]
    """One row back through h = n + z (h' - n), n = tanh(x_n + r h_n) and the sigmoids of r and z.

    `d [H]`: in, the gradient of h; overwritten. `kept [H]`: d z. `out [4H]`: gradients of n before and after r, see
    `backward`; added to `d_bias [4H]`.
    """
    size = len(d)
    for j in range(size):
        kept[j] = d[j] * x[size + j]
    for j in range(size):
        out[3 * size + j] = d[j] * (ONE - x[size + j]) * (ONE - x[2 * size + j] * x[2 * size + j])
    for j in range(size):
        out[2 * size + j] = d[j] * (old[j] - x[2 * size + j]) * x[size + j] * (ONE - x[size + j])
    for j in range(size):
        d[j] = out[3 * size + j] * x[j]
    for j in range(size):
        out[j] = d[j]
    for j in range(size):
        out[size + j] = d[j] * inner[j] * (ONE - x[j])
    for j in range(4 * size):
        d_bias[j] += out[j]


@nb.njit(cache=True, fastmath=FAST, nogil=True, error_model="numpy")
def backward(part, counts, weight, before, saved, grad, grads):  # type: ignore[no-untyped-def]
    """Gradients of the gates, the last step first; see `forward`.

    Args:
        part: (this call's number, how many calls share the rows).
        counts: rows of every step.
        weight: W with its columns in the order n, r, z, transposed, `[G,3H,H]`.
        before: (h_0, hidden).
        saved: (gates, h_n).
        grad: of the outputs, `[G,P,H]`.
        grads: written: d_gates `[G,P,4H]`, with respect to h W_n + b_n, r, z and the input part of n; its sum over
            the rows of each worker, added to d_bias `[workers,G,4H]`; d_h `[G,M,H]`, zeros in, gradient of h_0 out.
    """
    (worker, workers), (h_0, hidden), (gates, h_n) = part, before, saved
    d_gates, d_bias, d_h = grads
    size = hidden.shape[2]
    d, kept, through = np.zeros(size, F), np.zeros((ROWS, size), F), np.zeros((ROWS, 3 * size), F)
    for g in range(len(hidden)):
        start = hidden.shape[1]
        for t in range(len(counts) - 1, -1, -1):
            start -= counts[t]
            past = h_0[g] if t == 0 else hidden[g, start - counts[t - 1] : start]
            for first in range(ROWS * worker, counts[t], ROWS * workers):
                rows = min(ROWS, counts[t] - first)
                for m in range(rows):
                    now, carry, out = grad[g, start + first + m], d_h[g, first + m], d_gates[g, start + first + m]
                    for j in range(size):
                        d[j] = carry[j] + now[j]
                    x, inner = gates[g, start + first + m], h_n[g, start + first + m]
                    _through_gates(d, x, past[first + m], inner, out, kept[m], d_bias[worker, g])
                    copy = through[m]
                    for j in range(3 * size):
                        copy[j] = out[j]
                _add_product(through, weight[g], kept)
                for m in range(rows):
                    carry, one = d_h[g, first + m], kept[m]
                    for j in range(size):
                        carry[j] = one[j]
