"""How this process gets memory from the system, and how much of it libraries may keep."""

from __future__ import annotations

import ctypes
import os
import platform

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # glibc's mallopt(3)
KEPT, LARGEST = 1 << 30, 32 << 20  # bytes: freed memory kept for the next update; glibc's limit for _MMAP_THRESHOLD
PRODUCTS = "32"  # shapes of oneDNN products that are kept ready; more than one update of any learner has


def tune_memory() -> None:
    """Keep few of oneDNN's prepared products, reuse freed memory, ask for huge pages. Call before the first tensor.

    oneDNN prepares code and buffers for every shape it meets, half a megabyte each, and both it and PyTorch's wrapper
    keep the last 1024. Episodes differ in length, so nearly every update brings shapes that never come again: the
    kept ones would add up to half a gigabyte and more, and their pieces between the tensors scatter the heap.

    Every update allocates and frees the same tensors. Returned to the system, their pages come back one by one, as
    page faults that clear 4 KiB each: a tenth of an update at MMM2's size. With glibc, freed memory is kept instead.

    A user's own setting of one of the environment variables is left as it is.
    """
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", PRODUCTS)  # read by oneDNN at its first product
    os.environ.setdefault("LRU_CACHE_CAPACITY", PRODUCTS)  # read by PyTorch's wrapper, ideep, at its first product
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # read by PyTorch's allocator at its first tensor
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(_MMAP_THRESHOLD, LARGEST)
        libc.mallopt(_TRIM_THRESHOLD, KEPT)
