"""A step of RMSprop, compiled by numba; float32."""

from __future__ import annotations

from modules.compiled import cached, mine
from modules.lanes import Lane, elementwise


def _step(weight: Lane, grad: Lane, mean: Lane, lr: Lane, alpha: Lane, rest: Lane, eps: Lane) -> tuple[Lane, ...]:
    mean = alpha * mean + rest * grad * grad
    return weight - lr * (grad / (mean.sqrt() + eps)), mean


_STEP = elementwise(_step)


@cached
def step(part, weight, grad, mean, sizes):  # type: ignore[no-untyped-def]
    """v = a v + (1 - a) g^2, w = w - lr g / (sqrt(v) + eps), all `[n]`; `sizes` is (lr, a, 1 - a, eps)."""
    (begin, end), (lr, alpha, rest, eps) = mine(part, len(weight)), sizes
    of_weight, of_mean = (weight, begin), (mean, begin)
    _STEP(end - begin, (of_weight, (grad, begin), of_mean, lr, alpha, rest, eps), (of_weight, of_mean))
