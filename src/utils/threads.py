"""Compiled loops on PyTorch's own threads.

A second pool of threads would fight with the first: after each parallel operation PyTorch's OpenMP threads spin for
milliseconds on the cores the second pool wants. So the loops are handed to the OpenMP runtime PyTorch has loaded.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch as th

WORTH_A_THREAD = 1 << 20  # multiply-adds (about 30 us) below which sharing costs more than it saves
_Body = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


@cache
def _openmp() -> Any:
    """GNU's OpenMP runtime as shipped with PyTorch, or None if this PyTorch uses another."""
    found = sorted((Path(th.__file__).parent / "lib").glob("libgomp*.so*"))
    return ctypes.CDLL(str(found[0])) if found else None


def takes_kernels(x: th.Tensor) -> bool:
    """Whether compiled loops can stand in for PyTorch's operations on `x`: single precision on the CPU.

    Not where `torch.compile` looks on, which cannot see into them.
    """
    return x.device.type == "cpu" and x.dtype == th.float32 and not th.compiler.is_compiling()


def workers_for(work: int) -> int:
    """How many threads should share `work` multiply-adds: `torch.get_num_threads()`, or 1 if there is little to do."""
    return th.get_num_threads() if work >= WORTH_A_THREAD and _openmp() is not None else 1


def share(kernel: Callable[..., None], workers: int, *args: Any) -> None:
    """Call `kernel((worker, workers), *args)` for every worker, on as many threads; returns when all are done.

    The kernel must release the GIL and write to places of its own in each worker. What it raises is raised here.
    """
    if workers == 1:
        kernel((0, 1), *args)
        return
    openmp = _openmp()
    failures: list[BaseException] = []

    def body(_: int | None) -> None:
        try:
            for worker in range(openmp.omp_get_thread_num(), workers, openmp.omp_get_num_threads()):
                kernel((worker, workers), *args)
        except BaseException as failure:  # raised below, in the caller's thread
            failures.append(failure)

    openmp.GOMP_parallel(_Body(body), None, ctypes.c_uint(workers), ctypes.c_uint(0))
    if failures:
        raise failures[0]
