"""Input layer, GRU and output layer on the CPU, compiled by numba: a block of rows goes through all of one step.

Between the operations a block stays in the processor's caches: what goes to memory is the input, the result, and what
the backward pass needs. Each part has rows of its own, neighbours, as many as make up its share of all steps:
work is even when episodes differ in length. A row's result depends neither on which rows are computed beside it
nor on the number of threads; sums over rows, which weights' gradients are, are one for each part.

Arrays are float32; G groups, P packed rows (see `modules/gru.py`), M rows of the first step, D inputs, J places of
ones, H hidden units, X inputs of the GRU, F outputs. Input and output layer may be missing: arrays of X = 0, of F = 0.
"""

from __future__ import annotations

import numba as nb
import numpy as np

from modules.compiled import cached, cleared
from modules.dense_kernels import SAME, add_at_places, add_block, add_rows, affine, sole, through_relu, through_sole
from modules.gru_kernels import kept_gates, last_gates, through_gates
from modules.tiles import PAD, further, multiply, multiply_plus

F = np.float32
ROWS = 80  # of a block: its gates and their gradients fit the second-level cache beside the weights


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
def _join_biases(of_inputs, of_states, out):  # type: ignore[no-untyped-def]
    """`out [4H]`: of r, z and n from outside of r's reach, of n from within; both given ones are `[3H]`: r, z, n."""
    size = len(out) // 4
    for k in range(size):
        out[k], out[size + k] = of_inputs[k] + of_states[k], of_inputs[size + k] + of_states[size + k]
        out[2 * size + k], out[3 * size + k] = of_inputs[2 * size + k], of_states[2 * size + k]


@nb.njit(inline="always")
def _matrix(weight):  # type: ignore[no-untyped-def]
    return weight.reshape(-1), 0, weight.shape[1]


@nb.njit
def _block(rows):  # type: ignore[no-untyped-def]
    """Rows of each block, all nearly the same, at most ROWS."""
    blocks = max(1, (rows + ROWS - 1) // ROWS)
    return max(1, (rows + blocks - 1) // blocks)


@nb.njit(inline="always")
def _products(rows, source, past, cell, block, size, ahead):  # type: ignore[no-untyped-def]
    """Of `source [R,X]` and states before, `past [R,H]`, into `block [R,4H]`, biases included.

    x W + h W of r and z, x W of n, h W of n. `source` and `block` are (memory, first place, distance of rows), `past`
    (memory, first place, whether all are zeros), `ahead` (of the first product, of the others).
    """
    (w_in, w_hidden, bias), (x, x_0, n_in), (h, h_0, zeros), (memory, first, apart) = cell, source, past, block
    read_next, kept = ahead
    sizes, given = (rows, 3 * size, n_in), (x, x_0, n_in, 1)
    multiply_plus(sizes, given, (w_in, 0, 3 * size), block, (bias, 0, 0), False, read_next)
    if zeros:
        for m in range(rows):
            SAME(size, ((bias, 3 * size),), ((memory, first + 3 * size + m * apart),))
        return
    before, inside = (h, h_0, size, 1), (memory, first + 3 * size, apart)
    multiply((rows, 2 * size, size), before, (w_hidden, 0, 3 * size), block, True, kept)
    kept = further(kept, (rows, 2 * size))
    multiply_plus((rows, size, size), before, (w_hidden, 2 * size, 3 * size), inside, (bias, 3 * size, 0), False, kept)


@nb.njit(inline="always")
def _new_states(rows, block, past, after, saved, size):  # type: ignore[no-untyped-def]
    """From what `_products` made, the states before and the new ones; gates go to `saved` if it has memory."""
    (memory, first, apart), (h, h_0), (new, n_0), (gates, s_0) = block, past, after, saved
    for m in range(rows):
        x, g = first + m * apart, 4 * size * (s_0 + m)
        products = (memory, x), (memory, x + size), (memory, x + 2 * size), (memory, x + 3 * size)
        old, target = (h, h_0 + m * size), (new, n_0 + m * size)
        if len(gates) > 0:
            kept = (gates, g), (gates, g + size), (gates, g + 2 * size), (gates, g + 3 * size)
            kept_gates(size, (*products, old), (*kept, target))
        else:
            last_gates(size, (*products, old), (target,))


@cached
def forward(part, counts, weights, biases, given, written):  # type: ignore[no-untyped-def]
    """All steps.

    Args:
        part: see `utils/threads.py`.
        counts: rows of every step.
        weights: (of the input layer `[G,D+J',X]`, where J' is what `ones` counts in; of the GRU's inputs `[G,X,3H]` and
            states `[G,H,3H]`, columns r, z, n; of the output layer `[G,H,F]`).
        biases: (of the input layer `[G,X]`, of the GRU's inputs `[G,3H]` and states `[G,3H]`, of the output layer
            `[G,F]`).
        given: (inputs `[G,P,D]`; places of ones among the D+J' inputs, or -1, `[G,P,J]`; state before the first step
            `[G,M,H]`, M = 0: zeros); inputs and places may be `[1,P,...]`, the same for all groups.
        written: (outputs `[G,P,F]`; states `[G,P,H]`; and for `backward`: results of the input layer `[G,P,X]`; r, z, n
            and h W_n + b_n `[G,P,4H]`). Of P = 0 rows: not kept.
    """
    (w_first, w_in, w_hidden, w_last), (b_first, b_in, b_hidden, b_last) = weights, biases
    (x, ones, h_0), (out, hidden, features, saved) = given, written
    (begin, end), n_in, size, width = _mine(part, counts), w_in.shape[1], w_hidden.shape[1], w_last.shape[2]
    kept, block = hidden.shape[1] > 0, (np.empty(ROWS * (4 * size + PAD), F), 0, 4 * size + PAD)
    layer, states = np.empty(ROWS * n_in, F), np.empty(0 if kept else 2 * (end - begin) * size, F)
    zeros, joined = np.zeros(ROWS * size, F), np.empty(4 * size, F)
    for g in range(len(h_0)):
        member, start, previous = min(g, len(x) - 1), 0, 0
        _join_biases(b_in[g], b_hidden[g], joined)
        inputs, cell = x[member].reshape(-1), (w_in[g].reshape(-1), w_hidden[g].reshape(-1), joined)
        for t in range(len(counts)):
            # where the states of this step's rows begin, after it and before
            after, a_0 = (hidden[g].reshape(-1), start) if kept else (states, (t % 2) * (end - begin) - begin)
            before, b_0 = (after, previous) if kept else (states, ((t + 1) % 2) * (end - begin) - begin)
            before, b_0 = (h_0[g].reshape(-1), 0) if t == 0 else (before, b_0)
            none = t == 0 and h_0.shape[1] == 0
            last = min(end, counts[t])
            step = _block(last - begin)
            for first in range(begin, last, step):
                rows, here = min(step, last - first), start + first
                source, s_0 = inputs, here * n_in
                following = here + rows if first + step < last else start + counts[t] + begin
                ahead = (inputs, following * x.shape[2])
                if w_first.shape[2] > 0:
                    source, s_0 = (features[g].reshape(-1), here * n_in) if features.shape[1] > 0 else (layer, 0)
                    read, places = (inputs, here * x.shape[2], x.shape[2]), ones[member, here : here + rows]
                    into = (source, s_0, n_in)
                    affine((rows, x.shape[2]), read, places, (w_first[g], b_first[g]), into, True, ahead)
                    ahead = further(ahead, (rows, n_in))
                past = (zeros, 0, True) if none else (before, (b_0 + first) * size, False)
                new = (after, (a_0 + first) * size)
                rest = further(ahead, (rows, 3 * size))  # after it, what the gates will be written to
                rest = (saved[g].reshape(-1), here * 4 * size) if saved.shape[1] > 0 else rest
                _products(rows, (source, s_0, n_in), past, cell, block, size, (ahead, rest))
                _new_states(rows, block, past[:2], new, (saved[g].reshape(-1), here), size)
                if width > 0:
                    of_last, target = (w_last[g].reshape(-1), 0, width), (out[g].reshape(-1), here * width, width)
                    sizes, bias = (rows, width, size), (b_last[g], 0, 0)
                    multiply_plus(sizes, (*new, size, 1), of_last, target, bias, False)
            previous, start = start, start + counts[t]


@nb.njit(inline="always")
def _old_states(rows, carry, saved, past, block, sums):  # type: ignore[no-untyped-def]
    """Gradients of states, in and out of `carry`, and of products, to `block [R,4H]` and added to `sums [4H]`."""
    (d, d_0, size), (gates, s_0), (h, h_0), (memory, first, apart) = carry, saved, past, block
    totals = (sums, 0), (sums, size), (sums, 2 * size), (sums, 3 * size)
    for m in range(rows):
        g, x, state = 4 * size * (s_0 + m), first + m * apart, (d, d_0 + m * size)
        known = (gates, g), (gates, g + size), (gates, g + 2 * size), (gates, g + 3 * size)
        written = (memory, x), (memory, x + size), (memory, x + 2 * size), (memory, x + 3 * size)
        through_gates(size, (state, *known, (h, h_0 + m * size), *totals), (state, *written, *totals))


@nb.njit(inline="always")
def _from_outputs(rows, grad, weight, of_states, sums, columns):  # type: ignore[no-untyped-def]
    """Through the output layer: gradients `grad [R,F]` to those of states `[R,H]`, added to, weights, biases.

    `of_states` is (their gradients: memory, first place, distance of rows; the states: memory, first place). Returns
    whether none of the states has a gradient, then.
    """
    (d_out, d_0, width), (carry, (states, s_0)), (of_weight, of_bias) = grad, of_states, sums
    carries, c_0, size = carry
    total = (of_weight.reshape(-1), 0, size)
    add_rows(rows, grad, of_bias)
    if sole(rows, grad, width, columns):
        through_sole(rows, grad, columns, weight, (states, s_0, size), total, (carry, True))
        return columns[:rows].max() < 0 and not carries[c_0 : c_0 + rows * size].any()
    multiply((rows, size, width), (d_out, d_0, width, 1), weight, (carries, c_0, size), True)
    multiply((width, size, rows), (d_out, d_0, 1, width), (states, s_0, size), total, True)
    return False


@nb.njit(inline="always")
def _into_cell(rows, within, known, sums, ahead):  # type: ignore[no-untyped-def]
    """Gradients of the GRU's weights, added to `sums` (of its inputs', of its states').

    `within` is (memory, first place, distance of rows) of the gradients of n, r, z, n; `known` (the states before, the
    inputs), each (memory, first place, row's length), and whether all states before are zeros; `ahead` (of the first
    product, of the second).
    """
    ((past, p_0, size), (source, s_0, n_in), none), (d_in, d_hidden) = known, sums
    outside = (within[0], within[1] + size, within[2])
    of_hidden, of_in = (d_hidden.reshape(-1), 0, 3 * size), (d_in.reshape(-1), 0, 3 * size)
    if not none:
        multiply((size, 3 * size, rows), (past, p_0, 1, size), within, of_hidden, True, ahead[0])
    multiply((n_in, 3 * size, rows), (source, s_0, 1, n_in), outside, of_in, True, ahead[1])


@nb.njit(inline="always")
def _into_layer(rows, outside, weight, result, given, sums, ahead):  # type: ignore[no-untyped-def]
    """Through the input layer: gradients of r, z, n, `outside`, to those of its weights.

    `outside` is (memory, first place, distance of rows), `weight` (rows, the same of the transposed one), `result` (the
    layer's results, the first one of the block, X, memory for their gradients), `given` (inputs, the first one of the
    block, D, places of ones `[R,J]`), `ahead` (of the second product, of the first).
    """
    (features, f_0, n_in, d_layer), (inputs, x_0, width, places), apart = result, given, result[2] + PAD
    gradients = (d_layer, 0, apart)
    multiply((rows, n_in, weight[0]), (*outside, 1), weight[1], gradients, False, ahead[1])
    through_relu(rows, gradients, (features, f_0, n_in), sums[2])
    add_at_places(rows, gradients, sums[1], places, width)
    # its transpose times the inputs: what is read from memory goes through the innermost loop once
    total = (sums[0].reshape(-1), 0, width)
    multiply((n_in, width, rows), (d_layer, 0, 1, apart), (inputs, x_0, width), total, True, ahead[0])


@cached
def backward(part, counts, weights, known, grad, written, sums):  # type: ignore[no-untyped-def]
    """Gradients, the last step first; see `forward`.

    Args:
        part: see `utils/threads.py`.
        counts: rows of every step.
        weights: transposed: of the GRU's inputs `[G,3H,X'>=X]`, of its states `[G,3H,H'>=H]` with rows n, r, z, of the
            output layer `[G,F,H'>=H]`.
        known: (inputs, places of ones, state before the first step, states, results of the input layer, gates).
        grad: of the outputs `[G,P,F]`; of the states `[G,P,H]` if there is no output layer.
        written: (gradients of the GRU's inputs `[G,P,X]` where there is no input layer; P = 0 rows: not asked for; of
            the state before the first step `[G,counts[0],H]`, zeros in; no one's gradient where M = 0).
        sums: written, one for each part: (of the input layer's weights, `[parts,G,X,D]` and for the ones
            `[parts,G,J',X]`, its biases `[parts,G,X]`; of the GRU's input weights `[parts,G,X,3H]`, its state weights
            `[parts,G,H,3H]` with columns n, r, z, its biases `[parts,G,4H]` in the order n, r, z, n outside of r; of
            the output layer `[parts,G,F,H]` and `[parts,G,F]`).
    """
    (w_in, w_hidden, w_last), (x, ones, h_0, hidden, features, saved), (d_x, d_h) = weights, known, written
    (begin, end), number, n_in, size = _mine(part, counts), part[0], sums[3].shape[2], hidden.shape[2]
    cleared(number, sums)
    apart, layered, width, given = 4 * size + PAD, sums[0].shape[2] > 0, w_last.shape[1], x.shape[2]
    memory, d_layer, columns = np.empty(ROWS * apart, F), np.empty(ROWS * (n_in + PAD), F), np.empty(ROWS, np.int64)
    within, outside, zeros = (memory, 0, apart), (memory, size, apart), np.zeros(ROWS * size, F)
    for g in range(len(hidden)):
        member, start, states = min(g, len(x) - 1), hidden.shape[1], hidden[g].reshape(-1)
        inputs, carries, outputs = x[member].reshape(-1), d_h[g].reshape(-1), grad[g].reshape(-1)
        source = features[g].reshape(-1) if layered else inputs
        of_in, of_last, of_hidden = _matrix(w_in[g]), _matrix(w_last[g]), _matrix(w_hidden[g])
        for t in range(len(counts) - 1, -1, -1):
            start -= counts[t]
            past = h_0[g].reshape(-1) if t == 0 else states[(start - counts[t - 1]) * size : start * size]
            last, none, step = min(end, counts[t]), t == 0 and h_0.shape[1] == 0, _block(min(end, counts[t]) - begin)
            for first in range(begin, last, step):
                rows, here, carry = min(step, last - first), start + first, (carries, first * size, size)
                if width > 0:
                    d_out, of_outputs = (outputs, here * width, width), (sums[6][number, g], sums[7][number, g])
                    of_states = carry, (states, here * size)
                    if _from_outputs(rows, d_out, of_last, of_states, of_outputs, columns) and d_x.shape[1] == 0:
                        continue
                else:
                    add_block(rows, size, (outputs, here * size, size), carry)
                known_gates = saved[g].reshape(-1), here
                old, o_0 = (zeros, 0) if none else (past, first * size)
                _old_states(rows, carry, known_gates, (old, o_0), within, sums[5][number, g])
                then = here + rows if first + step < last else start - (counts[t - 1] if t > 0 else 0) + begin
                read_next, known_next = (inputs, then * given), (saved[g].reshape(-1), then * 4 * size)
                if not none:
                    multiply((rows, size, 3 * size), (*within, 1), of_hidden, carry, True, (states, then * size))
                cell_in, of_cell = (source, here * n_in, n_in), (sums[3][number, g], sums[4][number, g])
                _into_cell(rows, within, ((old, o_0, size), cell_in, none), of_cell, (read_next, known_next))
                if layered:
                    totals = (sums[0][number, g], sums[1][number, g], sums[2][number, g])
                    result, places = (source, here * n_in, n_in, d_layer), ones[member, here : here + rows]
                    rest = further(known_next, (n_in, 3 * size)), (source, then * n_in)
                    read = (inputs, here * given, given, places)
                    _into_layer(rows, outside, (3 * size, of_in), result, read, totals, rest)
                elif d_x.shape[1] > 0:
                    target = (d_x[g].reshape(-1), here * n_in, n_in)
                    multiply((rows, n_in, 3 * size), (*outside, 1), of_in, target, False)
