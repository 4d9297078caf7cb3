"""The GRU on the CPU, compiled by numba: input and recurrent products, gates and gradients of a block of rows together.

Between the operations a block stays in the processor's caches: what goes to memory is the input, the result, and what
the backward pass needs. Each part has rows of its own, neighbours, as many as make up its share of all steps:
work is even when episodes differ in length. A row's result depends neither on which rows are computed beside it
nor on the number of threads; sums over rows, which weights' gradients are, are one for each part.

Arrays are float32; G groups, P packed rows (see `modules/gru.py`), M rows of the first step, I inputs, H hidden units.
"""

from __future__ import annotations

import numba as nb
import numpy as np

from modules.compiled import FAST, cached
from modules.tiles import multiply

F = np.float32
TANH_BOUND = F(8.0)  # beyond it tanh is 1 to float32 precision
# tanh(x) = x P(x^2) / Q(x^2) on [-8, 8]: least-squares fit, relative error 7e-9 before rounding, 3.2e-7 after it
P0, P1, P2, P3, P4 = F(1.0), F(0.13444533944), F(3.5716404673e-3), F(2.1895364625e-5), F(1.5231414352e-8)
Q1, Q2, Q3, Q4 = F(0.4677786231), F(2.6164604351e-2), F(3.4113615402e-4), F(8.522849271e-7)
ONE, HALF = F(1.0), F(0.5)
ROWS = 48  # of a block: its gates and their gradients fit the second-level cache beside the weights

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


@nb.njit
def _mine(part, counts):  # type: ignore[no-untyped-def]
    """First and last row (exclusive) of this part; `counts` of steps say how long each row is."""
    (_, first, last, whole), total, length, done = part, counts.sum(), len(counts), 0
    begin, end = 0, 0
    for row in range(counts[0]):
        while counts[length - 1] <= row:
            length -= 1
        done += length
        if done * whole <= first * total:
            begin = row + 1
        if done * whole <= last * total:
            end = row + 1
    return begin, end


@nb.njit
def _block(rows):  # type: ignore[no-untyped-def]
    """Rows of each block, all nearly the same, at most ROWS."""
    blocks = max(1, (rows + ROWS - 1) // ROWS)
    return max(1, (rows + blocks - 1) // blocks)


@nb.njit(inline="always", fastmath=FAST)
def _gates(x, inner, b, old, after):  # type: ignore[no-untyped-def]
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


@cached
def forward(part, counts, weights, given, written):  # type: ignore[no-untyped-def]
    """All steps.

    Args:
        part: see `utils/threads.py`.
        counts: rows of every step.
        weights: (input weights `[G,I,3H]`, recurrent ones `[G,H,3H]`, both with columns r, z, n; biases of r, z, n
            outside of r's reach, n within, `[G,4H]`).
        given: (inputs x `[G,P,I]`, state before the first step h_0 `[G,M,H]`).
        written: (h_t `[G,P,H]`; r, z, n and h_{t-1} W_n + b_n `[G,P,4H]` for `backward`, or of P = 0 rows: not kept).
    """
    (w_in, w_hidden, bias), (x, h_0), (hidden, saved), (begin, end) = weights, given, written, _mine(part, counts)
    n_in, size = x.shape[2], hidden.shape[2]
    gates, keep = np.empty((ROWS, 4 * size), F), saved.shape[1] > 0
    memory = gates.reshape(-1)
    for g in range(len(hidden)):
        of_in, of_hidden, inputs = w_in[g].reshape(-1), w_hidden[g].reshape(-1), x[g].reshape(-1)
        states, previous, start = hidden[g].reshape(-1), 0, 0
        for t in range(len(counts)):
            before = h_0[g].reshape(-1) if t == 0 else states[previous * size : start * size]
            last = min(end, counts[t])
            block = _block(last - begin)
            for first in range(begin, last, block):
                rows = min(block, last - first)
                new = (inputs, (start + first) * n_in, n_in, 1)
                past = (before, first * size, size, 1)
                multiply((rows, 3 * size, n_in), new, (of_in, 0, 3 * size), (memory, 0, 4 * size), False)
                multiply((rows, 2 * size, size), past, (of_hidden, 0, 3 * size), (memory, 0, 4 * size), True)
                n_part, inner_n = (of_hidden, 2 * size, 3 * size), (memory, 3 * size, 4 * size)
                multiply((rows, size, size), past, n_part, inner_n, False)
                for m in range(rows):
                    row, here = gates[m], first + m
                    old = before[here * size : (here + 1) * size]
                    _gates(row[: 3 * size], row[3 * size :], bias[g], old, hidden[g, start + here])
                    if keep:
                        copy = saved[g, start + here]
                        for j in range(4 * size):
                            copy[j] = row[j]
            previous, start = start, start + counts[t]


@nb.njit(inline="always", fastmath=FAST)
def _through_gates(d, x, old, out, kept, d_bias):  # type: ignore[no-untyped-def]
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


@cached
def backward(part, counts, weights, known, grad, written, sums):  # type: ignore[no-untyped-def]
    """Gradients, the last step first; see `forward`.

    Args:
        part: see `utils/threads.py`.
        counts: rows of every step.
        weights: transposed, (input weights `[G,3H,I]`, recurrent ones `[G,3H,H]` with rows n, r, z).
        known: (x, h_0, hidden, saved).
        grad: of the outputs, `[G,P,H]`.
        written: (gradients of x `[G,P,I]`, or of P = 0 rows: not asked for; of h_0 `[G,M,H]`, zeros in).
        sums: added to, one for each part: of the input weights `[parts,G,I,3H]`, the recurrent ones
            `[parts,G,H,3H]` with columns n, r, z, the biases `[parts,G,4H]` in the order n, r, z, n outside of r.
    """
    (w_in, w_hidden), (x, h_0, hidden, saved), (d_x, d_h), number = weights, known, written, part[0]
    begin, end = _mine(part, counts)
    n_in, size = x.shape[2], hidden.shape[2]
    d, d_gates = np.empty(size, F), np.empty((ROWS, 4 * size), F)
    memory, wanted = d_gates.reshape(-1), d_x.shape[1] > 0
    for g in range(len(hidden)):
        of_in, of_hidden, inputs = w_in[g].reshape(-1), w_hidden[g].reshape(-1), x[g].reshape(-1)
        states, carries, d_inputs = hidden[g].reshape(-1), d_h[g].reshape(-1), d_x[g].reshape(-1)
        d_in, d_hidden = sums[0][number, g].reshape(-1), sums[1][number, g].reshape(-1)
        start = hidden.shape[1]
        for t in range(len(counts) - 1, -1, -1):
            start -= counts[t]
            past = h_0[g].reshape(-1) if t == 0 else states[(start - counts[t - 1]) * size : start * size]
            last = min(end, counts[t])
            block = _block(last - begin)
            for first in range(begin, last, block):
                rows = min(block, last - first)
                for m in range(rows):
                    here = first + m
                    now, carry = grad[g, start + here], d_h[g, here]
                    for j in range(size):
                        d[j] = carry[j] + now[j]
                    old = past[here * size : (here + 1) * size]
                    _through_gates(d, saved[g, start + here], old, d_gates[m], carry, sums[2][number, g])
                place, apart = first * size, size
                inside, outside = (memory, 0, 4 * size), (memory, size, 4 * size)
                turned = (past, place, 1, apart)
                carry_out = (carries, place, apart)
                multiply((rows, size, 3 * size), (memory, 0, 4 * size, 1), (of_hidden, 0, size), carry_out, True)
                multiply((size, 3 * size, rows), turned, inside, (d_hidden, 0, 3 * size), True)
                place, apart = (start + first) * n_in, n_in
                multiply((n_in, 3 * size, rows), (inputs, place, 1, apart), outside, (d_in, 0, 3 * size), True)
                if wanted:
                    d_row = (d_inputs, place, apart)
                    multiply((rows, n_in, 3 * size), (memory, size, 4 * size, 1), (of_in, 0, n_in), d_row, False)
