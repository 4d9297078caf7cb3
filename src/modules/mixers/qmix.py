"""QMIX (Rashid et al., 2018): monotonic mixing with state-conditioned weights."""

from __future__ import annotations

import math
from typing import Any

import torch as th
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F  # noqa: N812

from components.inputs import Inputs
from modules.compiled import arrays
from modules.layers import Linear, mlp
from modules.mixers import qmix_kernels
from modules.mixers.mixer import Mixer, MixerShape
from modules.part_sums import PartSums
from modules.turned import in_rows
from utils.threads import parts_for, share, takes_kernels

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


class _Mixer(th.autograd.Function):
    """Hypernetworks and `mixing` in one node; float32 on the CPU. The state gets no gradient."""

    @staticmethod
    def forward(ctx: Any, absolute: bool, keep: bool, utilities: Tensor, state: Tensor, *layers: Tensor) -> Tensor:
        (q, states), count = (x.reshape(-1, x.shape[-1]).contiguous() for x in (utilities, state)), len(layers) // 2
        weights, biases = [in_rows(w.t().unsqueeze(0)).squeeze(0) for w in layers[:count]], layers[count:]
        parts = parts_for(len(q) * sum(w.numel() for w in weights))
        rows, (first, of_1, of_2, of_v) = len(q) if keep else qmix_kernels.ROWS * len(parts), weights
        kept = [q.new_empty(rows, size) for size in (first.shape[1], of_1.shape[1], len(of_v), len(of_v))]
        out, given = q.new_empty(len(q)), (first, of_1, of_2, of_v.view(-1))
        share(qmix_kernels.forward, parts, absolute, *map(arrays, ((q, states), given, biases, kept)), out.numpy())
        ctx.save_for_backward(q, states, *kept, *layers[1:count])
        ctx.absolute, ctx.shape = absolute, utilities.shape
        return out.view(*utilities.shape[:-1], 1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        *known, w_1, w_2, w_v = ctx.saved_tensors
        (q, state, layer, *_), rows = known, grad.reshape(-1).contiguous()
        shapes = [(layer.shape[1], state.shape[1]), *(w.shape for w in (w_1, w_2)), w_v.shape[1:]]
        shapes += [(shape[0],) for shape in shapes[:3]] + [(1,)]
        parts = parts_for(2 * len(q) * sum(math.prod(shape) for shape in shapes))
        sums, d_q = PartSums(parts, shapes), th.empty_like(q)
        weights = arrays((w_1.contiguous(), w_2.contiguous(), w_v.reshape(-1)))
        passed = (ctx.absolute, arrays(known), weights, rows.numpy(), d_q.numpy(), sums.arrays)
        share(qmix_kernels.backward, parts, *passed)
        totals = sums.total()
        totals[3] = totals[3].view(1, -1)
        return None, None, d_q.view(ctx.shape), None, *totals


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

    def mix(self, utilities: Tensor, state: Tensor, actions: Inputs | None, baseline: Tensor | None) -> Tensor:
        """`[B,T,N]` -> `[B,T,1]`."""
        if takes_kernels(utilities) and not state.requires_grad:
            layers = self._layers()
            keep = th.is_grad_enabled() and any(x.requires_grad for x in (utilities, *layers))
            q_tot: Tensor = _Mixer.apply(self.monotonic, keep, utilities, state, *layers)
            return q_tot
        hyper = self.hyper_w1(state), self.hyper_b1(state), self.hyper_w2(state), self.v(state)
        return mixing(self.monotonic, utilities, *hyper)

    def _layers(self) -> list[Tensor]:
        """Weights, then biases: all first maps as one, the second ones of w_1, w_2, v."""
        nets: list[Any] = [self.hyper_w1, self.hyper_w2, self.v]
        first, second = [*(net[0] for net in nets), self.hyper_b1], [net[-1] for net in nets]
        weights = th.cat([x.weight for x in first]), *(x.weight for x in second)
        return [*weights, th.cat([x.bias for x in first]), *(x.bias for x in second)]
