"""Sums of some rows of a matrix, for compiled code: a lane stays in a register until all rows are added; float32."""

from __future__ import annotations

from typing import Any

from numba.core import cgutils, types
from numba.extending import intrinsic

from modules.lanes import I64, Lane, each_width, places, read, write


@intrinsic
def sum_rows(typing_context, size, start, rows, target):  # type: ignore[no-untyped-def]
    """`size` numbers of `target` = those of `start` + those of some rows, in their order.

    `start` and `target` are each ((memory, place of the first number),) and may be the same; `rows` is (memory, places
    of their first numbers as int64 `[>=n]`, n).
    """
    signature = types.void(size, start, rows, target)

    def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        (begin,), (end,) = (places(context, builder, signature.args[k], values[k]) for k in (1, 3))
        memory, firsts, count = cgutils.unpack_tuple(builder, values[2])
        source = context.make_array(signature.args[2][0])(context, builder, memory)
        numbers = context.make_array(signature.args[2][1])(context, builder, firsts)

        def step(at: Any, width: int) -> None:
            (first,) = read(builder, [begin], at, width)
            total = cgutils.alloca_once(builder, first.value.type)
            builder.store(first.value, total)
            with cgutils.for_range(builder, count, intp=I64) as row:
                place = builder.load(builder.gep(numbers.data, [row.index]))
                (one,) = read(builder, [source.data], builder.add(place, at), width)
                builder.store((Lane(builder, builder.load(total)) + one).value, total)
            write(builder, [Lane(builder, builder.load(total))], [end], at)

        each_width(builder, values[0], step)
        return context.get_dummy_value()

    return signature, emit
