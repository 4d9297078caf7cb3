"""Compiled functions called for every part of their work on several threads, without Python in between.

A thread that enters Python waits for its lock, 50 us and more, twice if another thread has it. So the loop over parts
is compiled, too: it takes the function by its address and, with more than one thread, is itself handed to OpenMP.
"""

from __future__ import annotations

from typing import Any

import numba as nb
import numpy as np
from llvmlite import ir
from numba import _dispatcher
from numba.core import cgutils, types
from numba.core.types.containers import BaseTuple, UniTuple
from numba.extending import intrinsic

I32, I64, BYTES = ir.IntType(32), ir.IntType(64), ir.IntType(8).as_pointer()
NUMBERS = 4  # of a part, see `utils/threads.py`
PART = UniTuple(types.int64, NUMBERS)
NEXT, FAILED, PARTS, COUNT, FUNCTION, ARGUMENTS = range(6)  # what the threads share


@intrinsic
def _run(typing_context, function, openmp, parts, threads, args):  # type: ignore[no-untyped-def]
    """Call `function(part, *args)` for all parts; how many of the calls failed. See `launch`."""
    signature = types.int64(function, openmp, parts, threads, args)

    def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        address, openmp, parts, threads, args = values
        args = _borrowed(context, builder, signature.args[4], args)
        kinds = (PART, *signature.args[4].types)
        called = context.call_conv.get_function_type(types.none, kinds)
        array, zero = context.make_array(signature.args[2])(context, builder, parts), ir.Constant(I64, 0)
        members = [zero, zero, array.data, cgutils.unpack_tuple(builder, array.shape)[0], address, args]
        shared = cgutils.alloca_once_value(builder, cgutils.make_anonymous_struct(builder, members))
        body = ir.Function(builder.module, ir.FunctionType(ir.VoidType(), [BYTES]), builder.function.name + ".parts")
        body.linkage = "internal"
        _emit_loop(context, body, shared.type, (called, kinds))
        memory = builder.bitcast(shared, BYTES)
        with builder.if_else(builder.icmp_signed(">", threads, ir.Constant(I64, 1))) as (several, one):
            with several:
                kind = ir.FunctionType(ir.VoidType(), [body.type, BYTES, I32, I32])
                start = builder.inttoptr(openmp, kind.as_pointer())
                builder.call(start, [body, memory, builder.trunc(threads, I32), ir.Constant(I32, 0)])
            with one:
                builder.call(body, [memory])
        return builder.load(cgutils.gep_inbounds(builder, shared, 0, FAILED))

    return signature, emit


def _borrowed(context: Any, builder: Any, kind: Any, value: Any) -> Any:
    """Arrays, also in tuples, without their owners: each slice of one would count as a reference to its owner.

    Counts are atomic: threads that share one wait for each other at every row. The caller holds the owners.
    """
    if isinstance(kind, BaseTuple):
        members = zip(kind.types, cgutils.unpack_tuple(builder, value), strict=True)
        return context.make_tuple(builder, kind, [_borrowed(context, builder, *member) for member in members])
    if isinstance(kind, types.Array):
        array = context.make_array(kind)(context, builder, value)
        array.meminfo = cgutils.get_null_value(array.meminfo.type)
        return array._getvalue()
    return value


def _emit_loop(context: Any, body: Any, pointer: Any, function: Any) -> None:
    """What every thread does: take the next part until there is none."""
    (called, kinds), builder = function, ir.IRBuilder(body.append_basic_block("entry"))
    shared, one = builder.bitcast(body.args[0], pointer), ir.Constant(I64, 1)

    def place(member: int) -> Any:
        return cgutils.gep_inbounds(builder, shared, 0, member)

    parts, count, address, args = (builder.load(place(k)) for k in (PARTS, COUNT, FUNCTION, ARGUMENTS))
    work = builder.inttoptr(address, called.as_pointer())
    take, call, done = (builder.append_basic_block(name) for name in ("take", "call", "done"))
    builder.branch(take)
    builder.position_at_end(take)
    number = builder.atomic_rmw("add", place(NEXT), one, "monotonic")
    builder.cbranch(builder.icmp_signed("<", number, count), call, done)
    builder.position_at_end(call)
    first = builder.gep(parts, [builder.mul(number, ir.Constant(I64, NUMBERS))])
    part = builder.load(builder.bitcast(first, context.get_value_type(PART).as_pointer()), align=8)
    given = (part, *cgutils.unpack_tuple(builder, args))
    status, _ = context.call_conv.call_function(builder, work, types.none, kinds, given)
    builder.atomic_rmw("add", place(FAILED), builder.zext(status.is_error, I64), "monotonic")
    builder.branch(take)
    builder.position_at_end(done)
    builder.ret_void()


def _launch(function, openmp, parts, threads, args):  # type: ignore[no-untyped-def]
    return _run(function, openmp, parts, threads, args)


_OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
try:
    _launcher = nb.njit(cache=True, **_OPTIONS)(_launch)
except RuntimeError:  # numba found no writable folder for its cache
    _launcher = nb.njit(**_OPTIONS)(_launch)

_addresses: dict[tuple[Any, bytes], int] = {}


def key_of(function: Any, args: tuple[Any, ...]) -> tuple[Any, bytes]:
    """What `launch` knows compiled code by: the function, and the types of its arguments."""
    return function, _dispatcher.compute_fingerprint(args)


def known(key: tuple[Any, bytes]) -> bool:
    """Whether the function was called with arguments of these types before."""
    return key in _addresses


def _address(key: tuple[Any, bytes], args: tuple[Any, ...]) -> int:
    """Where the code of numba's `function(part, *args)` is; compiled (or found in numba's cache) at the first call."""
    if key not in _addresses:
        function, _ = key
        kinds = (PART, *(function.typeof_pyval(arg) for arg in args))
        function.compile(kinds)
        compiled = function.overloads[kinds]
        _addresses[key] = compiled.library.get_pointer_to_function(compiled.fndesc.llvm_func_name)
    return _addresses[key]


def launch(key: tuple[Any, bytes], openmp: int, parts: np.ndarray, threads: int, args: tuple[Any, ...]) -> None:
    """Call `function(part, *args)` for every part; returns when all are done.

    Args:
        key: `key_of` a function compiled by numba, which returns nothing and raises nothing but for want of memory, and
            of these arguments.
        openmp: address of GNU OpenMP's `GOMP_parallel`; not used with one thread.
        parts: int64 `[parts,4]`.
        threads: how many.
        args: arrays, numbers, tuples of them.

    Raises:
        MemoryError: there was none left for what a function needs.
    """
    if _launcher(_address(key, args), openmp, parts, threads, args) > 0:
        raise MemoryError(f"{key[0].__name__}: no memory left for a compiled kernel")
