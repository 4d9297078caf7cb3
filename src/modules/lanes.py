"""Formulas over rows of numbers inside compiled kernels, their sums and maxima; float32.

numba leaves it to LLVM to find out that a loop may be done several numbers at a time: it asks at every call whether
arrays overlap, and gives up where there are many. Here a formula is written once, for a `Lane` of neighbours, and a
loop over lanes is emitted: every number is read before any is written, so results may replace what they are made of.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from llvmlite import binding, ir
from numba.core import cgutils, types
from numba.extending import intrinsic

F32, I32, I64 = ir.FloatType(), ir.IntType(32), ir.IntType(64)
NUMBER = 4  # bytes; what the addresses are multiples of
VECTOR = 16 if binding.get_host_cpu_features().get("avx512f") else 8  # numbers in a register of this processor
# two vectors at a time: one computes while the other waits for its results
WIDTHS = tuple(2 * VECTOR >> k for k in range((2 * VECTOR).bit_length()))
FLAGS = ("contract", "arcp", "nsz")  # as `modules/compiled.py`
LOWEST = -3.4028234663852886e38  # in place of minus infinity, which would give 0 * inf
# exp(x) = 2^k P(r), x = k log 2 + r; log(2^e (1 + f)) = e log 2 + Q(f), 1 + f in [sqrt(1/2), sqrt(2)):
# polynomials of Cephes, relative errors below 2e-7; exp is 0 below exp(-87)
SMALLEST, LOG2_E, LN2_HIGH, LN2_LOW = -87.0, 1.44269504, 0.693359375, -2.12194440e-4
OF_EXP = 1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1
OF_LOG = (
    *(7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1),
    *(-1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1),
)
ROUND = 12582912.0  # 1.5 * 2^23: a number added to it is rounded to a whole one, kept in its last bits
ONE_BITS, ROOT_BITS, BIAS, MANTISSA = 0x3F800000, 0x3F3504F3, 127, 23  # of 1 and of sqrt(1/2) as float32


class Lane:
    """Neighbouring numbers in compiled code; arithmetic with other lanes and with constants."""

    def __init__(self, builder: Any, value: Any) -> None:
        self.builder, self.value = builder, value

    def _constant(self, other: Lane | float) -> Any:
        if isinstance(other, Lane):
            return other.value
        return ir.Constant(self.value.type, [ir.Constant(F32, other)] * self.value.type.count)

    def _whole(self, number: int) -> Any:
        """The same int32 for all."""
        kind = ir.VectorType(I32, self.value.type.count)
        return ir.Constant(kind, [ir.Constant(I32, number)] * kind.count)

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

    def inverse(self) -> Lane:
        """One divided by it."""
        return Lane(self.builder, self.builder.fdiv(self._constant(1.0), self.value, flags=FLAGS))

    def __gt__(self, bound: float) -> Lane:
        """Whether above; not where it is NaN."""
        return Lane(self.builder, self.builder.fcmp_ordered(">", self.value, self._constant(bound)))

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

    def where(self, condition: Lane, other: Lane | float) -> Lane:
        """Itself where the condition holds (a lane of truth values), else `other`."""
        return Lane(self.builder, self.builder.select(condition.value, self.value, self._constant(other)))

    def at_least(self, bound: float) -> Lane:
        """Not below the bound; NaN stays NaN."""
        below = self.builder.fcmp_ordered("<", self.value, self._constant(bound))
        return Lane(self.builder, self.builder.select(below, self._constant(bound), self.value))

    def or_less(self, other: Lane) -> Lane:
        """The lesser of two; NaN if either is."""
        builder = self.builder
        less = builder.fcmp_ordered("<", other.value, self.value)
        less = builder.or_(less, builder.fcmp_unordered("uno", other.value, other.value))
        return Lane(builder, builder.select(less, other.value, self.value))

    def or_more(self, other: Lane) -> Lane:
        """The greater of two; `other` if this is NaN."""
        more = self.builder.fcmp_ordered(">", self.value, other.value)
        return Lane(self.builder, self.builder.select(more, self.value, other.value))

    def sqrt(self) -> Lane:
        """Square root."""
        kind = self.value.type
        name = f"llvm.sqrt.v{kind.count}f32"
        function = cgutils.get_or_insert_function(self.builder.module, ir.FunctionType(kind, [kind]), name)
        return Lane(self.builder, self.builder.call(function, [self.value]))

    def exp(self) -> Lane:
        """The exponential of numbers up to 88; NaN stays NaN."""
        builder, t = self.builder, self.at_least(SMALLEST)
        rounded = t * LOG2_E + ROUND
        k = rounded - ROUND
        r = t - k * LN2_HIGH - k * LN2_LOW
        total = polynomial(r, OF_EXP) * r * r + r + 1.0
        bits = builder.add(builder.bitcast(rounded.value, self._whole(0).type), self._whole(BIAS))
        power = Lane(builder, builder.bitcast(builder.shl(bits, self._whole(MANTISSA)), self.value.type))
        below = builder.fcmp_ordered("<", self.value, self._constant(SMALLEST))
        return Lane(builder, builder.select(below, self._constant(0.0), (total * power).value))

    def log(self) -> Lane:
        """The natural logarithm of normal numbers above 0; NaN stays NaN."""
        builder, whole = self.builder, self._whole
        bits = builder.add(builder.bitcast(self.value, whole(0).type), whole(ONE_BITS - ROOT_BITS))
        exponent = builder.sub(builder.ashr(bits, whole(MANTISSA)), whole(BIAS))
        mantissa = builder.add(builder.and_(bits, whole((1 << MANTISSA) - 1)), whole(ROOT_BITS))
        e = Lane(builder, builder.sitofp(exponent, self.value.type))
        f = Lane(builder, builder.bitcast(mantissa, self.value.type)) - 1.0
        f2 = f * f
        found = f + (polynomial(f, OF_LOG) * f * f2 + e * LN2_LOW - 0.5 * f2) + e * LN2_HIGH
        nan = builder.fcmp_unordered("uno", self.value, self.value)
        return Lane(builder, builder.select(nan, self.value, found.value))


def polynomial(x: Lane, factors: Sequence[float]) -> Lane:
    """The highest power's factor first; at least two."""
    total = factors[0] * x + factors[1]
    for factor in factors[2:]:
        total = total * x + factor
    return total


Formula: TypeAlias = Callable[..., tuple[Lane, ...]]


def elementwise(formula: Formula) -> Callable[..., None]:
    """`formula` as a function for compiled code, `f(size, sources, targets)`, of `size` neighbouring numbers each.

    Sources and targets are tuples of (one-dimensional memory, place of the first number), as many as the formula takes
    and gives; a source may be of truth values, or one float32 for all. A target may be a source, number by number;
    otherwise they do not overlap.
    """

    @intrinsic
    def loop(typing_context, size, sources, targets):  # type: ignore[no-untyped-def]
        signature = types.void(size, sources, targets)

        def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            given, written = (places(context, builder, signature.args[k], values[k]) for k in (1, 2))

            def step(at: Any, width: int) -> None:
                write(builder, formula(*read(builder, given, at, width)), written, at)

            each_width(builder, values[0], step)
            return context.get_dummy_value()

        return signature, emit

    made: Callable[..., None] = loop
    return made


def summed(formula: Formula) -> Callable[..., Any]:
    """As `elementwise`, but the formula's first result is summed up and the sum returned.

    Its order depends on `size` and the processor alone.
    """
    zero = ir.Constant(F32, 0.0)

    @intrinsic
    def loop(typing_context, size, sources, targets):  # type: ignore[no-untyped-def]
        signature = types.float32(size, sources, targets)

        def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            given, written = (places(context, builder, signature.args[k], values[k]) for k in (1, 2))
            total = cgutils.alloca_once_value(builder, zero)
            wide = ir.Constant(ir.VectorType(F32, WIDTHS[0]), [zero] * WIDTHS[0])
            widest = cgutils.alloca_once_value(builder, wide)

            def step(at: Any, width: int) -> None:
                first, *others = formula(*read(builder, given, at, width))
                write(builder, others, written, at)
                to, one = (widest, first.value) if width == WIDTHS[0] else (total, _across(builder, first.value))
                builder.store(builder.fadd(builder.load(to), one, flags=FLAGS), to)

            each_width(builder, values[0], step)
            return builder.fadd(builder.load(total), _across(builder, builder.load(widest)), flags=FLAGS)

        return signature, emit

    made: Callable[..., Any] = loop
    return made


def _across(builder: Any, value: Any) -> Any:
    """The sum of a lane's numbers."""
    while (half := value.type.count // 2) > 0:
        undefined, whole = ir.Constant(value.type, ir.Undefined), ir.VectorType(I32, half)
        parts = (ir.Constant(whole, list(range(first, first + half))) for first in (0, half))
        value = builder.fadd(*(builder.shuffle_vector(value, undefined, part) for part in parts), flags=FLAGS)
    return builder.extract_element(value, ir.Constant(I32, 0))


def places(context: Any, builder: Any, kinds: Any, values: Any) -> list[Any]:
    """Of (memory, place of the first number) its address; one number for all as it is."""
    found = []
    for kind, value in zip(kinds, cgutils.unpack_tuple(builder, values), strict=True):
        if isinstance(kind, types.Float):
            found.append(value)
            continue
        memory, first = cgutils.unpack_tuple(builder, value)
        array = context.make_array(kind[0])(context, builder, memory)
        found.append(builder.gep(array.data, [first]))
    return found


def each_width(builder: Any, size: Any, step: Callable[[Any, int], None]) -> None:
    """`step(number of the first, width)` for as many lanes of each width as there are."""
    start = ir.Constant(I64, 0)
    for width in WIDTHS:
        count = builder.udiv(builder.sub(size, start), ir.Constant(I64, width))
        with cgutils.for_range(builder, count, intp=I64) as lanes:
            step(builder.add(start, builder.mul(lanes.index, ir.Constant(I64, width))), width)
        start = builder.add(start, builder.mul(count, ir.Constant(I64, width)))


def read(builder: Any, given: list[Any], at: Any, width: int) -> list[Lane]:
    """Lanes of all sources, `at` the number of their first."""
    lanes = []
    for x in given:
        if not isinstance(x.type, ir.PointerType):
            lanes.append(Lane(builder, broadcast(builder, x, width)))
            continue
        kind = x.type.pointee  # of truth values: bytes
        pointer = builder.bitcast(builder.gep(x, [at]), ir.VectorType(kind, width).as_pointer())
        value = builder.load(pointer, align=NUMBER if kind == F32 else 1)
        if kind != F32:
            value = builder.icmp_unsigned("!=", value, ir.Constant(value.type, [ir.Constant(kind, 0)] * width))
        lanes.append(Lane(builder, value))
    return lanes


def write(builder: Any, results: Sequence[Lane], written: list[Any], at: Any) -> None:
    """Lanes to all targets."""
    for result, target in zip(results, written, strict=True):
        pointer = builder.bitcast(builder.gep(target, [at]), result.value.type.as_pointer())
        builder.store(result.value, pointer, align=NUMBER)


def broadcast(builder: Any, number: Any, width: int) -> Any:
    """A vector of one number."""
    undefined = ir.Constant(ir.VectorType(F32, width), ir.Undefined)
    first = builder.insert_element(undefined, number, ir.Constant(I32, 0))
    return builder.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(I32, width), [0] * width))
