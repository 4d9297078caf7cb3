"""Masked softmax, expectation, log-sum-exp and sampling over short rows on the CPU, compiled by numba.

PyTorch's softmax takes 50 to 100 ns per number in rows of a few numbers and where exponentials underflow, and every
masked operation is another pass over memory. Here a row stays in the cache until it is done.

Arrays are float32 unless said otherwise; R rows of A actions. `part`: see `utils/threads.py`.
"""

from __future__ import annotations

import math
from functools import partial

import numpy as np

from modules.compiled import cached, mine
from modules.lanes import LOWEST, Lane, elementwise, folded

F = np.float32
ZERO, ONE = F(0.0), F(1.0)
TINY = 1e-20  # keeps logarithms and a row without any available action finite
BLOCK = 64  # rows that are done together: their logarithms at once, their memory while it is in the cache


def _exponential(x: Lane, top: Lane) -> tuple[Lane, ...]:
    found = (x - top).exp()
    return found, found


def _of_available(x: Lane, ok: Lane, top: Lane) -> tuple[Lane, ...]:
    shifted = x.where(ok, LOWEST) - top
    found = shifted.exp()
    return found, shifted, found


def _mixed(plain: Lane, ok: Lane, scale: Lane, rest: Lane, uniform: Lane) -> tuple[Lane, ...]:
    plain = plain * scale
    kept = (rest * plain + uniform).where(ok, 0.0)
    return kept, plain, kept


def _renormalised(kept: Lane, scale: Lane) -> tuple[Lane, ...]:
    probs = kept * scale
    return probs.at_least(TINY).log(), probs


def _through_logarithm(p: Lane, ok: Lane, d_p: Lane, d_log: Lane) -> tuple[Lane, ...]:
    d = d_p + (d_log / p).where(p > TINY, 0.0)
    return (p * d).where(ok, 0.0), d


def _through_renormalising(q: Lane, ok: Lane, d: Lane, scale: Lane, shared: Lane) -> tuple[Lane, ...]:
    d = (scale * (d - shared)).where(ok, 0.0)
    return q * d, d


def _through_softmax(p: Lane, ok: Lane, d_log: Lane, d_p: Lane, shared: Lane) -> tuple[Lane, ...]:
    return ((d_log + p * (d_p - shared)).where(ok, 0.0),)


_TOP, _TOP_AVAILABLE = folded(lambda x: (x,), "max"), folded(lambda x, ok: (x.where(ok, LOWEST),), "max")
_EXPONENTIALS, _AVAILABLE = folded(_exponential, "sum"), folded(_of_available, "sum")
_SCALED = folded(lambda x, ok, top, scale: (((x.where(ok, LOWEST) - top) * scale).exp(),), "sum")
_SOFT = elementwise(lambda top, alpha, total: (top + alpha * total.log(),))
_SOFTMAX = elementwise(lambda p, shifted, scale, log_total: (p * scale, shifted - log_total))
_MIXED, _RENORMALISED = folded(_mixed, "sum"), elementwise(_renormalised)
_DOT, _SUM = (folded(f, "sum") for f in (lambda x, y, ok: ((x * y).where(ok, 0.0),), lambda x, ok: (x.where(ok, 0.0),)))
_THROUGH_LOGARITHM, _THROUGH_RENORMALISING = folded(_through_logarithm, "sum"), folded(_through_renormalising, "sum")
_THROUGH_LOGITS = elementwise(lambda q, d, total: (q * (d - total),))
_THROUGH_SOFTMAX = elementwise(_through_softmax)
_TIMES = elementwise(lambda x, ok, factor: ((factor * x).where(ok, 0.0),))


@cached
def softmax(part, logits, avail, log_probs, probs):  # type: ignore[no-untyped-def]
    """Log-softmax and softmax of the available of `logits [R,A]`; uniform where nothing is available."""
    x, ok, logs, p, width = (
        logits.reshape(-1),
        avail.reshape(-1),
        log_probs.reshape(-1),
        probs.reshape(-1),
        len(probs[0]),
    )
    begin, end = mine(part, len(logits))
    for at in range(begin * width, end * width, width):
        top = _TOP_AVAILABLE(width, ((x, at), (ok, at)), ())
        total = _AVAILABLE(width, ((x, at), (ok, at), top), ((logs, at), (p, at)))
        scale, log_total = ONE / total, F(math.log(total))
        _SOFTMAX(width, ((p, at), (logs, at), scale, log_total), ((p, at), (logs, at)))


@cached
def mixture(part, logits, avail, epsilon, outputs):  # type: ignore[no-untyped-def]
    """Softmax over all, mixed with the uniform distribution, over the available renormalised.

    Args:
        part: see `utils/threads.py`.
        logits: `[R,A]`.
        avail: `[R,A]`.
        epsilon: share of the uniform distribution.
        outputs: written: the softmax over all actions, probabilities, their logarithms (of TINY at least), all
            `[R,A]`, and the sums before they are renormalised, TINY at least, `[R]`.
    """
    x, ok, (plain, probs, log_probs, sums) = logits.reshape(-1), avail.reshape(-1), outputs
    q, p, logs, width = plain.reshape(-1), probs.reshape(-1), log_probs.reshape(-1), logits.shape[1]
    begin, end = mine(part, len(logits))
    uniform, rest = epsilon / F(width), ONE - epsilon
    for r in range(begin, end):
        at = r * width
        top = _TOP(width, ((x, at),), ())
        scale = ONE / _EXPONENTIALS(width, ((x, at), top), ((q, at),))
        kept = _MIXED(width, ((q, at), (ok, at), scale, rest, uniform), ((q, at), (p, at)))
        sums[r] = max(kept, F(TINY))
        _RENORMALISED(width, ((p, at), ONE / sums[r]), ((logs, at), (p, at)))


@cached
def mixture_backward(part, known, avail, epsilon, grads, out):  # type: ignore[no-untyped-def]
    """Gradient of the logits `[R,A]` from those of (probabilities; their logarithms, R = 0 of them: none).

    `known` is (softmax over all, probabilities, sums); the rest as in `mixture`.
    """
    (plain, probs, sums), (grad_probs, grad_logs), width = known, grads, avail.shape[1]
    q, p, ok, d, logits = plain.reshape(-1), probs.reshape(-1), avail.reshape(-1), np.empty(width, F), out.reshape(-1)
    d_p, d_log = grad_probs.reshape(-1), grad_logs.reshape(-1)
    begin, end = mine(part, len(plain))
    for r in range(begin, end):
        at = r * width
        if len(d_log) > 0:
            shared = _THROUGH_LOGARITHM(width, ((p, at), (ok, at), (d_p, at), (d_log, at)), ((d, 0),))
            of_row, o_0 = d, 0
        else:
            shared, of_row, o_0 = _DOT(width, ((p, at), (d_p, at), (ok, at)), ()), d_p, at
        shared, scale = shared if sums[r] > F(TINY) else ZERO, (ONE - epsilon) / sums[r]
        total = _THROUGH_RENORMALISING(width, ((q, at), (ok, at), (of_row, o_0), scale, shared), ((d, 0),))
        _THROUGH_LOGITS(width, ((q, at), (d, 0), total), ((logits, at),))


@cached
def softmax_backward(part, probs, avail, grads, out):  # type: ignore[no-untyped-def]
    """Gradient of the logits from those of (log-softmax, softmax), all `[R,A]`; 0 for the unavailable."""
    (grad_logs, grad_probs), p, ok, d, width = (
        grads,
        probs.reshape(-1),
        avail.reshape(-1),
        out.reshape(-1),
        avail.shape[1],
    )
    d_log, d_p = grad_logs.reshape(-1), grad_probs.reshape(-1)
    begin, end = mine(part, len(probs))
    for at in range(begin * width, end * width, width):
        shared = _DOT(width, ((p, at), (d_p, at), (ok, at)), ()) + _SUM(width, ((d_log, at), (ok, at)), ())
        _THROUGH_SOFTMAX(width, ((p, at), (ok, at), (d_log, at), (d_p, at), shared), ((d, at),))


@cached
def expect(part, probs, values, avail, out):  # type: ignore[no-untyped-def]
    """`out [R]`: sum over the available of probs * values, whatever the other values are."""
    p, v, ok, width = probs.reshape(-1), values.reshape(-1), avail.reshape(-1), avail.shape[1]
    begin, end = mine(part, len(probs))
    for r in range(begin, end):
        out[r] = _DOT(width, ((p, r * width), (v, r * width), (ok, r * width)), ())


@cached
def expect_backward(part, inputs, avail, grad, outputs):  # type: ignore[no-untyped-def]
    """Gradients of (probs, values) `[R,A]` from `grad [R]`."""
    (probs, values), (d_probs, d_values), ok, width = inputs, outputs, avail.reshape(-1), avail.shape[1]
    p, v, d_p, d_v = probs.reshape(-1), values.reshape(-1), d_probs.reshape(-1), d_values.reshape(-1)
    begin, end = mine(part, len(probs))
    for r in range(begin, end):
        at = r * width
        _TIMES(width, ((v, at), (ok, at), grad[r]), ((d_p, at),))
        _TIMES(width, ((p, at), (ok, at), grad[r]), ((d_v, at),))


@cached
def soft_maximum(part, values, avail, alpha, out):  # type: ignore[no-untyped-def]
    """`out [R]`: alpha log sum exp(values / alpha) over the available of `values [R,A]`.

    Row r goes with row r % R' of `avail [R',A]`, and likewise with one of `alpha [R"]`.
    """
    x, ok, totals, width = values.reshape(-1), avail.reshape(-1), np.empty(BLOCK, F), values.shape[1]
    begin, end = mine(part, len(values))
    own, next_alpha, temperatures = begin % len(avail), begin % len(alpha), np.empty(BLOCK, F)
    for first in range(begin, end, BLOCK):
        rows = min(BLOCK, end - first)
        for m in range(rows):
            at, k, r = (first + m) * width, own * width, first + m
            top = _TOP_AVAILABLE(width, ((x, at), (ok, k)), ())
            temperature = alpha[next_alpha]
            totals[m] = _SCALED(width, ((x, at), (ok, k), top, ONE / temperature), ())
            temperatures[m], out[r] = temperature, top
            own = own + 1 if own + 1 < len(avail) else 0
            next_alpha = next_alpha + 1 if next_alpha + 1 < len(alpha) else 0
        _SOFT(rows, ((out, first), (temperatures, 0), (totals, 0)), ((out, first),))


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
