"""Rows of numbers stored without their zeros, losslessly: one bit a number and the numbers that are not zero.

Observations of units out of sight or dead are zeros: on SMAC's maps half to four fifths of all numbers.
"""

from __future__ import annotations

import numba as nb
import numpy as np

WIDE = 64  # numbers a row from which leaving out zeros is worth a call per episode


class SparseRows:
    """`dense [L,W]` of float32 or float16. A zero is a number whose bits are zero: -0.0 and NaN come back as they were.

    Args:
        dense: the rows.
    """

    def __init__(self, dense: np.ndarray) -> None:
        present = np.ascontiguousarray(dense).view(f"u{dense.itemsize}") != 0
        self.width = dense.shape[1]
        self.mask = np.packbits(present, axis=1, bitorder="little")  # [L,ceil(W/8)]
        self.values = dense[present]

    @property
    def nbytes(self) -> int:
        """Bytes of the stored numbers and bits."""
        return self.mask.nbytes + self.values.nbytes

    def unpack(self, out: np.ndarray) -> None:
        """Write all rows into `out [L,W]` float32."""
        _unpack(self.mask, self.values.astype(np.float32, copy=False), out)

    def dense(self) -> np.ndarray:
        """The rows as they were, `[L,W]`."""
        out = np.empty((len(self.mask), self.width), np.float32)
        self.unpack(out)
        return out.astype(self.values.dtype, copy=False)


@nb.njit(cache=True, nogil=True)
def _unpack(mask, values, out):  # type: ignore[no-untyped-def]
    position = 0
    width = out.shape[1]
    for r in range(len(mask)):
        row = out[r]
        for byte in range(mask.shape[1]):
            bits, first = mask[r, byte], 8 * byte
            for j in range(first, min(first + 8, width)):
                if bits & 1:
                    row[j] = values[position]
                    position += 1
                else:
                    row[j] = 0.0
                bits >>= 1
