"""Element-wise part of the GRU recurrence on the CPU, compiled by numba: one pass over memory per step.

PyTorch needs about ten passes for the same, and its sigmoid and tanh cost as much as the matrix product.
Arrays are float32; G groups, T steps, M rows, H hidden units. Time t is one slice.
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
def forward_step(t, x_gates, h_gates, rz, h_n, new, hidden):  # type: ignore[no-untyped-def]
    """From x_gates `[G,T,M,3H]` and h_gates `[G,M,3H]` write rz, h_n, new at t and hidden `[G,T+1,M,H]` at t + 1."""
    groups, _, rows, size = new.shape
    for g in range(groups):
        for m in range(rows):
            x, h = x_gates[g, t, m], h_gates[g, m]
            gates, before, after = rz[g, t, m], hidden[g, t, m], hidden[g, t + 1, m]
            inner, candidate = h_n[g, t, m], new[g, t, m]
            for j in range(2 * size):
                gates[j] = _sigmoid(x[j] + h[j])
            for j in range(size):
                inner[j] = h[2 * size + j]
            for j in range(size):
                candidate[j] = _tanh(x[2 * size + j] + gates[j] * inner[j])
            for j in range(size):
                after[j] = candidate[j] + gates[size + j] * (before[j] - candidate[j])


@nb.njit(cache=True, fastmath=FAST, nogil=True, error_model="numpy")
def backward_step(t, grad, d_h, saved, d_gates, d_x, carry):  # type: ignore[no-untyped-def]
    """Gradients of the gates at t.

    Args:
        t: step.
        grad: of the outputs, `[G,T,M,H]`.
        d_h: of h_t through step t + 1, `[G,M,H]`.
        saved: (rz, h_n, new, hidden) of the forward pass.
        d_gates: written at t, with respect to h_{t-1} W + b, `[G,T,M,3H]`.
        d_x: written at t, with respect to the input part, `[G,T,M,3H]`.
        carry: written, what reaches h_{t-1} past the gates, `[G,M,H]`.
    """
    rz, h_n, new, hidden = saved
    groups, _, rows, size = new.shape
    for g in range(groups):
        for m in range(rows):
            gates, inner, candidate, before = rz[g, t, m], h_n[g, t, m], new[g, t, m], hidden[g, t, m]
            out, out_x, past = d_gates[g, t, m], d_x[g, t, m], carry[g, m]
            later, now = d_h[g, m], grad[g, t, m]
            for j in range(size):
                r, z, n = gates[j], gates[size + j], candidate[j]
                d = later[j] + now[j]
                d_n = d * (ONE - z) * (ONE - n * n)
                d_z = d * (before[j] - n) * z * (ONE - z)
                d_r = d_n * inner[j] * r * (ONE - r)
                out[j] = d_r
                out[size + j] = d_z
                out[2 * size + j] = d_n * r
                out_x[j] = d_r
                out_x[size + j] = d_z
                out_x[2 * size + j] = d_n
                past[j] = d * z
