"""One step of a GRU for one row, compiled by numba: gates forward and backward.

Arrays are float32; H hidden units.
"""

from __future__ import annotations

import numba as nb
import numpy as np

from modules.compiled import FAST

F = np.float32
TANH_BOUND = F(8.0)  # beyond it tanh is 1 to float32 precision
# tanh(x) = x P(x^2) / Q(x^2) on [-8, 8]: least-squares fit, relative error 7e-9 before rounding, 3.2e-7 after it
P0, P1, P2, P3, P4 = F(1.0), F(0.13444533944), F(3.5716404673e-3), F(2.1895364625e-5), F(1.5231414352e-8)
Q1, Q2, Q3, Q4 = F(0.4677786231), F(2.6164604351e-2), F(3.4113615402e-4), F(8.522849271e-7)
ONE, HALF = F(1.0), F(0.5)

# without checks of divisors (`cached`), which would keep LLVM from vectorising; short loops over few arrays, because it
# vectorises only where it can check cheaply that they do not overlap


@nb.njit(inline="always", fastmath=FAST)
def _tanh(x):  # type: ignore[no-untyped-def]
    x = TANH_BOUND if x > TANH_BOUND else x
    x = -TANH_BOUND if x < -TANH_BOUND else x
    x2 = x * x
    return x * ((((P4 * x2 + P3) * x2 + P2) * x2 + P1) * x2 + P0) / ((((Q4 * x2 + Q3) * x2 + Q2) * x2 + Q1) * x2 + ONE)


@nb.njit(inline="always", fastmath=FAST)
def sigmoid(x):  # type: ignore[no-untyped-def]
    """1 / (1 + exp(-x)), by tanh."""
    return HALF * _tanh(HALF * x) + HALF


@nb.njit(inline="always", fastmath=FAST)
def gates(x, inner, b, old, after):  # type: ignore[no-untyped-def]
    """One row, without biases `b [4H]` on entry: `x [3H]` becomes r, z, n, `inner [H]` h_{t-1} W_n + b_n."""
    size = len(old)
    for j in range(2 * size):
        x[j] = sigmoid(x[j] + b[j])
    for j in range(size):
        inner[j] = inner[j] + b[3 * size + j]
    for j in range(size):
        x[2 * size + j] = _tanh(x[2 * size + j] + b[2 * size + j] + x[j] * inner[j])
    for j in range(size):
        after[j] = x[2 * size + j] + x[size + j] * (old[j] - x[2 * size + j])


@nb.njit(inline="always", fastmath=FAST)
def through_gates(d, x, old, out, kept, d_bias):  # type: ignore[no-untyped-def]
    """One row back through h = n + z (h' - n), n = tanh(x_n + r h_n) and the sigmoids of r and z.

    `d [H]`: in, the gradient of h; overwritten. `x [4H]`: see `saved`. `kept [H]`: written, d z. `out [4H]`: written,
    gradients with respect to h' W_n + b_n, r, z and the input part of n; added to `d_bias [4H]`.
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
        out[size + j] = d[j] * x[3 * size + j] * (ONE - x[j])
    for j in range(4 * size):
        d_bias[j] += out[j]
