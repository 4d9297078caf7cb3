"""Masked softmax, expectation, log-sum-exp and sampling over short rows on the CPU, compiled by numba.

PyTorch's softmax takes 50 to 100 ns per number in rows of a few numbers and where exponentials underflow, and every
masked operation is another pass over memory. Here a block of rows stays in the cache until it is done, as columns
(`modules/columns.py`).

Arrays are float32 unless said otherwise; R rows of A actions. `part`: see `utils/threads.py`.
"""

from __future__ import annotations

from functools import partial

import numba as nb
import numpy as np

from modules.columns import BLOCK, each_action, turn
from modules.compiled import cached, mine
from modules.lanes import LOWEST, Lane, elementwise

F = np.float32
ZERO, ONE = F(0.0), F(1.0)
TINY = 1e-20  # keeps logarithms and a row without any available action finite


def _shifted(x: Lane, top: Lane) -> tuple[Lane, ...]:
    x = x - top
    found = x.exp()
    return found, x, found


def _exponential(x: Lane, top: Lane) -> tuple[Lane, ...]:
    found = (x - top).exp()
    return found, found


def _mixed(plain: Lane, ok: Lane, scale: Lane, rest: Lane, uniform: Lane) -> tuple[Lane, ...]:
    plain = plain * scale
    kept = (rest * plain + uniform).where(ok > 0.0, 0.0)
    return kept, plain, kept


def _renormalised(kept: Lane, scale: Lane) -> tuple[Lane, ...]:
    probs = kept * scale
    return probs.at_least(TINY).log(), probs


def _kept(total: Lane) -> tuple[Lane, ...]:
    total = total.at_least(TINY)
    return total, total.inverse()


def _probability(q: Lane, ok: Lane, rest: Lane, uniform: Lane, scale: Lane) -> Lane:
    return (rest * q + uniform).where(ok > 0.0, 0.0) * scale


def _through_logarithm(q: Lane, ok: Lane, d_p: Lane, d_log: Lane, *sizes: Lane) -> tuple[Lane, ...]:
    p = _probability(q, ok, *sizes)
    d = d_p + (d_log / p).where(p > TINY, 0.0)
    return (p * d).where(ok > 0.0, 0.0), d


def _weighted(q: Lane, ok: Lane, d_p: Lane, *sizes: Lane) -> tuple[Lane, ...]:
    return ((_probability(q, ok, *sizes) * d_p).where(ok > 0.0, 0.0),)


def _outer_slopes(total: Lane, shared: Lane, rest: Lane) -> tuple[Lane, ...]:
    return rest * total.inverse(), shared.where(total > TINY, 0.0)


def _through_renormalising(q: Lane, ok: Lane, d: Lane, scale: Lane, shared: Lane) -> tuple[Lane, ...]:
    d = (scale * (d - shared)).where(ok > 0.0, 0.0)
    return q * d, d


def _of_outputs(p: Lane, ok: Lane, d_log: Lane, d_p: Lane) -> tuple[Lane, ...]:
    return ((p * d_p + d_log).where(ok > 0.0, 0.0),)


def _through_softmax(p: Lane, ok: Lane, d_log: Lane, d_p: Lane, shared: Lane) -> tuple[Lane, ...]:
    return ((d_log + p * (d_p - shared)).where(ok > 0.0, 0.0),)


AVAILABLE = elementwise(lambda x, ok: (x.where(ok, LOWEST),))  # along the memory
_FLAG = elementwise(lambda one, ok: (one.where(ok, 0.0),))
_PRODUCT = elementwise(lambda x, y, ok: ((x * y).where(ok, 0.0),))
_INVERSE = elementwise(lambda x: (x.inverse(),))
_INVERSE_AND_LOGARITHM = elementwise(lambda total: (total.inverse(), total.log()))
_SOFT = elementwise(lambda top, alpha, total: (top + alpha * total.log(),))
_KEPT, _OUTER_SLOPES = elementwise(_kept), elementwise(_outer_slopes)
_TOP, TOTAL = each_action(lambda x: (x,), "max"), each_action(lambda x: (x,), "sum")
_SHIFTED, _EXPONENTIALS = each_action(_shifted, "sum"), each_action(_exponential, "sum")
_SCALED = each_action(lambda x, top, scale: (((x - top) * scale).exp(),), "sum")
_SOFTMAX = each_action(lambda p, shifted, scale, log_total: (p * scale, shifted - log_total))
_MIXED, _RENORMALISED = each_action(_mixed, "sum"), each_action(_renormalised)
_THROUGH_LOGARITHM, _WEIGHTED = each_action(_through_logarithm, "sum"), each_action(_weighted, "sum")
_THROUGH_RENORMALISING = each_action(_through_renormalising, "sum")
_THROUGH_LOGITS = each_action(lambda q, d, total: (q * (d - total),))
_OF_OUTPUTS, _THROUGH_SOFTMAX = each_action(_of_outputs, "sum"), each_action(_through_softmax)


@nb.njit
def _flags(size, ok, at, flat, out):  # type: ignore[no-untyped-def]
    """Columns `out` of 1 and 0 for truth values; `flat` is for what lies between."""
    rows, width = size
    _FLAG(rows * width, (ONE, (ok, at)), ((flat, 0),))
    turn(size, (flat, 0, width), (out, 0, BLOCK))


@nb.njit
def spread(numbers, rows, width, out):  # type: ignore[no-untyped-def]
    """Each of the first `rows` numbers `width` times."""
    for m in range(rows):
        for a in range(m * width, (m + 1) * width):
            out[a] = numbers[m]


@cached
def softmax(part, logits, avail, log_probs, probs):  # type: ignore[no-untyped-def]
    """Log-softmax and softmax of the available of `logits [R,A]`; uniform where nothing is available."""
    width, (begin, end) = logits.shape[1], mine(part, len(logits))
    x, ok, logs, p = logits.reshape(-1), avail.reshape(-1), log_probs.reshape(-1), probs.reshape(-1)
    flat, shifted, found = np.zeros(width * BLOCK, F), np.zeros(width * BLOCK, F), np.empty(width * BLOCK, F)
    top, total, scale = np.empty(BLOCK, F), np.empty(BLOCK, F), np.empty(BLOCK, F)
    for first in range(begin, end, BLOCK):
        rows, at = min(BLOCK, end - first), first * width
        AVAILABLE(rows * width, ((x, at), (ok, at)), ((flat, 0),))
        turn((rows, width), (flat, 0, width), (shifted, 0, BLOCK))
        _TOP(width, ((shifted, 0),), (), (), ((top, 0),))
        _SHIFTED(width, ((shifted, 0),), ((top, 0),), ((shifted, 0), (found, 0)), ((total, 0),))
        _INVERSE_AND_LOGARITHM(BLOCK, ((total, 0),), ((scale, 0), (total, 0)))
        both = (found, 0), (shifted, 0)
        _SOFTMAX(width, both, ((scale, 0), (total, 0)), both, ())
        turn((width, rows), (found, 0, BLOCK), (p, at, width))
        turn((width, rows), (shifted, 0, BLOCK), (logs, at, width))


@cached
def mixture(part, logits, avail, epsilon, outputs):  # type: ignore[no-untyped-def]
    """Softmax over all, mixed with the uniform distribution, over the available renormalised.

    Args:
        part: see `utils/threads.py`; here of blocks of BLOCK rows, of which there are L.
        logits: `[R,A]`.
        avail: `[R,A]`.
        epsilon: share of the uniform distribution.
        outputs: written: the softmax over all actions as columns, `[L,A,BLOCK]`; probabilities and their logarithms (of
            TINY at least), `[R,A]`; the sums before they are renormalised, TINY at least, `[L,BLOCK]`.
    """
    x, ok, (plain, probs, log_probs, sums) = logits.reshape(-1), avail.reshape(-1), outputs
    q, p, logs, width = plain.reshape(-1), probs.reshape(-1), log_probs.reshape(-1), logits.shape[1]
    uniform, rest, kept_sums = epsilon / F(width), ONE - epsilon, sums.reshape(-1)
    flags, columns, flat = np.zeros(width * BLOCK, F), np.zeros(width * BLOCK, F), np.empty(width * BLOCK, F)
    top, scale, (begin, end) = np.empty(BLOCK, F), np.empty(BLOCK, F), mine(part, len(plain))
    for first in range(begin * BLOCK, end * BLOCK, BLOCK):
        rows, at = min(BLOCK, len(logits) - first), first * width
        turn((rows, width), (x, at, width), (columns, 0, BLOCK))
        _flags((rows, width), ok, at, flat, flags)
        _TOP(width, ((columns, 0),), (), (), ((top, 0),))
        _EXPONENTIALS(width, ((columns, 0),), ((top, 0),), ((q, at),), ((scale, 0),))
        _INVERSE(BLOCK, ((scale, 0),), ((scale, 0),))
        given, of_rows = ((q, at), (flags, 0)), ((scale, 0), rest, uniform)
        _MIXED(width, given, of_rows, ((q, at), (columns, 0)), ((kept_sums, first),))
        _KEPT(BLOCK, ((kept_sums, first),), ((kept_sums, first), (scale, 0)))
        _RENORMALISED(width, ((columns, 0),), ((scale, 0),), ((flags, 0), (columns, 0)), ())
        turn((width, rows), (columns, 0, BLOCK), (p, at, width))
        turn((width, rows), (flags, 0, BLOCK), (logs, at, width))


@cached
def mixture_backward(part, known, avail, epsilon, grads, out):  # type: ignore[no-untyped-def]
    """Gradient of the logits `[R,A]` from those of (probabilities; their logarithms, R = 0 of them: none).

    `known` is (softmax over all, sums); the rest as in `mixture`.
    """
    (plain, sums), (grad_probs, grad_logs), width = known, grads, avail.shape[1]
    q, kept_sums, ok, logits = plain.reshape(-1), sums.reshape(-1), avail.reshape(-1), out.reshape(-1)
    d_p, d_log, uniform, rest = grad_probs.reshape(-1), grad_logs.reshape(-1), epsilon / F(width), ONE - epsilon
    flags, d, flat = np.zeros(width * BLOCK, F), np.zeros(width * BLOCK, F), np.empty(width * BLOCK, F)
    slopes, scale, shared = np.zeros(width * BLOCK, F), np.empty(BLOCK, F), np.empty(BLOCK, F)
    begin, end = mine(part, len(plain))
    for first in range(begin * BLOCK, end * BLOCK, BLOCK):
        rows, at = min(BLOCK, len(avail) - first), first * width
        _flags((rows, width), ok, at, flat, flags)
        turn((rows, width), (d_p, at, width), (d, 0, BLOCK))
        _INVERSE(BLOCK, ((kept_sums, first),), ((scale, 0),))
        given, sizes = ((q, at), (flags, 0), (d, 0)), (rest, uniform, (scale, 0))
        if len(d_log) > 0:
            turn((rows, width), (d_log, at, width), (slopes, 0, BLOCK))
            _THROUGH_LOGARITHM(width, (*given, (slopes, 0)), sizes, ((d, 0),), ((shared, 0),))
        else:
            _WEIGHTED(width, given, sizes, (), ((shared, 0),))
        _OUTER_SLOPES(BLOCK, ((kept_sums, first), (shared, 0), rest), ((scale, 0), (shared, 0)))
        _THROUGH_RENORMALISING(width, given, ((scale, 0), (shared, 0)), ((d, 0),), ((scale, 0),))
        _THROUGH_LOGITS(width, ((q, at), (d, 0)), ((scale, 0),), ((d, 0),), ())
        turn((width, rows), (d, 0, BLOCK), (logits, at, width))


@cached
def softmax_backward(part, probs, avail, grads, out):  # type: ignore[no-untyped-def]
    """Gradient of the logits from those of (log-softmax, softmax), all `[R,A]`; 0 for the unavailable."""
    (grad_logs, grad_probs), width, (begin, end) = grads, avail.shape[1], mine(part, len(probs))
    d_log, d_p, p, ok, d = (
        grad_logs.reshape(-1),
        grad_probs.reshape(-1),
        probs.reshape(-1),
        avail.reshape(-1),
        out.reshape(-1),
    )
    flags, flat, shared = np.zeros(width * BLOCK, F), np.empty(width * BLOCK, F), np.empty(BLOCK, F)
    columns = np.zeros((3, width * BLOCK), F)
    for first in range(begin, end, BLOCK):
        rows, at = min(BLOCK, end - first), first * width
        _flags((rows, width), ok, at, flat, flags)
        turn((rows, width), (p, at, width), (columns[0], 0, BLOCK))
        turn((rows, width), (d_log, at, width), (columns[1], 0, BLOCK))
        turn((rows, width), (d_p, at, width), (columns[2], 0, BLOCK))
        given = (columns[0], 0), (flags, 0), (columns[1], 0), (columns[2], 0)
        _OF_OUTPUTS(width, given, (), (), ((shared, 0),))
        _THROUGH_SOFTMAX(width, given, ((shared, 0),), ((flags, 0),), ())
        turn((width, rows), (flags, 0, BLOCK), (d, at, width))


@cached
def expect(part, probs, values, avail, out):  # type: ignore[no-untyped-def]
    """`out [R]`: sum over the available of probs * values, whatever the other values are."""
    p, v, ok, width = probs.reshape(-1), values.reshape(-1), avail.reshape(-1), avail.shape[1]
    flat, columns, total = np.empty(width * BLOCK, F), np.zeros(width * BLOCK, F), np.empty(BLOCK, F)
    begin, end = mine(part, len(probs))
    for first in range(begin, end, BLOCK):
        rows, at = min(BLOCK, end - first), first * width
        _PRODUCT(rows * width, ((p, at), (v, at), (ok, at)), ((flat, 0),))
        turn((rows, width), (flat, 0, width), (columns, 0, BLOCK))
        TOTAL(width, ((columns, 0),), (), (), ((total, 0),))
        out[first : first + rows] = total[:rows]


@cached
def expect_backward(part, inputs, avail, grad, outputs):  # type: ignore[no-untyped-def]
    """Gradients of (probs, values) `[R,A]` from `grad [R]`."""
    (probs, values), (d_probs, d_values), ok, width = inputs, outputs, avail.reshape(-1), avail.shape[1]
    p, v, d_p, d_v = probs.reshape(-1), values.reshape(-1), d_probs.reshape(-1), d_values.reshape(-1)
    flat, (begin, end) = np.empty(width * BLOCK, F), mine(part, len(probs))
    for first in range(begin, end, BLOCK):
        rows, at = min(BLOCK, end - first), first * width
        spread(grad[first:], rows, width, flat)
        _PRODUCT(rows * width, ((v, at), (flat, 0), (ok, at)), ((d_p, at),))
        _PRODUCT(rows * width, ((p, at), (flat, 0), (ok, at)), ((d_v, at),))


@cached
def soft_maximum(part, values, avail, alpha, out):  # type: ignore[no-untyped-def]
    """`out [R]`: alpha log sum exp(values / alpha) over the available of `values [R,A]`.

    Row r goes with row r % R' of `avail [R',A]`, and likewise with one of `alpha [R"]`.
    """
    x, ok, width, (begin, end) = values.reshape(-1), avail.reshape(-1), values.shape[1], mine(part, len(values))
    flat, columns, top = np.empty(width * BLOCK, F), np.zeros(width * BLOCK, F), np.empty(BLOCK, F)
    temperature, scale, total = np.ones(BLOCK, F), np.empty(BLOCK, F), np.empty(BLOCK, F)
    own, next_alpha = begin % len(avail), begin % len(alpha)
    for first in range(begin, end, BLOCK):
        rows, done = min(BLOCK, end - first), 0
        while done < rows:  # as many as there are before `avail` begins anew
            some, at = min(rows - done, len(avail) - own), (first + done) * width
            AVAILABLE(some * width, ((x, at), (ok, own * width)), ((flat, done * width),))
            own, done = own + some if own + some < len(avail) else 0, done + some
        for m in range(rows):
            temperature[m] = alpha[next_alpha]
            next_alpha = next_alpha + 1 if next_alpha + 1 < len(alpha) else 0
        turn((rows, width), (flat, 0, width), (columns, 0, BLOCK))
        _INVERSE(BLOCK, ((temperature, 0),), ((scale, 0),))
        _TOP(width, ((columns, 0),), (), (), ((top, 0),))
        _SCALED(width, ((columns, 0),), ((top, 0), (scale, 0)), (), ((total, 0),))
        _SOFT(rows, ((top, 0), (temperature, 0), (total, 0)), ((out, first),))


@partial(cached, fastmath=False)
def inverse_cdf(part, probs, uniform, out):  # type: ignore[no-untyped-def]
    """`out [R]` int64: the first action whose cumulative share (in double) exceeds `uniform [R]`, below 1."""
    flat, n_actions, (begin, end) = probs.reshape(-1), probs.shape[1], mine(part, len(probs))
    columns, index = np.zeros(n_actions * BLOCK, F), np.empty(BLOCK, np.int64)
    bound, reached = np.empty(BLOCK), np.empty(BLOCK)
    for first in range(begin, end, BLOCK):
        rows = min(BLOCK, end - first)
        turn((rows, n_actions), (flat, first * n_actions, n_actions), (columns, 0, BLOCK))
        reached[:] = 0.0
        for a in range(n_actions):
            for m in range(BLOCK):
                reached[m] += columns[a * BLOCK + m]
        for m in range(rows):
            bound[m] = np.float64(uniform[first + m]) * reached[m]
        reached[:] = 0.0
        index[:] = 0
        for a in range(n_actions):
            for m in range(BLOCK):
                reached[m] += columns[a * BLOCK + m]
                index[m] += reached[m] <= bound[m]
        for m in range(rows):
            out[first + m] = min(index[m], n_actions - 1)
