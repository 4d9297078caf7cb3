"""Values of chosen actions, the best action, and the objective of a soft policy, on the CPU; compiled by numba.

Arrays are float32 unless said otherwise; R rows of A actions, K members. `part`: see `utils/threads.py`.
"""

from __future__ import annotations

import numba as nb
import numpy as np

from modules.compiled import FAST, cached, mine
from modules.softmax_kernels import LOWEST, masked_dot, maximum

F = np.float32
ZERO = F(0.0)


@cached
def taken(part, values, actions, out):  # type: ignore[no-untyped-def]
    """`out [R]`: `values [R,A]` of `actions [R]` (int64)."""
    begin, end = mine(part, len(out))
    for r in range(begin, end):
        out[r] = values[r, actions[r]]


@cached
def taken_backward(part, grad, actions, out):  # type: ignore[no-untyped-def]
    """`out [R,A]`: `grad [R]` at the actions, else 0."""
    begin, end = mine(part, len(out))
    flat, width = out.reshape(-1), out.shape[1]
    for i in range(begin * width, end * width):
        flat[i] = ZERO
    for r in range(begin, end):
        out[r, actions[r]] = grad[r]


@cached
def best(part, values, avail, out):  # type: ignore[no-untyped-def]
    """`out [R]` int64: the first of the largest available of `values [R,A]`; 0 where nothing is available."""
    seen = np.empty(values.shape[1], F)
    begin, end = mine(part, len(out))
    for r in range(begin, end):
        row, ok = values[r], avail[r]
        for a in range(len(row)):
            seen[a] = row[a] if ok[a] else LOWEST
        top, found = maximum(seen), 0
        while found < len(row) - 1 and seen[found] != top:
            found += 1
        out[r] = found if seen[found] == top else 0


@nb.njit(inline="always", fastmath=FAST)
def _costs(alpha, logs, values, row, out):  # type: ignore[no-untyped-def]
    """`out [A]`: alpha log pi - min_k Q_k of one row."""
    for a in range(len(out)):
        out[a] = values[0, row, a]
    for k in range(1, len(values)):
        for a in range(len(out)):
            value = values[k, row, a]
            out[a] = value if value < out[a] or value != value else out[a]  # NaN stays NaN
    for a in range(len(out)):
        out[a] = alpha * logs[a] - out[a]


@cached
def soft_cost(part, policy, values, avail, alpha, out):  # type: ignore[no-untyped-def]
    """`out [R]`: sum over the available of pi (alpha log pi - min_k Q_k).

    Args:
        part: see `utils/threads.py`.
        policy: (pi, log pi), both `[R,A]`.
        values: Q_k, `[K,R,A]`.
        avail: `[R,A]`.
        alpha: `[R]`.
        out: written.
    """
    (probs, logs), costs = policy, np.empty(avail.shape[1], F)
    begin, end = mine(part, len(out))
    for r in range(begin, end):
        _costs(alpha[r], logs[r], values, r, costs)
        out[r] = masked_dot(probs[r], costs, avail[r])


@cached
def soft_cost_backward(part, policy, values, avail, alpha, grad, written):  # type: ignore[no-untyped-def]
    """Gradients of (pi, log pi), both `[R,A]`, from `grad [R]`; Q_k gets none."""
    (probs, logs), (d_probs, d_logs), costs = policy, written, np.empty(avail.shape[1], F)
    begin, end = mine(part, len(grad))
    for r in range(begin, end):
        _costs(alpha[r], logs[r], values, r, costs)
        ok, p, d_p, d_l, g, both = avail[r], probs[r], d_probs[r], d_logs[r], grad[r], alpha[r] * grad[r]
        for a in range(len(p)):
            d_p[a] = g * costs[a] if ok[a] else ZERO
        for a in range(len(p)):
            d_l[a] = both * p[a] if ok[a] else ZERO
