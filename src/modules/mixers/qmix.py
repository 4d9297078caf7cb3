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
from modules.nodes import node
from modules.part_sums import PartSums
from modules.turned import beside, turned
from utils.threads import parts_for, share, takes_kernels

MAPS = 4  # first maps: of the hypernetworks of w_1, w_2, v, b_1
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
        q, states = (x.reshape(-1, x.shape[-1]).contiguous() for x in (utilities, state))
        count = len(layers) // 2
        (firsts, seconds), (of_firsts, of_seconds) = ((x[:MAPS], x[MAPS:]) for x in (layers[:count], layers[count:]))
        w_1, w_2 = turned([w.contiguous().unsqueeze(0) for w in seconds[:2]])
        given = beside(firsts, slice(states.shape[1])), w_1[0], w_2[0], seconds[2].view(-1)
        parts = parts_for(q.shape[0] * sum(w.numel() for w in given))
        rows, n_units = q.shape[0] if keep else qmix_kernels.ROWS * len(parts), seconds[2].shape[1]
        kept = [q.new_empty(rows, size) for size in (given[0].shape[1], w_1.shape[2], n_units, n_units)]
        out, biases = q.new_empty(q.shape[0]), (arrays(of_firsts), *arrays(of_seconds))
        passed = arrays((q, states)), arrays(given), biases, arrays(kept), out.numpy()
        share(qmix_kernels.forward, parts, absolute, *passed)
        ctx.save_for_backward(q, states, *kept, *seconds)
        ctx.absolute, ctx.shape, ctx.sizes = absolute, utilities.shape, [w.shape[0] for w in firsts]
        return out.view(*utilities.shape[:-1], 1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        *known, w_1, w_2, w_v = ctx.saved_tensors
        (q, state, layer, *_), rows = known, grad.reshape(-1).contiguous()
        shapes = [(layer.shape[1], state.shape[1]), *(w.shape for w in (w_1, w_2)), w_v.shape[1:]]
        shapes += [(shape[0],) for shape in shapes[:3]] + [(1,)]
        parts = parts_for(2 * q.shape[0] * sum(math.prod(shape) for shape in shapes))
        sums, d_q = PartSums(parts, shapes), th.empty_like(q)
        weights = arrays((w_1.contiguous(), w_2.contiguous(), w_v.reshape(-1)))
        passed = (ctx.absolute, arrays(known), weights, rows.numpy(), d_q.numpy(), sums.arrays)
        share(qmix_kernels.backward, parts, *passed)
        first, d_1, d_2, d_v, b_first, *b_second = sums.total()
        seconds = d_1, d_2, d_v.view(1, -1), *b_second
        maps, biases = (x.split(ctx.sizes) for x in (first, b_first))
        return None, None, d_q.view(ctx.shape), None, *maps, *seconds[:3], *biases, *seconds[3:]


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
            q_tot: Tensor = node(_Mixer, self.monotonic, keep, utilities, state, *layers)
            return q_tot
        hyper = self.hyper_w1(state), self.hyper_b1(state), self.hyper_w2(state), self.v(state)
        return mixing(self.monotonic, utilities, *hyper)

    def _layers(self) -> list[Tensor]:
        """Weights, then biases: the first maps for w_1, w_2, v, b_1, the second ones of w_1, w_2, v."""
        nets: list[Any] = [self.hyper_w1, self.hyper_w2, self.v]
        layers = [*(net[0] for net in nets), self.hyper_b1, *(net[-1] for net in nets)]
        return [*(x.weight for x in layers), *(x.bias for x in layers)]
