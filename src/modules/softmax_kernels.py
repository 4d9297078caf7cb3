"""Masked softmax, expectation, log-sum-exp and sampling over short rows on the CPU, compiled by numba.

PyTorch's softmax takes 50 to 100 ns per number in rows of a few numbers and where exponentials underflow, and every
masked operation is another pass over memory. Here a block of rows stays in the cache until it is done.

Arrays are float32 unless said otherwise; R rows of A actions. `part`: see `utils/threads.py`.
"""

from __future__ import annotations

import math
from functools import partial

import numba as nb
import numpy as np

from modules.compiled import FAST, cached, mine

F = np.float32
BLOCK = 512  # numbers worked on together
LOWEST = F(np.finfo(np.float32).min)  # in place of minus infinity, which would give 0 * inf
ZERO, ONE, HALF = F(0.0), F(1.0), F(0.5)
# exp(x) = 2^k P(r), x = k log 2 + r: Cephes' polynomial, relative error below 2e-7; 0 below exp(-87)
SMALLEST, LOG2_E, LN2_HIGH, LN2_LOW = F(-87.0), F(1.44269504), F(0.693359375), F(-2.12194440e-4)
E5, E4, E3, E2 = F(1.9875691500e-4), F(1.3981999507e-3), F(8.3334519073e-3), F(4.1665795894e-2)
E1, E0 = F(1.6666665459e-1), F(5.0000001201e-1)
EXPONENT_BIAS, MANTISSA_BITS = np.int32(127), np.int32(23)

SUMS = FAST | {"reassoc"}  # vectorised sums: their order depends on the row's length alone


@nb.njit(inline="always", fastmath=FAST)
def exponential(x, out, bits, power):  # type: ignore[no-untyped-def]
    """exp(x) of x <= 0 into `out`; `power` is the memory of `bits` (int32) read as floats. NaN stays NaN."""
    for i in range(len(x)):
        t = SMALLEST if x[i] < SMALLEST else x[i]
        k = np.floor(t * LOG2_E + HALF)
        bits[i] = (np.int32(k) + EXPONENT_BIAS) << MANTISSA_BITS
        r = t - k * LN2_HIGH - k * LN2_LOW
        out[i] = (((((E5 * r + E4) * r + E3) * r + E2) * r + E1) * r + E0) * r * r + r + ONE
    for i in range(len(x)):
        out[i] = ZERO if x[i] < SMALLEST else out[i] * power[i]


@nb.njit(fastmath=SUMS | {"nnan"})
def maximum(row):  # type: ignore[no-untyped-def]
    """The largest number; any of them if one is NaN."""
    top = LOWEST
    for a in range(len(row)):  # over the row itself LLVM would not vectorise
        top = row[a] if row[a] > top else top
    return top


@nb.njit(fastmath=SUMS)
def _sum(row):  # type: ignore[no-untyped-def]
    total = ZERO
    for a in range(len(row)):
        total += row[a]
    return total


@nb.njit(fastmath=FAST)
def _shift(row, ok, out):  # type: ignore[no-untyped-def]
    """`out` = row - its maximum over the available, far below 0 for the others; returns the maximum."""
    for a in range(len(row)):
        out[a] = row[a] if ok[a] else LOWEST
    top = maximum(out)
    for a in range(len(row)):
        out[a] -= top
    return top


@nb.njit(fastmath=SUMS)
def masked_dot(x, y, ok):  # type: ignore[no-untyped-def]
    """Sum of x y over the available."""
    total = ZERO
    for a in range(len(x)):
        total += x[a] * y[a] if ok[a] else ZERO
    return total


@cached
def softmax(part, logits, avail, log_probs, probs):  # type: ignore[no-untyped-def]
    """Log-softmax and softmax of the available of `logits [R,A]`; uniform where nothing is available."""
    n_actions = logits.shape[1]
    bits = np.empty(BLOCK + n_actions, np.int32)
    power = bits.view(F)
    begin, end = mine(part, len(logits))
    step = max(1, BLOCK // n_actions)
    flat_logs, flat = log_probs.reshape(-1), probs.reshape(-1)
    for first in range(begin, end, step):
        last = min(first + step, end)
        for r in range(first, last):
            _shift(logits[r], avail[r], log_probs[r])
        exponential(
            flat_logs[first * n_actions : last * n_actions], flat[first * n_actions : last * n_actions], bits, power
        )
        for r in range(first, last):
            p, logs = probs[r], log_probs[r]
            total = _sum(p)
            scale, log_total = ONE / total, F(math.log(total))
            for a in range(n_actions):
                p[a] *= scale
            for a in range(n_actions):
                logs[a] -= log_total


@cached
def mixture(part, plain, avail, sizes, outputs):  # type: ignore[no-untyped-def]
    """Softmax over all, mixed with the uniform distribution, over the available renormalised.

    Args:
        part: see `utils/threads.py`.
        plain: the softmax over all actions, `[R,A]`.
        avail: `[R,A]`.
        sizes: (share of the uniform distribution, the smallest sum of a row).
        outputs: written: probabilities `[R,A]`, and the sums before they are renormalised, `[R]`.
    """
    (epsilon, tiny), (probs, sums) = sizes, outputs
    begin, end = mine(part, len(plain))
    uniform, rest = epsilon / F(plain.shape[1]), ONE - epsilon
    for r in range(begin, end):
        q, ok, p = plain[r], avail[r], probs[r]
        for a in range(len(q)):
            p[a] = rest * q[a] + uniform if ok[a] else ZERO
        sums[r] = max(_sum(p), tiny)
        scale = ONE / sums[r]
        for a in range(len(q)):
            p[a] *= scale


@cached
def mixture_backward(part, known, avail, sizes, grads, out):  # type: ignore[no-untyped-def]
    """Gradient of the logits `[R,A]` from those of (logarithms, the same for below `tiny`; probabilities).

    `known` is (plain, probs, sums); the rest as in `mixture`.
    """
    (plain, probs, sums), (grad_logs, grad_probs), (epsilon, tiny) = known, grads, sizes
    d, every = np.empty(plain.shape[1], F), np.ones(plain.shape[1], np.bool_)
    begin, end = mine(part, len(plain))
    for r in range(begin, end):
        q, p, ok, g_log, g_p, d_logit = plain[r], probs[r], avail[r], grad_logs[r], grad_probs[r], out[r]
        for a in range(len(p)):
            d[a] = g_p[a] + (g_log[a] / p[a] if p[a] > tiny else ZERO)
        shared = masked_dot(p, d, ok) if sums[r] > tiny else ZERO
        scale = (ONE - epsilon) / sums[r]
        for a in range(len(p)):
            d[a] = scale * (d[a] - shared) if ok[a] else ZERO
        total = masked_dot(q, d, every)
        for a in range(len(p)):
            d_logit[a] = q[a] * (d[a] - total)


@cached
def softmax_backward(part, probs, avail, grads, out):  # type: ignore[no-untyped-def]
    """Gradient of the logits from those of (log-softmax, softmax), all `[R,A]`; 0 for the unavailable."""
    grad_logs, grad_probs = grads
    ones = np.ones(probs.shape[1], F)
    begin, end = mine(part, len(probs))
    for r in range(begin, end):
        p, ok, g_log, g_p, d = probs[r], avail[r], grad_logs[r], grad_probs[r], out[r]
        shared = masked_dot(p, g_p, ok) + masked_dot(ones, g_log, ok)
        for a in range(len(p)):
            d[a] = g_log[a] + p[a] * (g_p[a] - shared) if ok[a] else ZERO


@cached
def expect(part, probs, values, avail, out):  # type: ignore[no-untyped-def]
    """`out [R]`: sum over the available of probs * values, whatever the other values are."""
    begin, end = mine(part, len(probs))
    for r in range(begin, end):
        out[r] = masked_dot(probs[r], values[r], avail[r])


@cached
def expect_backward(part, inputs, avail, grad, outputs):  # type: ignore[no-untyped-def]
    """Gradients of (probs, values) `[R,A]` from `grad [R]`."""
    probs, values = inputs
    d_probs, d_values = outputs
    begin, end = mine(part, len(probs))
    for r in range(begin, end):
        g, p, v, ok = grad[r], probs[r], values[r], avail[r]
        d_p, d_v = d_probs[r], d_values[r]
        for a in range(len(p)):
            d_p[a] = g * v[a] if ok[a] else ZERO
        for a in range(len(p)):
            d_v[a] = g * p[a] if ok[a] else ZERO


@cached
def soft_maximum(part, values, avail, alpha, out):  # type: ignore[no-untyped-def]
    """`out [R]`: alpha log sum exp(values / alpha) over the available of `values [R,A]`, `alpha [R]`.

    Row r goes with row r % R' of `avail [R',A]`.
    """
    n_actions = values.shape[1]
    bits, shifted = np.empty(BLOCK + n_actions, np.int32), np.empty(BLOCK + n_actions, F)
    power, exponentials = bits.view(F), np.empty(BLOCK + n_actions, F)
    begin, end = mine(part, len(values))
    step = max(1, BLOCK // n_actions)
    for first in range(begin, end, step):
        last = min(first + step, end)
        for r in range(first, last):
            row = shifted[(r - first) * n_actions : (r - first + 1) * n_actions]
            out[r] = _shift(values[r], avail[r % len(avail)], row)
            scale = ONE / alpha[r]
            for a in range(n_actions):
                row[a] *= scale
        used = (last - first) * n_actions
        exponential(shifted[:used], exponentials[:used], bits, power)
        for r in range(first, last):
            total = _sum(exponentials[(r - first) * n_actions : (r - first + 1) * n_actions])
            out[r] += alpha[r] * F(math.log(total))


@partial(cached, fastmath=False)
def inverse_cdf(part, probs, uniform, out):  # type: ignore[no-untyped-def]
    """`out [R]` int64: the first action whose cumulative share (in double) exceeds `uniform [R]`, below 1."""
    n_actions = probs.shape[1]
    begin, end = mine(part, len(probs))
    for r in range(begin, end):
        total = 0.0
        for a in range(n_actions):
            total += probs[r, a]
        reached, index = 0.0, 0
        for a in range(n_actions):
            reached += probs[r, a]
            index += reached <= np.float64(uniform[r]) * total
        out[r] = min(index, n_actions - 1)
