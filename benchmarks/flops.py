"""FLOPs of the matrix products of one update: those PyTorch makes, and those inside compiled kernels.

Rows of weights that are added for inputs of 1, or for the gradient of one chosen action's value, are no products: an
update through the kernels counts less than one of few rows, which multiplies encoded actions and agents' numbers.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from typing import Any
from unittest import mock

import numpy as np
from against import T_ENV
from torch.utils.flop_counter import FlopCounterMode

from components.episode_buffer import TrainBatch
from learners import Learner
from modules import dense_kernels, recurrent_kernels
from modules.mixers import igo_kernels, qmix_kernels
from utils.threads import share


def _sizes(arrays: Any, leading: int = 0) -> int:
    """Numbers in all arrays, not counting so many leading axes."""
    return sum(math.prod(array.shape[leading:]) for array in arrays)


def _sole(grad: Any) -> bool:
    """Whether no row has two numbers other than 0: then rows of weights are added."""
    return bool((np.count_nonzero(grad, -1) <= 1).all())


def _dense(weights: Any, biases: Any, relu: Any, given: Any, outs: Any) -> int:
    """Multiply-adds a row; numbers of the weights that `given` has columns for."""
    groups, n_in, n_out = weights[0].shape
    return given[0].shape[1] * (_sizes(weights) - groups * (n_in - given[0].shape[2]) * n_out)


def _dense_backward(weights: Any, relu: Any, known: Any, grad: Any, d_x: Any, sums: Any) -> int:
    of_weights, wanted = _sizes(sums[0], 1), d_x.shape[1] > 0
    alone = 2 * _sizes(sums[0][-1:], 1) if not relu and len(weights) > 1 and grad.shape[2] > 1 and _sole(grad) else 0
    return grad.shape[1] * (2 * of_weights - alone - (0 if wanted else _sizes(sums[0][:1], 1)))


def _recurrent(counts: Any, weights: Any, biases: Any, given: Any, written: Any) -> int:
    groups, n_in, n_out = weights[0].shape
    unread = groups * (n_in - given[0].shape[2]) * n_out
    fresh = 0 if given[2].shape[1] > 0 else int(counts[0]) * weights[2].size  # before the first step states are zeros
    return int(counts.sum()) * (_sizes(weights) - unread) - fresh


def _recurrent_backward(counts: Any, weights: Any, known: Any, grad: Any, written: Any, sums: Any) -> int:
    of_weights = [sums[k][0].size for k in (0, 3, 4, 6)]  # input layer, GRU's inputs and states, output layer
    asked = sums[0].shape[2] > 0 or written[0].shape[1] > 0
    last, fresh = int(counts[-1]), known[2].shape[1] == 0
    skipped = (
        of_weights[3] > 0 and written[0].shape[1] == 0 and not grad[:, -last:].any()
    )  # a last step without a gradient
    rows = int(counts.sum()) - (last if skipped else 0)
    unused = of_weights[0] + (0 if asked else of_weights[1]) + (2 * of_weights[3] if _sole(grad) else 0)
    return rows * (2 * sum(of_weights) - unused) - (2 * of_weights[2] * int(counts[0]) if fresh else 0)


def _qmix(absolute: Any, given: Any, weights: Any, biases: Any, kept: Any, out: Any) -> int:
    return len(out) * (_sizes(weights))


def _qmix_backward(absolute: Any, known: Any, weights: Any, grad: Any, d_q: Any, sums: Any) -> int:
    return len(grad) * (_sizes(sums[:4], 1) + _sizes(weights))


def _igo(n_heads: Any, given: Any, weights: Any, biases: Any, layer: Any, out: Any) -> int:
    return len(given[0]) * (len(weights[0]) * layer.shape[1] + _sizes(weights[2]))


def _igo_backward(n_heads: Any, known: Any, w_last: Any, grad: Any, d_q: Any, sums: Any) -> int:
    return len(known[0]) * (_sizes(sums[:1], 1) + 2 * _sizes(w_last))


PRODUCTS: dict[Any, Callable[..., int]] = {
    dense_kernels.forward: _dense,
    dense_kernels.backward: _dense_backward,
    recurrent_kernels.forward: _recurrent,
    recurrent_kernels.backward: _recurrent_backward,
    qmix_kernels.forward: _qmix,
    qmix_kernels.backward: _qmix_backward,
    igo_kernels.forward: _igo,
    igo_kernels.backward: _igo_backward,
}
KERNELS_OF = "recurrent", "dense", "mixers.qmix", "mixers.igo"  # modules that call kernels


def count_flops(learner: Learner, batch: TrainBatch) -> int:
    """Of the matrix products of one update, forward and backward, those inside compiled kernels included."""
    compiled = 0

    def counted(kernel: Any, parts: Any, *args: Any) -> None:
        nonlocal compiled
        if kernel in PRODUCTS:
            compiled += 2 * PRODUCTS[kernel](*args)
        share(kernel, parts, *args)

    patched = (mock.patch(f"modules.{name}.share", counted) for name in KERNELS_OF)
    with contextlib.ExitStack() as stack:
        for one in patched:
            stack.enter_context(one)
        counter = stack.enter_context(FlopCounterMode(display=False))
        learner.update(batch, T_ENV)
    return int(counter.get_total_flops()) + compiled
