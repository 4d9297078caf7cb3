"""Element-wise part of the GRU recurrence on the CPU, compiled by numba: one pass over memory per step.

PyTorch needs about ten passes for the same, and its sigmoid and tanh cost as much as the matrix product.
Arrays are float32; G groups, P packed rows (see `modules/gru.py`), M rows of the first step, H hidden units.
Step t owns the packed rows `start .. start + count`.
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

FAST = {"contract", "arcp", "nsz"}  # fused multiply-add; no reordering, so results do not depend on width
# error_model="numpy" below: checking divisors for zero would keep LLVM from vectorising


@nb.njit(inline="always", fastmath=FAST)
def _tanh(x):  # type: ignore[no-untyped-def]
    x = TANH_BOUND if x > TANH_BOUND else x
    x = -TANH_BOUND if x < -TANH_BOUND else x
    x2 = x * x
    return x * ((((P4 * x2 + P3) * x2 + P2) * x2 + P1) * x2 + P0) / ((((Q4 * x2 + Q3) * x2 + Q2) * x2 + Q1) * x2 + ONE)


@nb.njit(inline="always", fastmath=FAST)
def _sigmoid(x):  # type: ignore[no-untyped-def]
    return HALF * _tanh(HALF * x) + HALF


@nb.njit(cache=True, fastmath=FAST, nogil=True, error_model="numpy")
def forward_step(start, h_gates, before, gates, h_n, hidden):  # type: ignore[no-untyped-def]
    """One step for the rows `start .. start + count`, count = rows of `before`.

    Args:
        start: first packed row of the step.
        h_gates: h_{t-1} W + b, `[G,M,3H]`, the first count rows.
        before: h_{t-1}, `[G,count,H]`.
        gates: `[G,P,3H]`: in, the input part; out, r, z and n.
        h_n: h_{t-1} W_n + b_n, `[G,P,H]`, written at the step's rows.
        hidden: h_t, `[G,P,H]`, written at the step's rows.
    """
    groups, count, size = before.shape
    for g in range(groups):
        for m in range(count):
            x, h, old = gates[g, start + m], h_gates[g, m], before[g, m]
            inner, after = h_n[g, start + m], hidden[g, start + m]
            for j in range(2 * size):
                x[j] = _sigmoid(x[j] + h[j])
            for j in range(size):
                inner[j] = h[2 * size + j]
            for j in range(size):
                x[2 * size + j] = _tanh(x[2 * size + j] + x[j] * h[2 * size + j])
            for j in range(size):
                after[j] = x[2 * size + j] + x[size + j] * (old[j] - x[2 * size + j])


@nb.njit(cache=True, fastmath=FAST, nogil=True, error_model="numpy")
def backward_step(start, grad, before, saved, grads, d_h):  # type: ignore[no-untyped-def]
    """Gradients of the gates for the rows `start .. start + count`.

    Args:
        start: first packed row of the step.
        grad: of the outputs, `[G,P,H]`.
        before: h_{t-1}, `[G,count,H]`.
        saved: (gates, h_n) of the forward pass.
        grads: (d_gates `[G,P,3H]`, d_n `[G,P,H]`), written: with respect to h_{t-1} W + b; to the input part of n.
        d_h: `[G,M,H]`: in, gradient of h_t through step t + 1; out, what reaches h_{t-1} past the gates.
    """
    gates, h_n = saved
    d_gates, d_new = grads
    groups, count, size = before.shape
    for g in range(groups):
        for m in range(count):
            x, inner, old = gates[g, start + m], h_n[g, start + m], before[g, m]
            out, out_n, now, carry = d_gates[g, start + m], d_new[g, start + m], grad[g, start + m], d_h[g, m]
            for j in range(size):
                r, z, n = x[j], x[size + j], x[2 * size + j]
                d = carry[j] + now[j]
                d_n = d * (ONE - z) * (ONE - n * n)
                d_z = d * (old[j] - n) * z * (ONE - z)
                out[j] = d_n * inner[j] * r * (ONE - r)
                out[size + j] = d_z
                out[2 * size + j] = d_n * r
                out_n[j] = d_n
                carry[j] = d * z
