"""Values of chosen actions, the best action, the objective of a soft policy: compiled on the CPU, PyTorch elsewhere.

PyTorch's `gather` of one number a row takes 30 ns, its masked `argmax` three passes over memory.
"""

from __future__ import annotations

from typing import Any

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
        out, memory = empty_rows(ctx.shape, ctx.order)
        rows, (before, after) = memory.view(-1, ctx.shape[-1]).numpy(), ctx.around
        end = len(rows) - after
        rows[:before], rows[end:] = 0.0, 0.0
        given = numbers_of(grad, ctx.order), ctx.actions, rows[before:end]
        share(kernels.taken_backward, parts_for(COST * memory.numel()), *given)
        return out, None, None


class _SoftCost(th.autograd.Function):
    @staticmethod
    def forward(ctx: Any, probs: Tensor, logs: Tensor, values: Tensor, avail: Tensor, alpha: Tensor) -> Tensor:
        order, wanted = memory_order(probs), ctx.needs_input_grad[0]
        every = values.permute(0, *(axis + 1 for axis in order)).reshape(len(values), -1, probs.shape[-1])
        (out, memory), asked = empty_rows(probs.shape[:-1], order), probs.shape if wanted else th.Size([0])
        slopes, rows = empty_rows(asked, order)
        policy, q = (rows_of(probs, order), rows_of(logs, order)), every.contiguous().numpy()
        known = policy, q, rows_of(avail, order), numbers_of(alpha.expand(out.shape), order)
        written = _flat(memory), rows.view(-1, probs.shape[-1]).numpy()
        share(kernels.soft_cost, parts_for(COST * probs.numel()), *known, written)
        ctx.save_for_backward(slopes)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (slopes,) = ctx.saved_tensors
        return slopes * grad.unsqueeze(-1), None, None, None, None


def _flat(memory: Tensor) -> Any:
    return memory.view(-1).numpy()


def taken(values: Tensor, actions: Tensor, steps: slice | None = None) -> Tensor:
    """`values [...,A]` of the chosen `actions [...,1]` -> `[...]`; with `steps` of `values [B,T,...,A]` at those."""
    if steps is not None:
        first, last, by = steps.indices(values.shape[1])
        if not takes_kernels(values) or by != 1 or first >= last or memory_order(values)[0] != 1:
            return taken(at_steps(values, steps), actions)
        each = values[:, 0, ..., 0].numel()  # rows of a step
        out: Tensor = node(_Taken, values, actions.squeeze(-1), (first * each, (values.shape[1] - last) * each))
        return out
    if takes_kernels(values):
        out = node(_Taken, values, actions.squeeze(-1), (0, 0))
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


def soft_cost(probs: Tensor, log_probs: Tensor, values: Tensor, avail: Tensor, alpha: Tensor) -> Tensor:
    """Sum over available actions of pi (alpha log pi - min_k Q_k), `[...]`; no gradient to Q and alpha.

    Args:
        probs: pi, `[...,A]`.
        log_probs: log pi, `[...,A]`, made from the same logits: the kernel's gradient goes through pi alone, that of
            PyTorch's operations through both.
        values: Q_k, `[K,...,A]`.
        avail: `[...,A]` bool.
        alpha: broadcast with `[...]`.
    """
    if takes_kernels(probs):
        known = log_probs.detach(), values.detach(), avail, alpha.detach().to(th.float32)
        out: Tensor = node(_SoftCost, probs, *known)
        return out
    costs = alpha.detach().unsqueeze(-1) * log_probs - values.detach().amin(0)
    return (probs * costs.masked_fill(~avail, 0.0)).sum(-1)
