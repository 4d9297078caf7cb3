"""Matrix products inside compiled kernels, a tile of the result in registers; float32.

A kernel that keeps a block of rows in the processor's caches through several operations needs a product it can call
in between: a library's starts threads and writes to memory. numba vectorises loops but does not keep a tile of the
result in registers, so the innermost loop is written in LLVM's own language: for every k, one vector of `b`, fused
multiply-added to each row of the tile with one number of `a`. A tile is two of the processor's vectors wide.

A sum begins with a bias or with what was there before, and ends with a ReLU where asked for, while it is in a register.
Every tile also asks for some lines of the memory that a caller says it will read next: a core waits for memory unless
it is asked for early, and in a burst it waits for the asking.

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
from modules.lanes import F32, I64, NUMBER, VECTOR, Lane, broadcast

# one compiled function for all callers, whichever of their numbers are constants
_OPERANDS = (
    "UniTuple(int64, 3), Tuple((float32[::1], int64, int64, int64)), Tuple((float32[::1], int64, int64)), "
    "Tuple((float32[::1], int64, int64))"
)
SIGNATURE = f"void({_OPERANDS}, boolean, Tuple((float32[::1], int64, int64)))"
SIGNATURE_PLUS = f"void({_OPERANDS}, Tuple((float32[::1], int64, int64)), boolean, Tuple((float32[::1], int64, int64)))"
HIGHEST = 6  # rows of a tile: its 12 vectors and those they are made of are the registers of AVX2
PAD = 16  # numbers after each row of a block or of transposed weights: rows a power of two apart share the cache's sets
LINES, LINE = 4, 16  # asked for at every tile; numbers in one
WIDE = VECTOR == 16  # noqa: PLR2004 - AVX-512: tiles of 32 columns, since six sums at a time would wait for each other


def _tile_loop(builder: Any, rows: Sequence[Any], column: Any, starts: Sequence[Any], sizes: Any) -> list[Any]:
    """Emit `starts[m][:] + sum_k rows[m][k * a_k] * column[k * b_k][:]`; `sizes` is (a_k, b_k, inner).

    `starts` is (an address for each row, whether what is there counts; otherwise sums start from 0).
    """
    (a_k, b_k, inner), (addresses, started) = sizes, starts
    vector = addresses[0].type.pointee
    fma = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(vector, [vector] * 3), f"llvm.fma.v{vector.count}f32"
    )
    before = builder.block
    load, loop, done = (builder.append_basic_block(name) for name in ("load", "loop", "done"))
    builder.cbranch(started, load, loop)
    builder.position_at_end(load)
    loaded = [builder.load(address, align=NUMBER) for address in addresses]
    builder.branch(loop)
    builder.position_at_end(loop)
    (k, of_a, of_b), sums = (builder.phi(I64) for _ in range(3)), [builder.phi(vector) for _ in rows]
    for block, first in ((before, [ir.Constant(vector, [0.0] * vector.count)] * len(rows)), (load, loaded)):
        for total, start in zip((k, of_a, of_b, *sums), (*[ir.Constant(I64, 0)] * 3, *first), strict=True):
            total.add_incoming(start, block)
    b = builder.load(builder.bitcast(builder.gep(column, [of_b]), vector.as_pointer()), align=NUMBER)
    products = []
    for row, total in zip(rows, sums, strict=True):
        a = broadcast(builder, builder.load(builder.gep(row, [of_a]), align=NUMBER), vector.count)
        products.append(builder.call(fma, [a, b, total]))
    after = [builder.add(k, ir.Constant(I64, 1)), builder.add(of_a, a_k), builder.add(of_b, b_k)]
    for total, value in zip((k, of_a, of_b, *sums), (*after, *products), strict=True):
        total.add_incoming(value, loop)
    builder.cbranch(builder.icmp_signed("<", after[0], inner), loop, done)
    builder.position_at_end(done)
    return products


def _finished(builder: Any, sums: Sequence[Any], relu: Any) -> list[Any]:
    """Emit the ReLU of all if `relu` says so; NaN stays NaN."""
    before = builder.block
    through, done = (builder.append_basic_block(name) for name in ("through", "finished"))
    builder.cbranch(relu, through, done)
    builder.position_at_end(through)
    positive = [Lane(builder, value).where_positive(Lane(builder, value)).value for value in sums]
    builder.branch(done)
    builder.position_at_end(done)
    results = [builder.phi(value.type) for value in sums]
    for result, as_it_is, value in zip(results, sums, positive, strict=True):
        result.add_incoming(as_it_is, before)
        result.add_incoming(value, through)
    return results


@intrinsic
def _address(typing_context, memory, place):  # type: ignore[no-untyped-def]
    """Where a number of an array lies. Numbers instead of arrays: what is handed on is in registers."""

    def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, values[0])
        return builder.ptrtoint(builder.gep(array.data, [values[1]]), I64)

    return types.int64(memory, place), emit


def _ask(builder: Any, address: Any) -> None:
    """Emit: the lines from `address` on will be read, bring them to the second-level cache."""
    byte, number = ir.IntType(8).as_pointer(), ir.IntType(32)
    kind = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
    function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
    how = [ir.Constant(number, k) for k in (0, 2, 1)]  # to read, not to the nearest cache, data
    for line in range(LINES):
        place = builder.add(address, ir.Constant(I64, NUMBER * LINE * line))
        builder.call(function, [builder.inttoptr(place, byte), *how])


def _make_tile(height: int, width: int, plus: bool) -> Callable[..., None]:
    """The product for a tile of `height x width` numbers, as a function for compiled code; see `_make_columns`."""

    @intrinsic
    def tile(typing_context, sizes, a, b, out, start, ahead):  # type: ignore[no-untyped-def]
        signature = types.void(sizes, a, b, out, start, ahead)

        def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            def rows(address: Any, distance: Any, kind: Any) -> list[Any]:
                first = builder.inttoptr(address, F32.as_pointer())
                found = (builder.gep(first, [builder.mul(distance, ir.Constant(I64, m))]) for m in range(height))
                return [builder.bitcast(row, kind.as_pointer()) for row in found]

            (of_a, a_m, a_k), (of_b, b_k), of_out, of_start = (cgutils.unpack_tuple(builder, x) for x in values[1:5])
            vector, column = ir.VectorType(F32, width), builder.inttoptr(of_b, F32.as_pointer())
            (out, o_m), (start, s_m), (inner, flag) = of_out, of_start, cgutils.unpack_tuple(builder, values[0])
            outs = rows(out, o_m, vector)
            starts = (rows(start, s_m, vector), cgutils.true_bit) if plus else (outs, flag)
            _ask(builder, values[5])
            results = _tile_loop(builder, rows(of_a, a_m, F32), column, starts, (a_k, b_k, inner))
            results = _finished(builder, results, flag) if plus else results
            for value, target in zip(results, outs, strict=True):
                builder.store(value, target, align=NUMBER)
            return context.get_dummy_value()

        return signature, emit

    made: Callable[..., None] = tile
    return made


def _make_panel(width: int, plus: bool) -> Callable[..., int]:
    """Columns of a tile's width: tiles of six rows, or fewer but nearly the same: flat ones wait for sums.

    Returns the address after what was asked for.
    """
    one, two, three, four, five, six = (_make_tile(height, width, plus) for height in range(1, HIGHEST + 1))

    @nb.njit(error_model="numpy")
    def panel(sizes, a, b, out, start, ahead):  # type: ignore[no-untyped-def]
        (rows, inner, flag), (x, a_m, a_k), (y, o_m), (z, s_m), (next_one, by) = sizes, a, out, start, ahead
        for left in range((rows + HIGHEST - 1) // HIGHEST, 0, -1):
            height = (rows + left - 1) // left
            if height == 6:  # noqa: PLR2004
                six((inner, flag), (x, a_m, a_k), b, (y, o_m), (z, s_m), next_one)
            elif height == 5:  # noqa: PLR2004
                five((inner, flag), (x, a_m, a_k), b, (y, o_m), (z, s_m), next_one)
            elif height == 4:  # noqa: PLR2004
                four((inner, flag), (x, a_m, a_k), b, (y, o_m), (z, s_m), next_one)
            elif height == 3:  # noqa: PLR2004
                three((inner, flag), (x, a_m, a_k), b, (y, o_m), (z, s_m), next_one)
            elif height == 2:  # noqa: PLR2004
                two((inner, flag), (x, a_m, a_k), b, (y, o_m), (z, s_m), next_one)
            else:
                one((inner, flag), (x, a_m, a_k), b, (y, o_m), (z, s_m), next_one)
            rows, next_one = rows - height, next_one + by
            x, y, z = x + NUMBER * height * a_m, y + NUMBER * height * o_m, z + NUMBER * height * s_m
        return next_one

    made: Callable[..., int] = panel
    return made


def _make_columns(plus: bool) -> Callable[..., None]:
    """out[m, n] = start[m, n] + sum_k a[m, k] b[k, n], one panel of columns after the other.

    Of operands, the address of the first number and the distances. With `plus` the flag is whether all goes through a
    ReLU; otherwise whether what `out` holds is the start, or 0 is. Of what is asked for ahead, the address, and how
    far one tile goes.
    """
    p_32, p_16, p_8, p_4, p_2, p_1 = (_make_panel(width, plus) for width in (32, 16, 8, 4, 2, 1))

    @nb.njit(error_model="numpy")
    def columns(sizes, a, b, out, start, flag, ahead):  # type: ignore[no-untyped-def]
        (rows, width, inner), (w, b_k), (y, o_m), (z, s_m), (next_one, by), n = sizes, b, out, start, ahead, 0
        if WIDE:
            while width - n >= 32:  # noqa: PLR2004
                at = NUMBER * n
                further = next_one, by
                next_one = p_32((rows, inner, flag), a, (w + at, b_k), (y + at, o_m), (z + at, s_m), further)
                n += 32
        while width - n >= 16:  # noqa: PLR2004
            at = NUMBER * n
            next_one = p_16((rows, inner, flag), a, (w + at, b_k), (y + at, o_m), (z + at, s_m), (next_one, by))
            n += 16
        if width - n >= 8:  # noqa: PLR2004
            at = NUMBER * n
            next_one = p_8((rows, inner, flag), a, (w + at, b_k), (y + at, o_m), (z + at, s_m), (next_one, by))
            n += 8
        if width - n >= 4:  # noqa: PLR2004
            at = NUMBER * n
            next_one = p_4((rows, inner, flag), a, (w + at, b_k), (y + at, o_m), (z + at, s_m), (next_one, by))
            n += 4
        if width - n >= 2:  # noqa: PLR2004
            at = NUMBER * n
            next_one = p_2((rows, inner, flag), a, (w + at, b_k), (y + at, o_m), (z + at, s_m), (next_one, by))
            n += 2
        if n < width:
            at = NUMBER * n
            p_1((rows, inner, flag), a, (w + at, b_k), (y + at, o_m), (z + at, s_m), (next_one, by))

    made: Callable[..., None] = columns
    return made


_FROM_ZERO, _FROM_START = _make_columns(False), _make_columns(True)


@partial(cached, fastmath=False, signature=SIGNATURE)
def _multiply(sizes, a, b, out, add, ahead):  # type: ignore[no-untyped-def]
    (x, a_0, a_m, a_k), (w, b_0, b_k), (y, o_0, o_m), (v, v_0, by) = a, b, out, ahead
    target, first = (_address(y, o_0), o_m), (_address(v, v_0), NUMBER * by)
    _FROM_ZERO(sizes, (_address(x, a_0), a_m, a_k), (_address(w, b_0), b_k), target, target, add, first)


@partial(cached, fastmath=False, signature=SIGNATURE_PLUS)
def _multiply_plus(sizes, a, b, out, start, relu, ahead):  # type: ignore[no-untyped-def]
    (x, a_0, a_m, a_k), (w, b_0, b_k), (y, o_0, o_m), (z, s_0, s_m), (v, v_0, by) = a, b, out, start, ahead
    target, begin, first = (_address(y, o_0), o_m), (_address(z, s_0), s_m), (_address(v, v_0), NUMBER * by)
    _FROM_START(sizes, (_address(x, a_0), a_m, a_k), (_address(w, b_0), b_k), target, begin, relu, first)


@nb.njit
def multiply(sizes, a, b, out, add, ahead=None):  # type: ignore[no-untyped-def]
    """out[m, n] = sum_k a[m, k] b[k, n], or `+=` with `add`.

    Args:
        sizes: (rows m, columns n, terms k), at least one of each.
        a: (one-dimensional memory, place of a[0, 0], distance of neighbours in m, in k).
        b: (memory, place of b[0, 0], distance in k); neighbours in n lie side by side.
        out: (memory, place of out[0, 0], distance in m); side by side in n; overlaps neither `a` nor `b`.
        add: whether the product is added to what `out` holds.
        ahead: (memory, place) of what will be read next; numbers from there on are asked for, up to where
            `further` says. They may lie beyond the end.
    """
    if ahead is None:
        _multiply(sizes, a, b, out, add, (out[0], out[1], 0))
    else:
        _multiply(sizes, a, b, out, add, (*ahead, LINES * LINE))


@nb.njit
def multiply_plus(sizes, a, b, out, start, relu, ahead=None):  # type: ignore[no-untyped-def]
    """out[m, n] = start[m, n] + sum_k a[m, k] b[k, n], or its ReLU (NaN stays NaN); see `multiply`.

    `start` is as `out`, and may be `out`; or a bias, whose rows' distance is 0.
    """
    if ahead is None:
        _multiply_plus(sizes, a, b, out, start, relu, (out[0], out[1], 0))
    else:
        _multiply_plus(sizes, a, b, out, start, relu, (*ahead, LINES * LINE))


@nb.njit
def further(ahead, sizes):  # type: ignore[no-untyped-def]
    """`ahead` of the next product: where one of `sizes` has stopped asking."""
    (rows, width), widest = sizes[:2], 32 if WIDE else 16
    panels, rest = width // widest, width % widest
    while rest > 0:  # a panel for each power of two
        panels, rest = panels + rest % 2, rest // 2
    return ahead[0], ahead[1] + (rows + HIGHEST - 1) // HIGHEST * panels * LINES * LINE
