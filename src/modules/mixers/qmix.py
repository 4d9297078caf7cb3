"""QMIX (Rashid et al., 2018): monotonic mixing with state-conditioned weights."""

from __future__ import annotations

from typing import Any

import torch as th
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F  # noqa: N812

from modules.layers import Linear, mlp
from modules.mixers import qmix_kernels
from modules.mixers.mixer import Mixer, MixerShape
from utils.threads import parts_for, share, takes_kernels

COST = 8  # of a weight in the compiled mixing, in multiply-adds

HYPER_HIDDEN = 64  # hidden units of the two weight hypernetworks, as in the second PyMARL release


def mixing(absolute: bool, utilities: Tensor, w_1: Tensor, b_1: Tensor, w_2: Tensor, v: Tensor) -> Tensor:
    """|w_2| . ELU(|w_1|^T q + b_1) + v, `[...,1]`, or without absolute values.

    Args:
        absolute: whether weights are made non-negative.
        utilities: q, `[...,N]`.
        w_1: `[...,N*E]`.
        b_1: `[...,E]`.
        w_2: `[...,E]`.
        v: `[...,1]`.
    """
    w_1, w_2 = (w_1.abs(), w_2.abs()) if absolute else (w_1, w_2)
    w_1 = w_1.unflatten(-1, (utilities.shape[-1], -1))
    hidden = F.elu((utilities.unsqueeze(-1) * w_1).sum(-2) + b_1)  # [...,E]
    return (hidden * w_2).sum(-1, keepdim=True) + v


class _Mixing(th.autograd.Function):
    """`mixing` in one pass; float32 on the CPU."""

    @staticmethod
    def forward(ctx: Any, absolute: bool, utilities: Tensor, *hyper: Tensor) -> Tensor:
        q, *rows = (x.reshape(-1, x.shape[-1]).contiguous() for x in (utilities, *hyper))
        hidden, out = th.empty_like(rows[1]), q.new_empty(len(q))
        parts = parts_for(COST * rows[0].numel())
        arrays = (q.numpy(), tuple(x.numpy() for x in rows), absolute, hidden.numpy(), out.numpy())
        share(qmix_kernels.forward, parts, *arrays)
        ctx.save_for_backward(q, rows[0], rows[2], hidden)
        ctx.absolute, ctx.shape, ctx.parts = absolute, utilities.shape[:-1], parts
        return out.view(*ctx.shape, 1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        q, w_1, w_2, hidden = ctx.saved_tensors
        d_q, *d_hyper = (th.empty_like(x) for x in (q, w_1, hidden, w_2))
        known, written = (tuple(x.numpy() for x in some) for some in (ctx.saved_tensors, d_hyper))
        rows = grad.reshape(-1).contiguous().numpy()
        share(qmix_kernels.backward, ctx.parts, known, ctx.absolute, rows, d_q.numpy(), written)
        return None, *(x.view(*ctx.shape, -1) for x in (d_q, *d_hyper)), grad


class QMIXMixer(Mixer):
    """Q_tot = |H2(s)|^T ELU(|H1(s)|^T q + b1(s)) + v(s).

    Absolute values make the weights, not the biases, non-negative.
    """

    monotonic = True
    igm = True

    def __init__(self, shape: MixerShape) -> None:
        super().__init__(shape)
        state, embed = shape.state_dim, shape.embed_dim
        self.hyper_w1 = mlp(state, HYPER_HIDDEN, embed * shape.n_agents)
        self.hyper_w2 = mlp(state, HYPER_HIDDEN, embed)
        self.hyper_b1 = Linear(state, embed)
        self.v = mlp(state, embed, 1)

    def mix(self, utilities: Tensor, state: Tensor, actions: Tensor | None, baseline: Tensor | None) -> Tensor:
        """`[B,T,N]` -> `[B,T,1]`."""
        hyper = self.hyper_w1(state), self.hyper_b1(state), self.hyper_w2(state), self.v(state)
        if takes_kernels(utilities):
            q_tot: Tensor = _Mixing.apply(self.monotonic, utilities, *hyper)
            return q_tot
        return mixing(self.monotonic, utilities, *hyper)
