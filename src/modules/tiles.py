"""Matrix products inside compiled kernels, a tile of the result in registers; float32.

A kernel that keeps a block of rows in the processor's caches through several operations needs a product it can call
in between: a library's starts threads and writes to memory. numba vectorises loops but does not keep a tile of the
result in registers, so the innermost loop is written in LLVM's own language: for every k, one vector of `b`, fused
multiply-added to each row of the tile with one number of `a`. It is the same code on every processor; LLVM splits a
vector of 16 into those the processor has.

A number of the result is one sum over k in ascending order, whatever tile it lies in: it depends neither on the rows
computed beside it nor on the number of threads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numba as nb
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

F32, I32, I64 = ir.FloatType(), ir.IntType(32), ir.IntType(64)
NUMBER = 4  # bytes; what the addresses are multiples of


def _broadcast(builder: Any, number: Any, width: int) -> Any:
    """A vector of one number."""
    undefined = ir.Constant(ir.VectorType(F32, width), ir.Undefined)
    first = builder.insert_element(undefined, number, ir.Constant(I32, 0))
    return builder.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(I32, width), [0] * width))


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
        a = _broadcast(builder, builder.load(builder.gep(row, [at]), align=NUMBER), vector.count)
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
    """The product for a tile of `height x width` numbers, as a function for compiled code.

    Its arguments are three arrays, each followed by the place of its first number and its distances between
    neighbours along the tile's rows and along k, or what of them it needs: see `multiply`.
    """

    @intrinsic
    def tile(typing_context, a, a_0, a_m, a_k, b, b_0, b_k, out, o_0, o_m, inner, add):  # type: ignore[no-untyped-def]
        number = types.int64
        signature = types.void(
            a, number, number, number, b, number, number, out, number, number, number, types.boolean
        )

        def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            a, a_0, a_m, a_k, b, b_0, b_k, out, o_0, o_m, inner, add = values

            def place(index: int, first: Any) -> Any:
                array = context.make_array(signature.args[index])(context, builder, values[index])
                return builder.gep(array.data, [first])

            def rows(start: Any, distance: Any) -> list[Any]:
                return [builder.gep(start, [builder.mul(distance, ir.Constant(I64, m))]) for m in range(height)]

            pointer = ir.VectorType(F32, width).as_pointer()
            outs = [builder.bitcast(row, pointer) for row in rows(place(7, o_0), o_m)]
            _tile_loop(builder, rows(place(0, a_0), a_m), place(4, b_0), outs, (a_k, b_k, inner, add))
            return context.get_dummy_value()

        return signature, emit

    made: Callable[..., None] = tile
    return made


def _make_panel(width: int) -> Callable[..., None]:
    """`multiply` for `width` columns: tiles of six rows, what is left in tiles of two and one."""
    six, two, one = (_make_tile(height, width) for height in (6, 2, 1))

    @nb.njit(error_model="numpy")  # type: ignore[untyped-decorator]
    def panel(rows, a, a_0, a_m, a_k, b, b_0, b_k, out, o_0, o_m, inner, add):  # type: ignore[no-untyped-def]
        m = 0
        while rows - m >= 6:  # noqa: PLR2004
            six(a, a_0 + m * a_m, a_m, a_k, b, b_0, b_k, out, o_0 + m * o_m, o_m, inner, add)
            m += 6
        while rows - m >= 2:  # noqa: PLR2004
            two(a, a_0 + m * a_m, a_m, a_k, b, b_0, b_k, out, o_0 + m * o_m, o_m, inner, add)
            m += 2
        if m < rows:
            one(a, a_0 + m * a_m, a_m, a_k, b, b_0, b_k, out, o_0 + m * o_m, o_m, inner, add)

    made: Callable[..., None] = panel
    return made


_PANEL_16, _PANEL_8, _PANEL_4, _PANEL_2, _PANEL_1 = (_make_panel(width) for width in (16, 8, 4, 2, 1))


@nb.njit(error_model="numpy")  # type: ignore[untyped-decorator]
def multiply(rows, width, inner, a, a_0, a_m, a_k, b, b_0, b_k, out, o_0, o_m, add):  # type: ignore[no-untyped-def]
    """out[m, n] (+)= sum_k a[m, k] b[k, n] for `rows` m, `width` n and `inner` k, at least one of each.

    Args:
        rows, width, inner: sizes.
        a, a_0, a_m, a_k: one-dimensional memory; a[m, k] lies at a_0 + m a_m + k a_k.
        b, b_0, b_k: b[k, n] lies at b_0 + k b_k + n.
        out, o_0, o_m: out[m, n] lies at o_0 + m o_m + n. Overlaps neither of the others.
        add: whether the product is added to what `out` holds.
    """
    n = 0
    while width - n >= 16:  # noqa: PLR2004
        _PANEL_16(rows, a, a_0, a_m, a_k, b, b_0 + n, b_k, out, o_0 + n, o_m, inner, add)
        n += 16
    if width - n >= 8:  # noqa: PLR2004
        _PANEL_8(rows, a, a_0, a_m, a_k, b, b_0 + n, b_k, out, o_0 + n, o_m, inner, add)
        n += 8
    if width - n >= 4:  # noqa: PLR2004
        _PANEL_4(rows, a, a_0, a_m, a_k, b, b_0 + n, b_k, out, o_0 + n, o_m, inner, add)
        n += 4
    if width - n >= 2:  # noqa: PLR2004
        _PANEL_2(rows, a, a_0, a_m, a_k, b, b_0 + n, b_k, out, o_0 + n, o_m, inner, add)
        n += 2
    if n < width:
        _PANEL_1(rows, a, a_0, a_m, a_k, b, b_0 + n, b_k, out, o_0 + n, o_m, inner, add)
