"""Sums of which each part of a loop has made its own, added up; compiled by numba. float32."""

from __future__ import annotations

from modules.compiled import cached, mine
from modules.dense_kernels import PLUS, SAME


@cached
def add_up(part, sizes, memory, out):  # type: ignore[no-untyped-def]
    """`out` = the first part's numbers plus the second's and so on.

    Args:
        part: see `utils/threads.py`.
        sizes: of each of some arrays, how many numbers a part has of it; int64.
        memory: the arrays one after the other, in each the parts one after the other.
        out: written: the totals of the arrays one after the other.
    """
    (begin, end), count, first = mine(part, len(out)), len(memory) // len(out), 0
    for size in sizes:
        low, high = max(begin, first), min(end, first + size)
        if low < high:
            at, total = count * first + low - first, (out, low)
            SAME(high - low, ((memory, at),), (total,))
            for k in range(1, count):
                PLUS(high - low, (total, (memory, at + k * size)), (total,))
        first += size
