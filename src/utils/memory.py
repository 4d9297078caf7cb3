"""How this process gets memory from the system."""

from __future__ import annotations

import ctypes
import os
import platform

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # glibc's mallopt(3)
KEPT, LARGEST = 1 << 30, 32 << 20  # bytes: freed memory kept for the next update; glibc's limit for _MMAP_THRESHOLD


def tune_memory() -> None:
    """Reuse freed memory, ask for huge pages. Call before the first tensor.

    Every update allocates and frees the same tensors. Returned to the system, their pages come back one by one, as
    page faults that clear 4 KiB each: a tenth of an update at MMM2's size. With glibc, freed memory is kept instead.

    A user's own setting of the environment variable is left as it is.
    """
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # read by PyTorch's allocator at its first tensor
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(_MMAP_THRESHOLD, LARGEST)
        libc.mallopt(_TRIM_THRESHOLD, KEPT)
