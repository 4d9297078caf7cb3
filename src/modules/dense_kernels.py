"""Affine maps one after the other on the CPU, compiled by numba: blocks of rows go through all of them in the caches.

Each part has rows of its own, neighbours. A row's result depends neither on the rows beside it nor on the number of
threads; sums over rows, which weights' gradients are, are one for each part.

Arrays are float32; G groups, P rows, I inputs, O outputs, each map's own; L maps.
"""

from __future__ import annotations

import numba as nb
import numpy as np

from modules.compiled import FAST, cached, mine
from modules.tiles import multiply

F = np.float32
ROWS = 48  # of a block


@nb.njit(inline="always", fastmath=FAST)
def _finish(out, bias, relu):  # type: ignore[no-untyped-def]
    """Add the bias to a block of rows `[R,O]`, then ReLU where asked for."""
    for m in range(len(out)):
        row = out[m]
        if relu:
            for j in range(len(bias)):
                value = row[j] + bias[j]
                row[j] = F(0.0) if value < F(0.0) else value  # NaN stays NaN
        else:
            for j in range(len(bias)):
                row[j] = row[j] + bias[j]


@cached
def forward(part, weights, biases, relu, x, outs):  # type: ignore[no-untyped-def]
    """All maps, ReLU between them.

    Args:
        part: see `utils/threads.py`.
        weights: of every map, `[G,I,O]`.
        biases: `[G,O]`.
        relu: whether the last map has a ReLU, too.
        x: inputs, `[G,P,I]`, or `[1,P,I]`, the same for all groups.
        outs: written: every map's results, `[G,P,O]`; those of all but the last one may be `[parts,ROWS,O]` and
            are not kept then.
    """
    number, last = part[0], len(weights) - 1
    groups, n_rows = outs[last].shape[:2]
    begin, end = mine(part, n_rows)
    for start in range(begin, end, ROWS):
        rows = min(ROWS, end - start)
        for g in range(groups):
            source, first = x[min(g, len(x) - 1)], start
            for k in range(last + 1):
                inner, width = weights[k].shape[1:]
                kept = k == last or outs[k].shape[1] == n_rows
                out, here = outs[k][g if kept else number], start if kept else 0
                given, weight = (source.reshape(-1), first * inner, inner, 1), weights[k][g].reshape(-1)
                target = (out.reshape(-1), here * width, width)
                multiply((rows, width, inner), given, (weight, 0, width), target, False)
                _finish(out[here : here + rows], biases[k][g], relu or k < last)
                source, first = out, here


@nb.njit(inline="always", fastmath=FAST)
def _through_relu(d, out):  # type: ignore[no-untyped-def]
    """Gradients `d [R,O]` of a ReLU's results `out [R,O]` become those of its inputs."""
    for m in range(len(out)):
        row, result = d[m], out[m]
        for j in range(len(result)):
            row[j] = F(0.0) if result[j] <= F(0.0) else row[j]


@nb.njit(inline="always", fastmath=FAST)
def _copy(rows, out):  # type: ignore[no-untyped-def]
    for m in range(len(rows)):
        row, copy = rows[m], out[m]
        for j in range(len(row)):
            copy[j] = row[j]


@nb.njit(inline="always", fastmath=FAST)
def _add_rows(rows, total):  # type: ignore[no-untyped-def]
    for m in range(len(rows)):
        row = rows[m]
        for j in range(len(row)):
            total[j] += row[j]


@cached
def backward(part, weights, relu, known, grad, d_x, sums):  # type: ignore[no-untyped-def]
    """Gradients, the last map first; see `forward`.

    Args:
        part: see `utils/threads.py`.
        weights: of every map, transposed, `[G,O,I]`.
        relu: whether the last map has a ReLU.
        known: (inputs x, every map's results `[G,P,O]`).
        grad: of the last results, `[G,P,O]`.
        d_x: written, as `x`; or of P = 0 rows: not asked for.
        sums: added to, one for each part: (of every map's weights, transposed, `[parts,G,O,I]`, of its biases
            `[parts,G,1,O]`).
    """
    number, (x, outs), last, wanted = part[0], known, len(weights) - 1, d_x.shape[1] > 0
    (groups, n_rows), widest = grad.shape[:2], 0
    for k in range(last + 1):
        widest = max(widest, weights[k].shape[1])
    d, d_next = np.empty(ROWS * widest, F), np.empty(ROWS * widest, F)
    begin, end = mine(part, n_rows)
    for start in range(begin, end, ROWS):
        rows = min(ROWS, end - start)
        for g in range(groups):
            member, width = min(g, len(x) - 1), grad.shape[2]
            _copy(grad[g, start : start + rows], d[: rows * width].reshape(rows, width))
            for k in range(last, -1, -1):
                width, inner = weights[k].shape[1:]
                block = d[: rows * width].reshape(rows, width)
                if relu or k < last:
                    _through_relu(block, outs[k][g, start : start + rows])
                _add_rows(block, sums[1][k][number, g, 0])
                source = x[member] if k == 0 else outs[k - 1][g]
                # d^T source: what is read from memory goes through the innermost loop once
                given = (source.reshape(-1), start * inner, inner)
                d_weight = (sums[0][k][number, g].reshape(-1), 0, inner)
                multiply((width, inner, rows), (d, 0, 1, width), given, d_weight, True)
                turned, sizes = (weights[k][g].reshape(-1), 0, inner), (rows, inner, width)
                if k > 0:
                    multiply(sizes, (d, 0, width, 1), turned, (d_next, 0, inner), False)
                    d, d_next = d_next, d
                elif wanted:
                    target = (d_x[member].reshape(-1), start * inner, inner)
                    multiply(sizes, (d, 0, width, 1), turned, target, member < g)
