"""QMIX's hypernetworks and mixing on the CPU, compiled by numba: a block of states goes through all of them at once.

Arrays are float32; R rows, S state, N agents, E units, H hidden units of a weight's hypernetwork. The first maps of all
hypernetworks are one of W = 2H + 2E columns: for w_1, w_2, v (these through a ReLU), and b_1, which is this map alone.
`absolute` is whether weights count by their absolute values.
"""

from __future__ import annotations

import numba as nb
import numpy as np

from modules.compiled import FAST, cached, cleared, mine
from modules.dense_kernels import ROWS, add_rows, one_after_the_other, through_relu
from modules.lanes import Lane, elementwise
from modules.tiles import multiply, multiply_plus

F = np.float32
ZERO, ONE = F(0.0), F(1.0)


def _elu(x: Lane) -> tuple[Lane, ...]:
    return (x.where(x > 0.0, x.exp() - 1.0),)  # NaN stays NaN


_ELU = elementwise(_elu)


@nb.njit(fastmath=FAST | {"reassoc"})
def _dot(x, y):  # type: ignore[no-untyped-def]
    total = ZERO  # summed in an order that depends on the length alone
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


@nb.njit(inline="always", fastmath=FAST)
def _hidden(q, weights, bias, absolute, out):  # type: ignore[no-untyped-def]
    """`out [E]` = ELU(|w_1|^T q + b_1) of one row."""
    units = len(out)
    for e in range(units):
        out[e] = bias[e]
    for i in range(len(q)):
        value, own = q[i], weights[i * units : (i + 1) * units]
        for e in range(units):
            out[e] += value * _weight(own[e], absolute)
    _ELU(units, ((out, 0),), ((out, 0),))


@cached
def forward(part, absolute, given, weights, biases, kept, out):  # type: ignore[no-untyped-def]
    """`out [R]` = |w_2| . ELU(|w_1|^T q + b_1) + v.

    Args:
        part: see `utils/threads.py`.
        absolute: see above.
        given: (q `[R,N]`, states `[R,S]`).
        weights: (the first maps `[S,W]`; the second ones for w_1 `[H,N*E]`, w_2 `[H,E]`, v `[E]`).
        biases: theirs: (of each of the first maps), `[N*E]`, `[E]`, `[1]`.
        kept: written: (results of the first maps `[R,W]`, w_1 `[R,N*E]`, w_2 `[R,E]`, the ELU's results `[R,E]`); or
            memory of ROWS rows for every part, not kept then.
        out: written.
    """
    (q, state), (w_first, w_1, w_2, w_v), (b_firsts, b_1, b_2, b_v) = given, weights, biases
    layer, maps_1, maps_2, hidden = kept
    (n_hidden, width), units, (inner, every) = w_1.shape, len(w_v), w_first.shape
    spare, b_first = np.empty(units, F), np.empty(every, F)
    one_after_the_other(b_firsts, b_first)
    begin, end = mine(part, len(out))
    for start in range(begin, end, ROWS):
        rows, here = min(ROWS, end - start), start if len(layer) == len(out) else part[0] * ROWS
        first, bent = (layer.reshape(-1), here * every, every), every - units
        states, straight = (state.reshape(-1), start * inner, inner, 1), (first[0], first[1] + bent, every)
        maps = w_first.reshape(-1)
        multiply_plus(
            (rows, bent, inner),
            states,
            (maps, 0, every),
            first,
            (b_first, 0, 0),
            True,
            (state.reshape(-1), (start + rows) * inner),
        )
        multiply_plus((rows, units, inner), states, (maps, bent, every), straight, (b_first, bent, 0), False)
        of_1 = (maps_1.reshape(-1), here * width, width)
        multiply_plus((rows, width, n_hidden), (*first, 1), (w_1.reshape(-1), 0, width), of_1, (b_1, 0, 0), False)
        second = (layer.reshape(-1), here * every + n_hidden, every, 1)
        of_2 = (maps_2.reshape(-1), here * units, units)
        multiply_plus((rows, units, n_hidden), second, (w_2.reshape(-1), 0, units), of_2, (b_2, 0, 0), False)
        for m in range(rows):
            r = here + m
            row = layer[r]
            _hidden(q[start + m], maps_1[r], row[every - units :], absolute, hidden[r])
            for e in range(units):
                spare[e] = _weight(maps_2[r, e], absolute)
            v = _dot(row[2 * n_hidden : 2 * n_hidden + units], w_v) + b_v[0]
            out[start + m] = v + _dot(hidden[r], spare)


@nb.njit(inline="always", fastmath=FAST)
def _through_mixing(g, q, absolute, known, written):  # type: ignore[no-untyped-def]
    """One row: gradients (of q `[N]`, of w_1 `[N*E]`, b_1 `[E]`, w_2 `[E]`) from `g`, that of the mixer's output."""
    (w_1, w_2, hidden), (d_q, d_1, d_b, d_2), units = known, written, len(known[2])
    for e in range(units):
        d_2[e] = g * hidden[e] * _slope(w_2[e], absolute)
    for e in range(units):
        d_b[e] = g * _weight(w_2[e], absolute) * (ONE if hidden[e] > ZERO else hidden[e] + ONE)
    for i in range(len(q)):
        value, own, d_own = q[i], w_1[i * units : (i + 1) * units], d_1[i * units : (i + 1) * units]
        for e in range(units):
            d_own[e] = _weight(own[e], absolute)
        d_q[i] = _dot(d_b, d_own)
        for e in range(units):
            d_own[e] = value * d_b[e] * _slope(own[e], absolute)


@cached
def backward(part, absolute, known, weights, grad, d_q, sums):  # type: ignore[no-untyped-def]
    """Gradients from `grad [R]`; see `forward`.

    Args:
        part: see `utils/threads.py`.
        absolute: see above.
        known: (q, states, and what `forward` kept).
        weights: transposed, of the second maps: `[N*E,H]`, `[E,H]`, `[E]`.
        grad: of the outputs.
        d_q: written, `[R,N]`.
        sums: written, one for each part: of the weights, transposed, `[parts,W,S]`, `[parts,N*E,H]`, `[parts,E,H]`,
            `[parts,E]`, then of the biases `[parts,W]`, `[parts,N*E]`, `[parts,E]`, `[parts,1]`.
    """
    (q, state, layer, maps_1, maps_2, hidden), (w_1, w_2, w_v), number = known, weights, part[0]
    cleared(number, sums)
    (width, n_hidden), units, inner, every = w_1.shape, len(w_v), state.shape[1], layer.shape[1]
    d_layer, d_1, d_2 = np.empty((ROWS, every), F), np.empty((ROWS, width), F), np.empty((ROWS, units), F)
    begin, end = mine(part, len(grad))
    for start in range(begin, end, ROWS):
        rows = min(ROWS, end - start)
        for m in range(rows):
            r, d_row, g = start + m, d_layer[m], grad[start + m]
            written = (d_q[r], d_1[m], d_row[every - units :], d_2[m])
            _through_mixing(g, q[r], absolute, (maps_1[r], maps_2[r], hidden[r]), written)
            of_v, d_v, total = layer[r, 2 * n_hidden : every - units], d_row[2 * n_hidden :], sums[3][number]
            for e in range(units):
                d_v[e] = g * w_v[e]
            for e in range(units):
                total[e] += g * of_v[e]
            sums[7][number, 0] += g
        add_rows(rows, (d_1.reshape(-1), 0, width), sums[5][number])
        add_rows(rows, (d_2.reshape(-1), 0, units), sums[6][number])
        first, d_first = (layer.reshape(-1), start * every, every), d_layer.reshape(-1)
        of_1 = (sums[1][number].reshape(-1), 0, n_hidden)
        multiply((width, n_hidden, rows), (d_1.reshape(-1), 0, 1, width), first, of_1, True)
        second, of_2 = (layer.reshape(-1), start * every + n_hidden, every), (sums[2][number].reshape(-1), 0, n_hidden)
        multiply((units, n_hidden, rows), (d_2.reshape(-1), 0, 1, units), second, of_2, True)
        given = (d_1.reshape(-1), 0, width, 1)
        multiply((rows, n_hidden, width), given, (w_1.reshape(-1), 0, n_hidden), (d_first, 0, every), False)
        given = (d_2.reshape(-1), 0, units, 1)
        multiply((rows, n_hidden, units), given, (w_2.reshape(-1), 0, n_hidden), (d_first, n_hidden, every), False)
        through_relu(rows, (d_first, 0, every), first, sums[4][number, : every - units])
        add_rows(rows, (d_first, every - units, every), sums[4][number, every - units :])
        states, of_first = (state.reshape(-1), start * inner, inner), (sums[0][number].reshape(-1), 0, inner)
        multiply(
            (every, inner, rows),
            (d_first, 0, 1, every),
            states,
            of_first,
            True,
            (state.reshape(-1), (start + rows) * inner),
        )
