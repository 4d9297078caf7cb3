"""Elementwise formulas over rows of numbers inside compiled kernels; float32.

numba leaves it to LLVM to find out that a loop may be done several numbers at a time: it asks at every call whether
arrays overlap, and gives up where there are many. Here a formula is written once, for a `Lane` of neighbours, and a
loop over lanes is emitted: every number is read before any is written, so results may replace what they are made of.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from llvmlite import binding, ir
from numba.core import cgutils, types
from numba.extending import intrinsic

F32, I64 = ir.FloatType(), ir.IntType(64)
NUMBER = 4  # bytes; what the addresses are multiples of
VECTOR = 16 if binding.get_host_cpu_features().get("avx512f") else 8  # numbers in a register of this processor
# two vectors at a time: one computes while the other waits for its results
WIDTHS = tuple(2 * VECTOR >> k for k in range((2 * VECTOR).bit_length()))
FLAGS = ("contract", "arcp", "nsz")  # as `modules/compiled.py`


class Lane:
    """Neighbouring numbers in compiled code; arithmetic with other lanes and with constants."""

    def __init__(self, builder: Any, value: Any) -> None:
        self.builder, self.value = builder, value

    def _constant(self, other: Lane | float) -> Any:
        if isinstance(other, Lane):
            return other.value
        return ir.Constant(self.value.type, [ir.Constant(F32, other)] * self.value.type.count)

    def __add__(self, other: Lane | float) -> Lane:
        """Sum."""
        return Lane(self.builder, self.builder.fadd(self.value, self._constant(other), flags=FLAGS))

    def __sub__(self, other: Lane | float) -> Lane:
        """Difference."""
        return Lane(self.builder, self.builder.fsub(self.value, self._constant(other), flags=FLAGS))

    def __rsub__(self, other: float) -> Lane:
        """Difference from a constant."""
        return Lane(self.builder, self.builder.fsub(self._constant(other), self.value, flags=FLAGS))

    def __mul__(self, other: Lane | float) -> Lane:
        """Product."""
        return Lane(self.builder, self.builder.fmul(self.value, self._constant(other), flags=FLAGS))

    def __truediv__(self, other: Lane) -> Lane:
        """Quotient."""
        return Lane(self.builder, self.builder.fdiv(self.value, other.value, flags=FLAGS))

    __radd__, __rmul__ = __add__, __mul__

    def within(self, bound: float) -> Lane:
        """Not below -bound, not above bound; NaN stays NaN."""
        value = self.value
        for comparison, limit in ((">", bound), ("<", -bound)):
            beyond = self.builder.fcmp_ordered(comparison, value, self._constant(limit))
            value = self.builder.select(beyond, self._constant(limit), value)
        return Lane(self.builder, value)

    def where_positive(self, other: Lane) -> Lane:
        """Itself, 0 where `other` is not above 0; where that is NaN, itself."""
        not_above = self.builder.fcmp_ordered("<=", other.value, self._constant(0.0))
        return Lane(self.builder, self.builder.select(not_above, self._constant(0.0), self.value))


Formula: TypeAlias = Callable[..., tuple[Lane, ...]]


def elementwise(formula: Formula) -> Callable[..., None]:
    """`formula` as a function for compiled code, `f(size, sources, targets)`, of `size` neighbouring numbers each.

    Sources and targets are tuples of (one-dimensional memory, place of the first number), as many as the formula takes
    and gives. A target may be a source, number by number; otherwise they do not overlap.
    """

    @intrinsic
    def loop(typing_context, size, sources, targets):  # type: ignore[no-untyped-def]
        signature = types.void(size, sources, targets)

        def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            def places(index: int) -> list[Any]:
                found = []
                for kind, pair in zip(signature.args[index], cgutils.unpack_tuple(builder, values[index]), strict=True):
                    memory, first = cgutils.unpack_tuple(builder, pair)
                    array = context.make_array(kind[0])(context, builder, memory)
                    found.append(builder.gep(array.data, [first]))
                return found

            given, written, start = places(1), places(2), ir.Constant(I64, 0)
            for width in WIDTHS:
                count = builder.sdiv(builder.sub(values[0], start), ir.Constant(I64, width))
                with cgutils.for_range(builder, count, intp=I64) as lanes:
                    at = builder.add(start, builder.mul(lanes.index, ir.Constant(I64, width)))
                    _lane(builder, formula, given, written, (at, ir.VectorType(F32, width).as_pointer()))
                start = builder.add(start, builder.mul(count, ir.Constant(I64, width)))
            return context.get_dummy_value()

        return signature, emit

    made: Callable[..., None] = loop
    return made


def _lane(builder: Any, formula: Formula, given: list[Any], written: list[Any], where: Any) -> None:
    """Read, compute, write; `where` is (number of the first, type of a lane's address)."""
    at, pointer = where
    lanes = [builder.load(builder.bitcast(builder.gep(x, [at]), pointer), align=NUMBER) for x in given]
    results = formula(*(Lane(builder, lane) for lane in lanes))
    for result, target in zip(results, written, strict=True):
        builder.store(result.value, builder.bitcast(builder.gep(target, [at]), pointer), align=NUMBER)
