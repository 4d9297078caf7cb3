"""How the kernels of networks are compiled, and when what numba has cached of them is out of date."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import numba as nb
import numpy as np
from numba import literal_unroll
from torch import Tensor

FAST = {"contract", "arcp", "nsz"}  # fused multiply-add; no reordering, so results do not depend on width


@cache
def source_stamp() -> str:
    """Changes with the source of any kernel: they call each other, numba watches only the file of the one called."""
    here = Path(__file__)
    parts = map(here.with_name, ("tiles.py", "lanes.py", "columns.py", "row_sums.py"))
    files = [here, *parts, *here.parent.rglob("*kernels.py")]
    return sha256(b"".join(file.read_bytes() for file in sorted(files))).hexdigest()


def cached(
    function: Callable[..., None], fastmath: set[str] | bool = FAST, signature: str | None = None
) -> Callable[..., None]:
    """Decorator: compiled without the GIL, kept for later processes until any kernel's source changes.

    With a `signature` for these types alone, and at once.
    """
    options: dict[str, Any] = {"fastmath": fastmath, "nogil": True, "error_model": "numpy"}
    try:
        compiled = nb.njit(cache=True, **options)(function)
    except RuntimeError:  # numba found no writable folder for its cache
        compiled = nb.njit(**options)(function)
    else:
        compiled._cache._cache_file._source_stamp = source_stamp()  # numba is pinned: it has no other way in
    if signature is not None:
        compiled.compile(signature)
        compiled.disable_compile()
    return compiled


@nb.njit(inline="always")
def mine(part, rows):  # type: ignore[no-untyped-def]
    """First and last row (exclusive) of `part`, see `utils/threads.py`."""
    return rows * part[1] // part[3], rows * part[2] // part[3]


@nb.njit
def cleared(number, sums):  # type: ignore[no-untyped-def]
    """Zeros for the part `number` of every array of a tuple, `[parts,...]` each."""
    for array in literal_unroll(sums):
        array[number] = np.float32(0.0)


def arrays(tensors: Sequence[Tensor]) -> tuple[np.ndarray, ...]:
    """The tensors' memory, as kernels take it."""
    return tuple(tensor.numpy() for tensor in tensors)
