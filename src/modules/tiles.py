"""Matrix products inside compiled kernels, a tile of the result in registers; float32.

A kernel that keeps a block of rows in the processor's caches through several operations needs a product it can call
in between: a library's starts threads and writes to memory. numba vectorises loops but does not keep a tile of the
result in registers, so the innermost loop is written in LLVM's own language: for every k, one vector of `b`, fused
multiply-added to each row of the tile with one number of `a`. A tile is two of the processor's vectors wide.

A number of the result is one sum over k in ascending order, whatever tile it lies in: it depends neither on the rows
computed beside it nor on the number of threads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numba as nb
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from modules.compiled import cached
from modules.lanes import F32, I64, NUMBER, VECTOR, broadcast

# one compiled function for all callers, whichever of their numbers are constants
SIGNATURE = (
    "void(UniTuple(int64, 3), Tuple((float32[::1], int64, int64, int64)), Tuple((float32[::1], int64, int64)), "
    "Tuple((float32[::1], int64, int64)), boolean)"
)
HIGHEST = 6  # rows of a tile: its 12 vectors and those they are made of are the registers of AVX2
WIDE = VECTOR == 16  # noqa: PLR2004 - AVX-512: tiles of 32 columns, since six sums at a time would wait for each other


def _tile_loop(builder: Any, rows: Sequence[Any], column: Any, outs: Sequence[Any], sizes: Any) -> None:
    """Emit `outs[m][:] (+)= sum_k rows[m][k * a_k] * column[k * b_k][:]`; `sizes` is (a_k, b_k, inner, add)."""
    (a_k, b_k, inner, add), vector = sizes, outs[0].type.pointee
    fma = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(vector, [vector] * 3), f"llvm.fma.v{vector.count}f32"
    )
    before = builder.block
    load, loop, done = (builder.append_basic_block(name) for name in ("load", "loop", "done"))
    builder.cbranch(add, load, loop)
    builder.position_at_end(load)
    loaded = [builder.load(out, align=NUMBER) for out in outs]
    builder.branch(loop)
    builder.position_at_end(loop)
    k, sums = builder.phi(I64), [builder.phi(vector) for _ in outs]
    for block, first in ((before, [ir.Constant(vector, [0.0] * vector.count)] * len(outs)), (load, loaded)):
        k.add_incoming(ir.Constant(I64, 0), block)
        for total, start in zip(sums, first, strict=True):
            total.add_incoming(start, block)
    b = builder.load(builder.bitcast(builder.gep(column, [builder.mul(k, b_k)]), vector.as_pointer()), align=NUMBER)
    at, further = builder.mul(k, a_k), []
    for row, total in zip(rows, sums, strict=True):
        a = broadcast(builder, builder.load(builder.gep(row, [at]), align=NUMBER), vector.count)
        further.append(builder.call(fma, [a, b, total]))
    after = builder.add(k, ir.Constant(I64, 1))
    k.add_incoming(after, loop)
    for total, value in zip(sums, further, strict=True):
        total.add_incoming(value, loop)
    builder.cbranch(builder.icmp_signed("<", after, inner), loop, done)
    builder.position_at_end(done)
    for value, out in zip(further, outs, strict=True):
        builder.store(value, out, align=NUMBER)


def _make_tile(height: int, width: int) -> Callable[..., None]:
    """The product for a tile of `height x width` numbers, as a function for compiled code; see `multiply`."""

    @intrinsic
    def tile(typing_context, inner, a, b, out, add):  # type: ignore[no-untyped-def]
        signature = types.void(inner, a, b, out, add)

        def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            def operand(index: int) -> tuple[Any, list[Any]]:
                """Address of the first number, and the distances."""
                memory, first, *distances = cgutils.unpack_tuple(builder, values[index])
                array = context.make_array(signature.args[index][0])(context, builder, memory)
                return builder.gep(array.data, [first]), distances

            def rows(start: Any, distance: Any) -> list[Any]:
                return [builder.gep(start, [builder.mul(distance, ir.Constant(I64, m))]) for m in range(height)]

            (of_a, (a_m, a_k)), (of_b, (b_k,)), (of_out, (o_m,)) = operand(1), operand(2), operand(3)
            pointer = ir.VectorType(F32, width).as_pointer()
            outs = [builder.bitcast(row, pointer) for row in rows(of_out, o_m)]
            _tile_loop(builder, rows(of_a, a_m), of_b, outs, (a_k, b_k, values[0], values[4]))
            return context.get_dummy_value()

        return signature, emit

    made: Callable[..., None] = tile
    return made


def _make_panel(width: int) -> Callable[..., None]:
    """`multiply` for `width` columns: tiles of six rows, or fewer but nearly the same: flat ones wait for sums."""
    one, two, three, four, five, six = (_make_tile(height, width) for height in range(1, HIGHEST + 1))

    @nb.njit(error_model="numpy")
    def panel(rows, inner, a, b, out, add):  # type: ignore[no-untyped-def]
        (x, a_0, a_m, a_k), (y, o_0, o_m), m = a, out, 0
        for left in range((rows + HIGHEST - 1) // HIGHEST, 0, -1):
            height = (rows - m + left - 1) // left
            source, target = (x, a_0 + m * a_m, a_m, a_k), (y, o_0 + m * o_m, o_m)
            if height == 6:  # noqa: PLR2004
                six(inner, source, b, target, add)
            elif height == 5:  # noqa: PLR2004
                five(inner, source, b, target, add)
            elif height == 4:  # noqa: PLR2004
                four(inner, source, b, target, add)
            elif height == 3:  # noqa: PLR2004
                three(inner, source, b, target, add)
            elif height == 2:  # noqa: PLR2004
                two(inner, source, b, target, add)
            else:
                one(inner, source, b, target, add)
            m += height

    made: Callable[..., None] = panel
    return made


_PANEL_32, _PANEL_16, _PANEL_8, _PANEL_4, _PANEL_2, _PANEL_1 = (_make_panel(width) for width in (32, 16, 8, 4, 2, 1))


@partial(cached, fastmath=False, signature=SIGNATURE)
def multiply(sizes, a, b, out, add):  # type: ignore[no-untyped-def]
    """out[m, n] = sum_k a[m, k] b[k, n], or `+=` with `add`.

    Args:
        sizes: (rows m, columns n, terms k), at least one of each.
        a: (one-dimensional memory, place of a[0, 0], distance of neighbours in m, in k).
        b: (memory, place of b[0, 0], distance in k); neighbours in n lie side by side.
        out: (memory, place of out[0, 0], distance in m); side by side in n; overlaps neither `a` nor `b`.
        add: whether the product is added to what `out` holds.
    """
    (rows, width, inner), (w, b_0, b_k), (y, o_0, o_m), n = sizes, b, out, 0
    if WIDE:
        while width - n >= 32:  # noqa: PLR2004
            _PANEL_32(rows, inner, a, (w, b_0 + n, b_k), (y, o_0 + n, o_m), add)
            n += 32
    while width - n >= 16:  # noqa: PLR2004
        _PANEL_16(rows, inner, a, (w, b_0 + n, b_k), (y, o_0 + n, o_m), add)
        n += 16
    if width - n >= 8:  # noqa: PLR2004
        _PANEL_8(rows, inner, a, (w, b_0 + n, b_k), (y, o_0 + n, o_m), add)
        n += 8
    if width - n >= 4:  # noqa: PLR2004
        _PANEL_4(rows, inner, a, (w, b_0 + n, b_k), (y, o_0 + n, o_m), add)
        n += 4
    if width - n >= 2:  # noqa: PLR2004
        _PANEL_2(rows, inner, a, (w, b_0 + n, b_k), (y, o_0 + n, o_m), add)
        n += 2
    if n < width:
        _PANEL_1(rows, inner, a, (w, b_0 + n, b_k), (y, o_0 + n, o_m), add)
