"""Masked softmax, expectation, log-sum-exp and sampling over the last axis: compiled on the CPU, PyTorch elsewhere.

The compiled kernels are for float32 on the CPU; any other precision or device takes the formulas in PyTorch's
operations, to which tests compare them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch as th
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F  # noqa: N812

from modules import softmax_kernels as kernels
from modules.columns import BLOCK
from modules.nodes import node
from modules.rows import empty_rows, memory_order, numbers_of, rows_of, shared_numbers, shared_rows
from utils.threads import parts_for, share, takes_kernels

COST = 24  # of one number in these kernels, in multiply-adds


class _MaskedSoftmax(th.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, avail: Tensor) -> tuple[Tensor, Tensor]:
        order, width = memory_order(logits), logits.shape[-1]
        (log_probs, logs), (probs, memory) = empty_rows(logits.shape, order), empty_rows(logits.shape, order)
        arrays = (
            rows_of(logits, order),
            rows_of(avail, order),
            logs.view(-1, width).numpy(),
            memory.view(-1, width).numpy(),
        )
        share(kernels.softmax, parts_for(COST * logits.numel()), *arrays)
        ctx.save_for_backward(probs, avail)
        ctx.set_materialize_grads(True)
        return log_probs, probs

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_logs: Tensor, grad_probs: Tensor) -> tuple[Tensor, None]:
        probs, avail = ctx.saved_tensors
        order = memory_order(probs)
        out, memory = empty_rows(probs.shape, order)
        grads = (rows_of(grad_logs, order), rows_of(grad_probs, order))
        arrays = (rows_of(probs, order), rows_of(avail, order), grads, memory.view(-1, probs.shape[-1]).numpy())
        share(kernels.softmax_backward, parts_for(COST * probs.numel()), *arrays)
        return out, None


class _Mixture(th.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, avail: Tensor, epsilon: float) -> tuple[Tensor, Tensor]:
        order, width = memory_order(logits), logits.shape[-1]
        (log_probs, logs), (probs, memory) = empty_rows(logits.shape, order), empty_rows(logits.shape, order)
        rows, uniform = rows_of(logits, order), np.float32(epsilon)
        blocks = -(-len(rows) // BLOCK)
        plain, sums = np.empty((blocks, width, BLOCK), np.float32), np.empty((blocks, BLOCK), np.float32)
        outputs = plain, memory.view(-1, width).numpy(), logs.view(-1, width).numpy(), sums
        share(kernels.mixture, parts_for(COST * logits.numel()), rows, rows_of(avail, order), uniform, outputs)
        ctx.save_for_backward(avail)
        ctx.plain, ctx.sums, ctx.epsilon, ctx.order, ctx.shape = plain, sums, uniform, order, logits.shape
        ctx.set_materialize_grads(False)
        return log_probs, probs

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_logs: Tensor | None, grad_probs: Tensor | None) -> tuple[Tensor, None, None]:
        (avail,), order, width = ctx.saved_tensors, ctx.order, ctx.shape[-1]
        out, memory = empty_rows(ctx.shape, order)
        of_probs = th.zeros(ctx.shape) if grad_probs is None else grad_probs
        of_logs = np.empty((0, width), np.float32) if grad_logs is None else rows_of(grad_logs, order)
        known, grads = (ctx.plain, ctx.sums), (rows_of(of_probs, order), of_logs)
        arrays = (known, rows_of(avail, order), ctx.epsilon, grads, memory.view(-1, width).numpy())
        share(kernels.mixture_backward, parts_for(COST * memory.numel()), *arrays)
        return out, None, None


class _Expect(th.autograd.Function):
    @staticmethod
    def forward(ctx: Any, probs: Tensor, values: Tensor, avail: Tensor) -> Tensor:
        order = memory_order(values)
        out, memory = empty_rows(values.shape[:-1], order)
        arrays = (rows_of(probs, order), rows_of(values, order), rows_of(avail, order), memory.view(-1).numpy())
        share(kernels.expect, parts_for(COST * values.numel()), *arrays)
        ctx.save_for_backward(probs, values, avail)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        probs, values, avail = ctx.saved_tensors
        order, width = memory_order(values), values.shape[-1]
        (d_probs, p_memory), (d_values, v_memory) = (empty_rows(values.shape, order) for _ in range(2))
        inputs, outputs = (rows_of(probs, order), rows_of(values, order)), (p_memory, v_memory)
        written = tuple(memory.view(-1, width).numpy() for memory in outputs)
        arrays = (inputs, rows_of(avail, order), numbers_of(grad, order), written)
        share(kernels.expect_backward, parts_for(COST * values.numel()), *arrays)
        return d_probs, d_values, None


def masked_softmax(logits: Tensor, avail: Tensor | None) -> tuple[Tensor, Tensor]:
    """Logarithm of the softmax over available actions, and the softmax: `[...,A]` -> twice `[...,A]`.

    Unavailable ones count as logits of finfo.min: probability 0; where nothing is available the result is uniform.
    """
    if takes_kernels(logits):
        every = th.ones_like(logits, dtype=th.bool) if avail is None else avail
        log_probs, probs = node(_MaskedSoftmax, logits, every)
        return log_probs, probs
    if avail is not None:
        logits = logits.masked_fill(~avail, th.finfo(logits.dtype).min)
    return F.log_softmax(logits, dim=-1), F.softmax(logits, dim=-1)


def mixture_then_masked(logits: Tensor, avail: Tensor, epsilon: float | Tensor) -> tuple[Tensor, Tensor]:
    """(1 - epsilon) softmax + epsilon uniform over all actions, then the available ones renormalised.

    `[...,A]` -> its logarithm (of 1e-20 at least) and itself, 0 where unavailable; nothing where nothing is available.
    """
    if takes_kernels(logits):
        log_probs, probs = node(_Mixture, logits, avail, float(epsilon))
        return log_probs, probs
    mixed = (1.0 - epsilon) * F.softmax(logits, dim=-1) + epsilon / logits.shape[-1]
    kept = mixed * avail
    probs = kept / kept.sum(-1, keepdim=True).clamp(min=kernels.TINY)
    return probs.clamp(min=kernels.TINY).log(), probs


def masked_expectation(probs: Tensor, values: Tensor, avail: Tensor | None) -> Tensor:
    """Sum over available actions of probs * values, `[...,A]` -> `[...]`; shapes broadcast."""
    if avail is not None and takes_kernels(values) and takes_kernels(probs):
        shape = th.broadcast_shapes(probs.shape, values.shape)
        out: Tensor = node(_Expect, probs.expand(shape), values.expand(shape), avail.expand(shape))
        return out
    if avail is not None:
        values = values.masked_fill(~avail, 0.0)
    return (probs * values).sum(-1)


def soft_maximum(values: Tensor, avail: Tensor, alpha: Tensor) -> Tensor:
    """alpha log sum exp(values / alpha) over available actions; values `[...,A]`, alpha `[...]` (broadcast) -> `[...]`.

    The compiled kernel has no gradient and is used where none is asked for.
    """
    shape = values.shape
    if takes_kernels(values) and not (th.is_grad_enabled() and (values.requires_grad or alpha.requires_grad)):
        order = memory_order(values)
        out, memory = empty_rows(shape[:-1], order)
        every = shared_numbers(alpha.to(th.float32).expand(shape[:-1]), order)
        arrays = (rows_of(values, order), shared_rows(avail.expand(shape), order), every)
        share(kernels.soft_maximum, parts_for(COST * values.numel()), *arrays, memory.view(-1).numpy())
        return out
    scaled = (values / alpha.unsqueeze(-1)).masked_fill(~avail, th.finfo(values.dtype).min)
    return alpha * scaled.logsumexp(-1)


def inverse_cdf(probs: Tensor, uniform: Tensor) -> Tensor:
    """The first action whose cumulative share exceeds `uniform [...]` (below 1): probs `[...,A]` -> `[...,1]` int64."""
    if takes_kernels(probs):
        order = memory_order(probs)
        out, memory = empty_rows(probs.shape[:-1], order, th.int64)
        arrays = (rows_of(probs, order), numbers_of(uniform, order), memory.view(-1).numpy())
        share(kernels.inverse_cdf, parts_for(COST * probs.numel()), *arrays)
        return out.unsqueeze(-1)
    cdf = probs.double().cumsum(-1)  # [...,A]
    index = (cdf <= uniform.double().unsqueeze(-1) * cdf[..., -1:]).sum(-1, keepdim=True)
    return index.clamp(max=cdf.shape[-1] - 1)
