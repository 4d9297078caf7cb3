"""Transposed copies of matrices, compiled by numba; float32."""

from __future__ import annotations

from modules.compiled import cached, mine

SIDE = 16  # of the squares that are copied at a time


@cached
def turn(part, x, out):  # type: ignore[no-untyped-def]
    """`out [G,B,A]` = the transposes of `x [G,A,B]`. `part`: see `utils/threads.py`."""
    groups, height, width = x.shape
    begin, end = mine(part, (height + SIDE - 1) // SIDE)
    for g in range(groups):
        rows, turned = x[g], out[g]
        for top in range(begin * SIDE, min(end * SIDE, height), SIDE):
            for left in range(0, width, SIDE):
                for j in range(left, min(left + SIDE, width)):
                    for i in range(top, min(top + SIDE, height)):
                        turned[j, i] = rows[i, j]
