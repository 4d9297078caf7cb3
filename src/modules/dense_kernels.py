"""Affine maps one after the other on the CPU, compiled by numba: blocks of rows go through all of them in the caches.

Each part has rows of its own, neighbours. A row's result depends neither on the rows beside it (as long as all are
finite) nor on the number of threads; sums over rows, which weights' gradients are, are one for each part.

Arrays are float32; G groups, P rows, I inputs, O outputs, each map's own; L maps.
"""

from __future__ import annotations

import numba as nb
import numpy as np

from modules.compiled import cached, cleared, mine
from modules.lanes import Lane, elementwise
from modules.row_sums import sum_rows
from modules.tiles import PAD, further, multiply, multiply_plus

F = np.float32
ROWS = 96  # of a block


def _outer(total: Lane, x: Lane, factor: Lane) -> tuple[Lane, ...]:
    return (total + factor * x,)


def _through_relu(d: Lane, y: Lane, total: Lane) -> tuple[Lane, ...]:
    d = d.where_positive(y)
    return d, total + d


PLUS, RELU = elementwise(lambda x, y: (x + y,)), elementwise(lambda x: (x.where_positive(x),))  # NaN stays NaN
SAME, _THROUGH_RELU = elementwise(lambda x: (x,)), elementwise(_through_relu)
_TIMES, _PLUS_TIMES = elementwise(lambda x, factor: (factor * x,)), elementwise(_outer)


@nb.njit
def one_after_the_other(biases, out):  # type: ignore[no-untyped-def]
    """`out` = the numbers of all `biases`, a tuple of `[O]` each."""
    at = 0
    for k in range(len(biases)):
        out[at : at + len(biases[k])] = biases[k]
        at += len(biases[k])


@nb.njit(inline="always")
def through_relu(rows, d, out, total):  # type: ignore[no-untyped-def]
    """Gradients of a ReLU's results `out` in a block of R rows become those of its inputs, and add to `total [O]`.

    `d` and `out` are (memory, first place, distance of rows).
    """
    (memory, first, apart), (results, r_0, r_m), sums = d, out, (total, 0)
    for m in range(rows):
        row = (memory, first + m * apart)
        _THROUGH_RELU(len(total), (row, (results, r_0 + m * r_m), sums), (row, sums))


@nb.njit(inline="always")
def add_block(rows, size, d, totals):  # type: ignore[no-untyped-def]
    """A block of R rows added to another; both (memory, first place, distance of rows)."""
    (memory, first, apart), (sums, s_0, s_m) = d, totals
    for m in range(rows):
        total = (sums, s_0 + m * s_m)
        PLUS(size, (total, (memory, first + m * apart)), (total,))


@nb.njit(inline="always")
def add_rows(rows, d, total):  # type: ignore[no-untyped-def]
    """The sum of a block of R rows, added to `total [O]`; `d` is (memory, first place, distance of rows)."""
    add_block(rows, len(total), d, (total, 0, 0))


@nb.njit(inline="always")
def affine(sizes, given, places, layer, out, relu, ahead):  # type: ignore[no-untyped-def]
    """x W + b of a block, or its ReLU; inputs are numbers, then ones among zeros.

    Args:
        sizes: (rows R, inputs D that are numbers).
        given: of the numbers (memory, first place, row's length).
        places: of the ones among all I, -1 for none, `[R,J]`; J = 0: D is all I.
        layer: (W `[I,O]`, b `[O]`).
        out: (memory, first place, distance of rows).
        relu: whether the result goes through one.
        ahead: see `modules/tiles.py`.
    """
    (rows, inner), (weight, bias), (target, o_0, apart) = sizes, layer, out
    width, start = len(bias), (bias, 0, 0)
    if places.shape[1] > 0 or inner == 0:
        _start_at_places(rows, weight, places, bias, out)
        start = out
    if inner > 0:
        multiply_plus((rows, width, inner), (*given, 1), (weight.reshape(-1), 0, width), out, start, relu, ahead)
    elif relu:
        for m in range(rows):
            row = (target, o_0 + m * apart)
            RELU(width, (row,), (row,))


@nb.njit(inline="always")
def _start_at_places(rows, weight, places, bias, out):  # type: ignore[no-untyped-def]
    """Biases and what inputs of 1 add to them, rows of `weight [I,O]`, as results of a block; see `affine`."""
    (target, o_0, apart), source, width = out, weight.reshape(-1), weight.shape[1]
    firsts = np.empty(places.shape[1], np.int64)
    for m in range(rows):
        count = 0
        for k in range(places.shape[1]):
            if places[m, k] >= 0:
                firsts[count] = places[m, k] * width
                count += 1
        sum_rows(width, ((bias, 0),), (source, firsts, count), ((target, o_0 + m * apart),))


@nb.njit(inline="always")
def add_at_places(rows, d, total, places, first):  # type: ignore[no-untyped-def]
    """The gradients of those rows of weights: rows of `total` are added to, the first one is that of place `first`.

    `d` is (memory, first place, distance of rows).
    """
    (memory, d_0, apart), sums, width = d, total.reshape(-1), total.shape[1]
    for m in range(rows):
        for k in range(places.shape[1]):
            if places[m, k] >= 0:
                row = (sums, (places[m, k] - first) * width)
                PLUS(width, (row, (memory, d_0 + m * apart)), (row,))


@nb.njit
def sole(rows, d, width, columns):  # type: ignore[no-untyped-def]
    """Whether no row of a block `[R,width]` has two numbers other than 0; the column of the one, -1: none.

    Gradients of values of chosen actions are such. `d` is (memory, first place, distance of rows); `columns [R]`.
    """
    memory, first, apart = d
    for m in range(rows):
        columns[m] = -1
        for a in range(width):
            if memory[first + m * apart + a] != 0.0:
                if columns[m] >= 0:
                    return False
                columns[m] = a
    return True


@nb.njit
def through_sole(rows, d, columns, weight, source, sums, target):  # type: ignore[no-untyped-def]
    """What two products make of a block of gradients of a map's results, if `sole`: rows of weights are added.

    Args:
        rows: R.
        d: (memory, first place, distance of rows) of the gradients `[R,O]`.
        columns: see `sole`.
        weight: the same of the transposed map, `[O,I]`.
        source: the same of its inputs, `[R,I]`.
        sums: the same of the transposed weights' gradients, `[O,I]`, added to; without gaps.
        target: (the inputs' gradients, the same, `[R,I]`; whether they are added to).
    """
    (memory, first, apart), (of_weight, w_0, w_o), (given, g_0, g_m) = d, weight, source
    (total, t_0, size), ((written, r_0, r_m), added) = sums, target
    for m in range(rows):
        a, row = columns[m], (written, r_0 + m * r_m)
        factor = memory[first + m * apart + max(a, 0)]
        one, out = (of_weight, w_0 + max(a, 0) * w_o), (total, t_0 + max(a, 0) * size)
        if added and a >= 0:
            _PLUS_TIMES(size, (row, one, factor), (row,))
        elif not added:
            _TIMES(size, (one, factor), (row,))
        if a >= 0:
            _PLUS_TIMES(size, (out, (given, g_0 + m * g_m), factor), (out,))


@cached
def forward(part, weights, biases, relu, given, outs):  # type: ignore[no-untyped-def]
    """All maps, ReLU between them.

    Args:
        part: see `utils/threads.py`.
        weights: of every map, `[G,I,O]`.
        biases: `[G,O]`.
        relu: whether the last map has a ReLU, too.
        given: (inputs `[G,P,D]`, places of ones among the first map's other I - D inputs `[G,P,J]`, -1: none), or both
            `[1,P,...]`, the same for all groups.
        outs: written: every map's results, `[G,P,O]`; those of all but the last one may be `[parts,ROWS,O]` and
            are not kept then.
    """
    number, (x, ones), last = part[0], given, len(weights) - 1
    groups, n_rows = outs[last].shape[:2]
    begin, end = mine(part, n_rows)
    for start in range(begin, end, ROWS):
        rows = min(ROWS, end - start)
        ahead = (x.reshape(-1), (start + rows) * x.shape[2])  # the next block, also where groups read others
        for g in range(groups):
            member = min(g, len(x) - 1)
            source, first = x[member], start
            for k in range(last + 1):
                inner, width = source.shape[1], weights[k].shape[2]
                kept = k == last or outs[k].shape[1] == n_rows
                out, here = outs[k][g if kept else number], start if kept else 0
                given, target = (source.reshape(-1), first * inner, inner), (out.reshape(-1), here * width, width)
                places = ones[member, start : start + rows, : ones.shape[2] if k == 0 else 0]
                layer = weights[k][g], biases[k][g]
                affine((rows, inner), given, places, layer, target, relu or k < last, ahead)
                ahead = further(ahead, (rows, width))
                source, first = out, here


@nb.njit(inline="always")
def _copy(rows, size, d, target):  # type: ignore[no-untyped-def]
    """A block of R rows; both (memory, first place, distance of rows)."""
    (memory, first, apart), (written, w_0, w_m) = d, target
    for m in range(rows):
        SAME(size, ((memory, first + m * apart),), ((written, w_0 + m * w_m),))


@nb.njit
def _through_last(rows, grad, layer, source, start, memory):  # type: ignore[no-untyped-def]
    """Through the last of several maps, if its results' gradients are `sole`, and whether they are; biases left out.

    `grad` is (memory, first place, distance of rows), `layer` (weights transposed, their gradients, also), `source` the
    results of the map before, the first of them that of `start`, `memory` (for their gradients, for columns).
    """
    ((weight, total), (d, columns)), inner = (layer, memory), source.shape[1]
    if weight.shape[0] == 1 or not sole(rows, grad, weight.shape[0], columns):
        return False
    given, sums = (source.reshape(-1), start * inner, inner), (total.reshape(-1), 0, inner)
    of_weight = (weight.reshape(-1), 0, weight.shape[1])
    through_sole(rows, grad, columns, of_weight, given, sums, ((d, 0, inner + PAD), False))
    return True


@cached
def backward(part, weights, relu, known, grad, d_x, sums):  # type: ignore[no-untyped-def]
    """Gradients, the last map first; see `forward`.

    Args:
        part: see `utils/threads.py`.
        weights: of every map, transposed, `[G,O,I'>=I]`; the first one is for `d_x` alone.
        relu: whether the last map has a ReLU.
        known: (inputs x, places of ones, every map's results `[G,P,O]`).
        grad: of the last results, `[G,P,O]`.
        d_x: written, as `x`; or of P = 0 rows: not asked for.
        sums: written, one for each part: (of every map's weights, transposed, `[parts,G,O,I]`, the first map's
            `[parts,G,O,D]`; of the biases `[parts,G,1,O]`; of the first map's weights of ones, `[parts,G,I-D,O]`).
    """
    number, (x, ones, outs), last, wanted = part[0], known, len(weights) - 1, d_x.shape[1] > 0
    (groups, n_rows), widest = grad.shape[:2], 0
    for k in range(last + 1):
        widest = max(widest, weights[k].shape[1])
    cleared(number, sums[0])
    cleared(number, sums[1])
    sums[2][number] = F(0.0)
    d, d_next = np.empty(ROWS * (widest + PAD), F), np.empty(ROWS * (widest + PAD), F)
    columns, (begin, end) = np.empty(ROWS, np.int64), mine(part, n_rows)
    for start in range(begin, end, ROWS):
        rows = min(ROWS, end - start)
        ahead = (x.reshape(-1), (start + rows) * x.shape[2])
        for g in range(groups):
            member, width, given = min(g, len(x) - 1), grad.shape[2], grad[g].reshape(-1)
            read, of_last = (given, start * width, width), (weights[last][g], sums[0][last][number, g])
            above = last
            if last > 0 and not relu and _through_last(rows, read, of_last, outs[last - 1][g], start, (d, columns)):
                add_rows(rows, read, sums[1][last][number, g, 0])
                above = last - 1
            else:
                _copy(rows, width, read, (d, 0, width + PAD))
            for k in range(above, -1, -1):
                source = x[member] if k == 0 else outs[k - 1][g]
                width, inner = weights[k].shape[1], source.shape[1]
                block, total = (d, 0, width + PAD), sums[1][k][number, g, 0]
                if relu or k < last:
                    through_relu(rows, block, (outs[k][g].reshape(-1), start * width, width), total)
                else:
                    add_rows(rows, block, total)
                if k == 0:
                    add_at_places(rows, block, sums[2][number, g], ones[member, start : start + rows], inner)
                # d^T source: what is read from memory goes through the innermost loop once
                given = (source.reshape(-1), start * inner, inner)
                d_weight = (sums[0][k][number, g].reshape(-1), 0, inner)
                multiply((width, inner, rows), (d, 0, 1, width + PAD), given, d_weight, True, ahead)
                ahead = further(ahead, (width, inner))
                turned, sizes = (weights[k][g].reshape(-1), 0, weights[k].shape[2]), (rows, inner, width)
                if k > 0:
                    following = (given[0], (start + rows) * inner)
                    multiply(sizes, (*block, 1), turned, (d_next, 0, inner + PAD), False, following)
                    d, d_next = d_next, d
                elif wanted:
                    target = (d_x[member].reshape(-1), start * inner, inner)
                    multiply(sizes, (*block, 1), turned, target, member < g)
