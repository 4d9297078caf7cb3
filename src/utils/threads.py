"""Compiled loops on PyTorch's own threads.

A second pool of threads would fight with the first: after each parallel operation PyTorch's OpenMP threads spin for
milliseconds on the cores the second pool wants. So the loops are handed to the OpenMP runtime PyTorch has loaded.

Long loops are cut into parts that shrink towards the end, and a thread that is done takes the next one: on shared
machines one core is often slower than the other. Which rows make a part depends on the number of threads alone.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from contextlib import nullcontext
from functools import cache, lru_cache
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch as th

from utils.launch import key_of, known, launch
from utils.timehelper import note_if_slow

COMPILING = "learner: compiling its kernels, once for this version (about a minute; cached afterwards)"
WORTH_A_THREAD = 1 << 20  # multiply-adds (about 30 us) below which sharing costs more than it saves
# sizes of a thread's parts, by the least multiply-adds for which their calls cost less than waiting for the slowest one
SIZES = ((1 << 27, (8, 4, 2, 1, 1)), (1 << 27, (3, 2, 1)), (1 << 25, (3, 1)), (0, (1,)))
SMALLEST = 16  # rows of a product that are worth a call
Parts = tuple[tuple[int, int, int, int], ...]  # (its number, where it begins and ends, of how much in all)


@cache
def _openmp() -> Any:
    """GNU's OpenMP runtime as shipped with PyTorch, or None if this PyTorch uses another."""
    found = sorted((Path(th.__file__).parent / "lib").glob("libgomp*.so*"))
    return ctypes.CDLL(str(found[0])) if found else None


def takes_kernels(x: th.Tensor) -> bool:
    """Whether compiled loops can stand in for PyTorch's operations on `x`: single precision on the CPU.

    Not where `torch.compile` looks on, which cannot see into them.
    """
    return x.is_cpu and x.dtype == th.float32 and not th.compiler.is_compiling()


@cache
def parts_of(*sizes: int) -> Parts:
    """Parts with these sizes, in any unit."""
    ends = [0, *accumulate(sizes)]
    return tuple((number, begin, end, ends[-1]) for number, (begin, end) in enumerate(pairwise(ends)))


def parts_for(work: int, rows: int | None = None) -> Parts:
    """How `work` multiply-adds are shared: not at all, or by some parts for each of PyTorch's threads.

    The more work, the more parts, if that leaves SMALLEST of its `rows` to the last ones.
    """
    return _parts_for(work, rows, th.get_num_threads() if work >= WORTH_A_THREAD and _openmp() is not None else 1)


@lru_cache(maxsize=1024)
def _parts_for(work: int, rows: int | None, threads: int) -> Parts:
    if threads == 1:
        return parts_of(1)
    least_rows = {sizes: SMALLEST * threads * sum(sizes) // min(sizes) for _, sizes in SIZES}
    enough = (sizes for least, sizes in SIZES if work >= least and (rows is None or rows >= least_rows[sizes]))
    return parts_of(*(size for size in next(enough, (1,)) for _ in range(threads)))


def share(kernel: Callable[..., None], parts: Parts, *args: Any) -> None:
    """Call `kernel(part, *args)` for every part, on PyTorch's threads; returns when all are done.

    The kernel is one of `modules/compiled.py` and writes to places of its own in each part.
    """
    openmp = _gomp_parallel()
    threads = min(len(parts), th.get_num_threads()) if openmp else 1
    key = key_of(kernel, args)
    with nullcontext() if known(key) else note_if_slow(COMPILING):  # its first call in this process
        launch(key, openmp, _table(parts), threads, args)


@cache
def _table(parts: Parts) -> np.ndarray:
    return np.array(parts, np.int64)


@cache
def _gomp_parallel() -> int:
    """Address of the function that calls another on several threads; 0: there is none."""
    openmp = _openmp()
    return 0 if openmp is None else ctypes.cast(openmp.GOMP_parallel, ctypes.c_void_p).value or 0
