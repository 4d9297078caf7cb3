"""Rows of a few numbers, a block of them as columns: neighbouring rows make a lane, and no row has a rest.

Inside compiled kernels; float32. Row by row, 18 numbers are two vectors and a rest that costs as much as they do, and
every sum over a row ends with additions across a register. A block lies as `[A,BLOCK]`, A numbers of a row.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba as nb
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from modules.lanes import F32, I32, I64, LOWEST, NUMBER, WIDTHS, Formula, Lane, places, read, write

BLOCK = 32  # rows; of 18 numbers each, five arrays fill a third of a first-level cache of 32 KiB
SIDE = 8  # of the squares that are transposed in registers


@intrinsic
def _square(typing_context, given, written):  # type: ignore[no-untyped-def]
    """SIDE x SIDE numbers, transposed; each a (memory, place of the first, numbers from row to row)."""
    signature = types.void(given, written)

    def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        kind = ir.VectorType(F32, SIDE)

        def rows(k: int) -> list[Any]:
            memory, first, stride = cgutils.unpack_tuple(builder, values[k])
            array = context.make_array(signature.args[k][0])(context, builder, memory)
            numbers = (builder.add(first, builder.mul(stride, ir.Constant(I64, i))) for i in range(SIDE))
            return [builder.bitcast(builder.gep(array.data, [at]), kind.as_pointer()) for at in numbers]

        lines = [builder.load(row, align=NUMBER) for row in rows(0)]
        for by in (SIDE >> k for k in range(1, SIDE.bit_length())):  # squares of by x by change places
            for i in (i for i in range(SIDE) if not i & by):
                upper = [k if not k & by else SIDE + k - by for k in range(SIDE)]
                orders = (ir.Constant(ir.VectorType(I32, SIDE), some) for some in (upper, [k + by for k in upper]))
                pair = lines[i], lines[i + by]
                lines[i], lines[i + by] = (builder.shuffle_vector(*pair, order) for order in orders)
        for line, row in zip(lines, rows(1), strict=True):
            builder.store(line, row, align=NUMBER)
        return context.get_dummy_value()

    return signature, emit


@nb.njit
def turn(size, given, written):  # type: ignore[no-untyped-def]
    """`written [B,A]` = the transpose of `given [A,B]`, `size` (A, B); see `_square`."""
    (height, width), (x, first, stride), (y, to, step) = size, given, written
    bottom, right = height // SIDE * SIDE, width // SIDE * SIDE
    for j in range(0, right, SIDE):
        for i in range(0, bottom, SIDE):
            _square((x, first + i * stride + j, stride), (y, to + j * step + i, step))
    for j in range(right, width):
        for i in range(bottom):
            y[to + j * step + i] = x[first + i * stride + j]
    for i in range(bottom, height):
        for j in range(width):
            y[to + j * step + i] = x[first + i * stride + j]


def each_action(formula: Formula, kind: str | None = None) -> Callable[..., None]:
    """`formula` as a function for compiled code, `f(A, columns, rows, targets, totals)`, over a block.

    Columns and targets are tuples of (memory, place) of `[A,BLOCK]`, rows of `[BLOCK]`, or one float32 for all; the
    formula takes a lane of each of the columns, then of the rows. With a `kind` its first result is no target's: its
    sum ("sum") or maximum ("max") over A goes to `totals`, a tuple of one (memory, place) of `[BLOCK]`, else empty. A
    target may be a column. The sum's order is that of A. A maximum is LOWEST at least, and passes over NaN.
    """
    start = ir.Constant(F32, LOWEST if kind == "max" else 0.0)
    width = WIDTHS[0]

    @intrinsic
    def loop(typing_context, count, columns, rows, targets, totals):  # type: ignore[no-untyped-def]
        signature = types.void(count, columns, rows, targets, totals)

        def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            given, of_rows, written = (places(context, builder, signature.args[k], values[k]) for k in (1, 2, 3))
            total = cgutils.alloca_once(builder, ir.VectorType(F32, width))
            for lane in (ir.Constant(I64, at) for at in range(0, BLOCK, width)):
                known = read(builder, of_rows, lane, width)
                builder.store(ir.Constant(total.type.pointee, [start] * width), total)
                with cgutils.for_range(builder, values[0], intp=I64) as actions:
                    at = builder.add(lane, builder.mul(actions.index, ir.Constant(I64, BLOCK)))
                    results = formula(*read(builder, given, at, width), *known)
                    if kind is not None:
                        so_far = Lane(builder, builder.load(total))
                        found = results[0].or_more(so_far) if kind == "max" else so_far + results[0]
                        builder.store(found.value, total)
                    write(builder, results if kind is None else results[1:], written, at)
                if kind is not None:
                    (target,) = places(context, builder, signature.args[4], values[4])
                    write(builder, [Lane(builder, builder.load(total))], [target], lane)
            return context.get_dummy_value()

        return signature, emit

    made: Callable[..., None] = loop
    return made
