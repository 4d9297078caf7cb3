"""Transposed copies of matrices, compiled by numba; float32."""

from __future__ import annotations

import numba as nb

from modules.columns import turn as turn_numbers
from modules.compiled import cached, mine


@nb.njit
def _turn(rows, columns, turned, to, beside):  # type: ignore[no-untyped-def]
    """Columns (begin, end) of `rows` into rows of `turned` from `to` on, from column `beside` on."""
    (begin, end), (height, stride), step = columns, rows.shape, turned.shape[1]
    if begin < end:
        given, written = (rows.reshape(-1), begin, stride), (turned.reshape(-1), to * step + beside, step)
        turn_numbers((height, end - begin), given, written)


@cached
def turn(part, given, shifts, written):  # type: ignore[no-untyped-def]
    """`written [G,B,A'>=A]` = the transposes of `given [G,A,B]`, rows `shifts` (one for each) further down, round.

    `part`: see `utils/threads.py`.
    """
    for k in range(len(given)):
        count, shift = given[k].shape[2], shifts[k]
        begin, end = mine(part, count)
        middle = min(max(begin, count - shift), end)  # from here on they come first
        for g in range(len(given[k])):
            _turn(given[k][g], (begin, middle), written[k][g], begin + shift, 0)
            _turn(given[k][g], (middle, end), written[k][g], middle + shift - count, 0)


@cached
def turn_beside(part, matrices, first, out):  # type: ignore[no-untyped-def]
    """`out [I,O'>=O]`: side by side the transposes of `matrices`, of I columns of each from `first` on; O their rows.

    `part`: see `utils/threads.py`.
    """
    (begin, end), beside = mine(part, len(out)), 0
    for k in range(len(matrices)):
        _turn(matrices[k], (first + begin, first + end), out, begin, beside)
        beside += len(matrices[k])
