"""Transposed copies of matrices, compiled by numba; float32."""

from __future__ import annotations

import numba as nb

from modules.compiled import cached, mine

SIDE = 16  # of the squares that are copied at a time


@nb.njit
def _turn(rows, columns, turned, shift, beside):  # type: ignore[no-untyped-def]
    """Columns (begin, end) of `rows` into rows of `turned`, each `shift` further down, round; from `beside` on."""
    (begin, end), (height, count) = columns, rows.shape
    for left in range(begin, end, SIDE):
        for top in range(0, height, SIDE):
            for j in range(left, min(left + SIDE, end)):
                to = j + shift if j + shift < count else j + shift - count
                for i in range(top, min(top + SIDE, height)):
                    turned[to, beside + i] = rows[i, j]


@cached
def turn(part, given, shifts, written):  # type: ignore[no-untyped-def]
    """`written [G,B,A'>=A]` = the transposes of `given [G,A,B]`, rows `shifts` (one for each) further down, round.

    `part`: see `utils/threads.py`.
    """
    for k in range(len(given)):
        for g in range(len(given[k])):
            _turn(given[k][g], mine(part, given[k].shape[2]), written[k][g], shifts[k], 0)


@cached
def turn_beside(part, matrices, out):  # type: ignore[no-untyped-def]
    """`out [I,O]`: side by side the transposes of `matrices`, of the first I columns of each; O is their rows' number.

    `part`: see `utils/threads.py`.
    """
    columns, beside = mine(part, len(out)), 0
    for k in range(len(matrices)):
        _turn(matrices[k], columns, out, 0, beside)
        beside += len(matrices[k])
