"""Values of chosen actions, the best action, the objective of a soft policy: compiled on the CPU, PyTorch elsewhere.

PyTorch's `gather` of one number a row takes 30 ns, its masked `argmax` three passes over memory.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch as th
from torch import Tensor
from torch.autograd.function import once_differentiable

from modules import choice_kernels as kernels
from modules.nodes import node
from modules.rows import at_steps, empty_rows, memory_order, numbers_of, rows_of, shared_numbers
from utils.threads import parts_for, share, takes_kernels

COST = 16  # of one number in these kernels, in multiply-adds


class _Taken(th.autograd.Function):
    """`around` is how many rows lie before those that are asked for, and after: the gradient has zeros there."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, actions: Tensor, around: tuple[int, int]) -> Tensor:
        order = memory_order(values)
        out, memory = empty_rows(actions.shape, order)
        ctx.actions, ctx.order, ctx.shape, ctx.around = shared_numbers(actions, order), order, values.shape, around
        rows = rows_of(values, order)[around[0] : around[0] + memory.numel()]
        share(kernels.taken, parts_for(COST * memory.numel()), rows, ctx.actions, _flat(memory))
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        out, inner = _gradient(ctx.shape, ctx.order, ctx.around)
        share(kernels.taken_backward, parts_for(COST * inner.size), numbers_of(grad, ctx.order), ctx.actions, inner)
        return out, None, None


class _SoftCost(th.autograd.Function):
    """`around` as in `_Taken`, of probabilities and their logarithms."""

    @staticmethod
    def forward(
        ctx: Any,
        probs: Tensor,
        logs: Tensor,
        values: Tensor,
        avail: Tensor,
        alpha: Tensor,
        around: tuple[int, int],
    ) -> Tensor:
        order, wanted, width = memory_order(probs), ctx.needs_input_grad[0], probs.shape[-1]
        every = values.permute(0, *(axis + 1 for axis in order)).reshape(values.shape[0], -1, width)
        (out, memory), rows = empty_rows(avail.shape[:-1], order), slice(around[0], around[0] + every.shape[1])
        slopes = np.empty((every.shape[1] if wanted else 0, width), np.float32)
        policy, q = tuple(rows_of(x, order)[rows] for x in (probs, logs)), every.contiguous().numpy()
        known = policy, q, rows_of(avail, order), numbers_of(alpha.expand(out.shape), order)
        share(kernels.soft_cost, parts_for(COST * avail.numel()), *known, (_flat(memory), slopes))
        ctx.slopes, ctx.order, ctx.shape, ctx.around = slopes, order, probs.shape, around
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        out, inner = _gradient(ctx.shape, ctx.order, ctx.around)
        share(kernels.scaled, parts_for(COST * inner.size), ctx.slopes, numbers_of(grad, ctx.order), inner)
        return out, None, None, None, None, None


def _gradient(shape: th.Size, order: list[int], around: tuple[int, int]) -> tuple[Tensor, np.ndarray]:
    """Memory for a gradient, zeros where nobody asked, and its other rows."""
    out, memory = empty_rows(shape, order)
    rows, (before, after) = memory.view(-1, shape[-1]).numpy(), around
    end = len(rows) - after
    rows[:before], rows[end:] = 0.0, 0.0
    return out, rows[before:end]


def _around(values: Tensor, steps: slice) -> tuple[int, int] | None:
    """Rows before and after `steps` of `values [B,T,...,A]` as they lie in memory; None: not one after the other."""
    first, last, by = steps.indices(values.shape[1])
    if not takes_kernels(values) or by != 1 or first >= last or memory_order(values)[0] != 1:
        return None
    each = values[:, 0, ..., 0].numel()  # rows of a step
    return first * each, (values.shape[1] - last) * each


def _flat(memory: Tensor) -> Any:
    return memory.view(-1).numpy()


def _check(name: str, rows: tuple[int, ...], given: tuple[int, ...], steps: slice | None) -> None:
    """Kernels go as far as one of the two says: `given` rows belong to all of `rows`, or to some steps of them."""
    expected = list(rows)
    if steps is not None:
        expected[1] = len(range(*steps.indices(rows[1])))
    if list(given) != expected:
        raise ValueError(f"{name}: {list(given)} does not fit {expected}")


def taken(values: Tensor, actions: Tensor, steps: slice | None = None) -> Tensor:
    """`values [...,A]` of the chosen `actions [...,1]` -> `[...]`; with `steps` of `values [B,T,...,A]` at those.

    Raises:
        ValueError: if the shapes differ.
    """
    _check("taken: actions", values.shape[:-1], actions.shape[:-1], steps)
    if steps is not None:
        if (around := _around(values, steps)) is None:
            return taken(at_steps(values, steps), actions)
        some: Tensor = node(_Taken, values, actions.squeeze(-1), around)
        return some
    if takes_kernels(values):
        out: Tensor = node(_Taken, values, actions.squeeze(-1), (0, 0))
        return out
    return values.gather(-1, actions).squeeze(-1)


def best(values: Tensor, avail: Tensor) -> Tensor:
    """The available action of the largest value, the first of several: `[...,A]` -> `[...,1]`."""
    if takes_kernels(values):
        order = memory_order(values)
        out, memory = empty_rows(values.shape[:-1], order, th.int64)
        arrays = (rows_of(values, order), rows_of(avail, order), _flat(memory))
        share(kernels.best, parts_for(COST * values.numel()), *arrays)
        return out.unsqueeze(-1)
    return values.masked_fill(~avail, th.finfo(values.dtype).min).argmax(-1, keepdim=True)


def soft_cost(
    probs: Tensor, log_probs: Tensor, values: Tensor, avail: Tensor, alpha: Tensor, steps: slice | None = None
) -> Tensor:
    """Sum over available actions of pi (alpha log pi - min_k Q_k), `[...]`; no gradient to Q and alpha.

    Args:
        probs: pi, `[...,A]`; with `steps`, `[B,T,...,A]` of more steps than those that count.
        log_probs: log pi, the same, made from the same logits: the kernel's gradient goes through pi alone, that of
            PyTorch's operations through both.
        values: Q_k, `[K,...,A]`.
        avail: `[...,A]` bool.
        alpha: broadcast with `[...]`.
        steps: which steps of the policy, if not all.

    Raises:
        ValueError: if the shapes differ.
    """
    _check("soft_cost: values", probs.shape, values.shape[1:], steps)
    _check("soft_cost: avail", probs.shape, avail.shape, steps)
    around = (0, 0) if steps is None else _around(probs, steps)
    if steps is not None and around is None:
        return soft_cost(at_steps(probs, steps), at_steps(log_probs, steps), values, avail, alpha)
    if takes_kernels(probs):
        known = log_probs.detach(), values.detach(), avail, alpha.detach().to(th.float32)
        out: Tensor = node(_SoftCost, probs, *known, around)
        return out
    costs = alpha.detach().unsqueeze(-1) * log_probs - values.detach().amin(0)
    return (probs * costs.masked_fill(~avail, 0.0)).sum(-1)
