"""QMIX's mixing of one state at a time, compiled: the hypernetworks' outputs are read once and nothing is kept of them.

Arrays are float32; R rows, N agents, E units. `absolute` is whether weights count by their absolute values.
"""

from __future__ import annotations

import numba as nb
import numpy as np

from modules.compiled import FAST, cached, mine
from modules.softmax_kernels import ONE, SUMS, ZERO, F, exponential


@nb.njit(fastmath=SUMS)
def _dot(x, y):  # type: ignore[no-untyped-def]
    total = ZERO
    for j in range(len(x)):
        total += x[j] * y[j]
    return total


@nb.njit(inline="always", fastmath=FAST)
def _weight(x, absolute):  # type: ignore[no-untyped-def]
    return abs(x) if absolute else x


@nb.njit(inline="always", fastmath=FAST)
def _slope(x, absolute):  # type: ignore[no-untyped-def]
    """Derivative of `_weight`."""
    return ONE if not absolute or x > ZERO else (-ONE if x < ZERO else ZERO)


@cached
def forward(part, utilities, hyper, absolute, hidden, out):  # type: ignore[no-untyped-def]
    """`out [R]` = |w_2| . ELU(|w_1|^T q + b_1) + v.

    Args:
        part: see `utils/threads.py`.
        utilities: q, `[R,N]`.
        hyper: (w_1 `[R,N*E]`, b_1 `[R,E]`, w_2 `[R,E]`, v `[R,1]`).
        absolute: see above.
        hidden: `[R,E]`: written, the ELU's results.
        out: `[R]`: written.
    """
    (w_1, b_1, w_2, v), units, (begin, end) = hyper, hidden.shape[1], mine(part, len(out))
    bits, below, power = np.empty(units, np.int32), np.empty(units, F), np.empty(units, F)
    for r in range(begin, end):
        row, weights, last = hidden[r], w_1[r], w_2[r]
        for e in range(units):
            row[e] = b_1[r, e]
        for i in range(utilities.shape[1]):
            q, own = utilities[r, i], weights[i * units : (i + 1) * units]
            for e in range(units):
                row[e] += q * _weight(own[e], absolute)
        for e in range(units):
            below[e] = ZERO if row[e] > ZERO else row[e]  # NaN stays NaN
        exponential(below, power, bits, bits.view(F))
        for e in range(units):
            row[e] = row[e] if row[e] > ZERO else power[e] - ONE
        for e in range(units):
            below[e] = _weight(last[e], absolute)
        out[r] = v[r, 0] + _dot(row, below)


@cached
def backward(part, known, absolute, grad, d_utilities, d_hyper):  # type: ignore[no-untyped-def]
    """Gradients of q and of w_1, b_1, w_2 from `grad [R]`, written; `known` is (q, w_1, w_2, hidden), see `forward`."""
    (utilities, w_1, w_2, hidden), (d_1, d_b, d_2), (begin, end) = known, d_hyper, mine(part, len(grad))
    units = hidden.shape[1]
    for r in range(begin, end):
        g, row, last, d_h, d_last = grad[r], hidden[r], w_2[r], d_b[r], d_2[r]
        for e in range(units):
            d_last[e] = g * row[e] * _slope(last[e], absolute)
        for e in range(units):
            d_h[e] = g * _weight(last[e], absolute) * (ONE if row[e] > ZERO else row[e] + ONE)
        for i in range(utilities.shape[1]):
            q, own, d_own = utilities[r, i], w_1[r, i * units : (i + 1) * units], d_1[r, i * units : (i + 1) * units]
            for e in range(units):
                d_own[e] = _weight(own[e], absolute)
            d_utilities[r, i] = _dot(d_h, d_own)
            for e in range(units):
                d_own[e] = q * d_h[e] * _slope(own[e], absolute)
