"""Values of chosen actions, the best action, and the objective of a soft policy, on the CPU; compiled by numba.

Arrays are float32 unless said otherwise; R rows of A actions, K members. `part`: see `utils/threads.py`.
"""

from __future__ import annotations

import numpy as np

from modules.columns import BLOCK, turn
from modules.compiled import cached, mine
from modules.lanes import LOWEST, Lane, elementwise
from modules.softmax_kernels import AVAILABLE, TINY, TOTAL, spread

F = np.float32
ZERO, LEAST = F(0.0), F(LOWEST)


def _cost(p: Lane, log_p: Lane, q: Lane, ok: Lane, alpha: Lane) -> tuple[Lane, ...]:
    return ((p * (alpha * log_p - q)).where(ok, 0.0),)


def _cost_and_slope(p: Lane, log_p: Lane, q: Lane, ok: Lane, alpha: Lane) -> tuple[Lane, ...]:
    cost = alpha * log_p - q
    return (p * cost).where(ok, 0.0), (cost + alpha.where(p > TINY, 0.0)).where(ok, 0.0)


_COST, _COST_AND_SLOPE = elementwise(_cost), elementwise(_cost_and_slope)
_LESSER, _PRODUCT = elementwise(lambda x, y: (x.or_less(y),)), elementwise(lambda x, y: (x * y,))


@cached
def taken(part, values, actions, out):  # type: ignore[no-untyped-def]
    """`out [R]`: `values [R,A]` of `actions [R']` (int64), row r of that of row r % R'."""
    begin, end = mine(part, len(out))
    own = begin % len(actions)
    for r in range(begin, end):
        out[r] = values[r, actions[own]]
        own = own + 1 if own + 1 < len(actions) else 0


@cached
def taken_backward(part, grad, actions, out):  # type: ignore[no-untyped-def]
    """`out [R,A]`: `grad [R]` at the actions, else 0; see `taken`."""
    begin, end = mine(part, len(out))
    flat, width, own = out.reshape(-1), out.shape[1], begin % len(actions)
    for first in range(begin, end, BLOCK):  # a second pass over all would find it gone from the caches
        last = min(end, first + BLOCK)
        for i in range(first * width, last * width):
            flat[i] = ZERO
        for r in range(first, last):
            out[r, actions[own]] = grad[r]
            own = own + 1 if own + 1 < len(actions) else 0


@cached
def best(part, values, avail, out):  # type: ignore[no-untyped-def]
    """`out [R]` int64: the first of the largest available of `values [R,A]`; 0 where nothing is available."""
    x, ok, width, (begin, end) = values.reshape(-1), avail.reshape(-1), values.shape[1], mine(part, len(out))
    flat, columns = np.empty(width * BLOCK, F), np.zeros(width * BLOCK, F)
    top, found = np.empty(BLOCK, F), np.empty(BLOCK, np.int32)
    for first in range(begin, end, BLOCK):
        rows, at = min(BLOCK, end - first), first * width
        AVAILABLE(rows * width, ((x, at), (ok, at)), ((flat, 0),))
        turn((rows, width), (flat, 0, width), (columns, 0, BLOCK))
        top[:] = LEAST
        found[:] = 0
        for a in range(width):
            for m in range(BLOCK):
                more = columns[a * BLOCK + m] > top[m]
                top[m] = columns[a * BLOCK + m] if more else top[m]
                found[m] = a if more else found[m]
        out[first : first + rows] = found[:rows]


@cached
def soft_cost(part, policy, values, avail, alpha, written):  # type: ignore[no-untyped-def]
    """The sum over the available of pi (alpha log pi - min_k Q_k), and its gradient.

    Args:
        part: see `utils/threads.py`.
        policy: (pi, log pi), both `[R,A]`.
        values: Q_k, `[K,R,A]`.
        avail: `[R,A]`.
        alpha: `[R]`.
        written: (the sums `[R]`; their gradients with respect to pi `[R,A]`, log pi being its logarithm where pi is
            above TINY, else constant; or R = 0 of them: not asked for).
    """
    (probs, log_probs), (out, slopes), width, n_rows = policy, written, avail.shape[1], len(avail)
    p, logs, q, ok, d = (
        probs.reshape(-1),
        log_probs.reshape(-1),
        values.reshape(-1),
        avail.reshape(-1),
        slopes.reshape(-1),
    )
    lesser, costs, alphas = np.empty(width * BLOCK, F), np.empty(width * BLOCK, F), np.empty(width * BLOCK, F)
    columns, total, (begin, end) = np.zeros(width * BLOCK, F), np.empty(BLOCK, F), mine(part, n_rows)
    for first in range(begin, end, BLOCK):
        rows, at = min(BLOCK, end - first), first * width
        count, least, l_0 = rows * width, q, at
        for k in range(1, len(values)):
            _LESSER(count, ((least, l_0), (q, k * n_rows * width + at)), ((lesser, 0),))
            least, l_0 = lesser, 0
        spread(alpha[first:], rows, width, alphas)
        given = (p, at), (logs, at), (least, l_0), (ok, at), (alphas, 0)
        if len(d) > 0:
            _COST_AND_SLOPE(count, given, ((costs, 0), (d, at)))
        else:
            _COST(count, given, ((costs, 0),))
        turn((rows, width), (costs, 0, width), (columns, 0, BLOCK))
        TOTAL(width, ((columns, 0),), (), (), ((total, 0),))
        out[first : first + rows] = total[:rows]


@cached
def scaled(part, rows, factors, out):  # type: ignore[no-untyped-def]
    """`out [R,A]`: each of the `rows [R,A]` times its factor `[R]`."""
    x, y, width, (begin, end) = rows.reshape(-1), out.reshape(-1), rows.shape[1], mine(part, len(rows))
    numbers = np.empty(width * BLOCK, F)
    for first in range(begin, end, BLOCK):
        some, at = min(BLOCK, end - first), first * width
        spread(factors[first:], some, width, numbers)
        _PRODUCT(some * width, ((x, at), (numbers, 0)), ((y, at),))
