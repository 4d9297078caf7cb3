"""Transposed copies of matrices, compiled by numba; float32."""

from __future__ import annotations

import numba as nb

from modules.compiled import cached, mine

SIDE = 16  # of the squares that are copied at a time


@nb.njit
def _turn(rows, begin, end, turned, beside):  # type: ignore[no-untyped-def]
    """Columns from `begin` to `end` of `rows` into rows of `turned`, the first number of each at `beside`."""
    height = len(rows)
    for left in range(begin, end, SIDE):
        for top in range(0, height, SIDE):
            for j in range(left, min(left + SIDE, end)):
                for i in range(top, min(top + SIDE, height)):
                    turned[j, beside + i] = rows[i, j]


@cached
def turn(part, x, out):  # type: ignore[no-untyped-def]
    """`out [G,B,A]` = the transposes of `x [G,A,B]`. `part`: see `utils/threads.py`."""
    begin, end = mine(part, x.shape[2])
    for g in range(len(x)):
        _turn(x[g], begin, end, out[g], 0)


@cached
def turn_beside(part, matrices, out):  # type: ignore[no-untyped-def]
    """`out [I,O]`: side by side the transposes of `matrices`, of the first I columns of each; O is their rows' number.

    `part`: see `utils/threads.py`.
    """
    (begin, end), beside = mine(part, len(out)), 0
    for k in range(len(matrices)):
        _turn(matrices[k], begin, end, out, beside)
        beside += len(matrices[k])
