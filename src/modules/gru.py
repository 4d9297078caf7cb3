"""A GRU over whole sequences with a leading group axis, with a hand-written backward pass.

G groups of parameters (ensemble members, or agents that do not share), T steps, M rows (episodes x agents),
I inputs, H hidden. The input-to-gate product is one GEMM over the whole sequence, the recurrent weight gradient
is one GEMM over the whole sequence; only the recurrence itself is a loop. Same function as `torch.nn.GRU`.
"""

from __future__ import annotations

import math
from typing import Any

import torch as th
from torch import Tensor, nn


class _Recurrence(th.autograd.Function):
    """h_t = (1 - z) n + z h_{t-1} for all t, given the input part of the gates.

    r = sigmoid(x_r + h W_r + b_r), z = sigmoid(x_z + h W_z + b_z), n = tanh(x_n + r (h W_n + b_n)).
    """

    @staticmethod
    def forward(ctx: Any, x_gates: Tensor, h_0: Tensor, weight: Tensor, bias: Tensor) -> Tensor:  # type: ignore[override]
        groups, steps, rows, width = x_gates.shape
        size = width // 3
        rz = th.empty(groups, steps, rows, 2 * size, dtype=x_gates.dtype, device=x_gates.device)
        h_n = th.empty(groups, steps, rows, size, dtype=x_gates.dtype, device=x_gates.device)
        new = th.empty_like(h_n)
        hidden = th.empty(groups, steps + 1, rows, size, dtype=x_gates.dtype, device=x_gates.device)
        hidden[:, 0] = h_0
        for t in range(steps):
            h_tm1 = hidden[:, t]
            gates = th.baddbmm(bias, h_tm1, weight)  # [G,M,3H]
            rz_t = th.add(x_gates[:, t, :, : 2 * size], gates[..., : 2 * size], out=rz[:, t]).sigmoid_()
            h_n[:, t] = gates[..., 2 * size :]
            n_t = th.addcmul(x_gates[:, t, :, 2 * size :], rz_t[..., :size], gates[..., 2 * size :], out=new[:, t])
            n_t.tanh_()
            th.lerp(n_t, h_tm1, rz_t[..., size:], out=hidden[:, t + 1])
        ctx.save_for_backward(rz, h_n, new, hidden, weight)
        return hidden[:, 1:]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # type: ignore[override]
        rz, h_n, new, hidden, weight = ctx.saved_tensors
        groups, steps, rows, size = new.shape
        r, z = rz.chunk(2, dim=-1)
        # dn = dh (1-z)(1-n^2), dz = dh (h_{t-1}-n) z (1-z), dr = dn (h W_n + b_n) r (1-r), all in pre-activations
        to_n = (1.0 - z) * (1.0 - new * new)
        to_z = (hidden[:, :-1] - new) * z * (1.0 - z)
        to_r = to_n * h_n * r * (1.0 - r)
        d_gates = th.empty(groups, steps, rows, 3 * size, dtype=grad.dtype, device=grad.device)
        factors = th.cat((to_r, to_z, to_n * r), dim=-1)  # [G,T,M,3H], gate gradient per unit of dh
        weight_t = weight.transpose(1, 2)
        d_hidden = th.empty(groups, steps, rows, size, dtype=grad.dtype, device=grad.device)
        d_h = th.zeros(groups, rows, size, dtype=grad.dtype, device=grad.device)
        for t in range(steps - 1, -1, -1):
            d_t = th.add(d_h, grad[:, t], out=d_hidden[:, t])
            triple = d_t.unsqueeze(-2).expand(groups, rows, 3, size)
            d_g = th.mul(
                factors[:, t].view(groups, rows, 3, size), triple, out=d_gates[:, t].view(groups, rows, 3, size)
            )
            d_h = th.baddbmm(d_t * z[:, t], d_g.view(groups, rows, 3 * size), weight_t)
        flat = d_gates.view(groups, steps * rows, 3 * size)
        d_weight = th.bmm(hidden[:, :-1].reshape(groups, steps * rows, size).transpose(1, 2), flat)
        d_bias = flat.sum(1, keepdim=True)
        d_x = d_gates.clone()
        d_x[..., 2 * size :] = d_hidden * to_n  # the input enters n without the factor r
        return d_x, d_h, d_weight, d_bias


class GRU(nn.Module):
    """GRU with G independent parameter groups, initialised as `torch.nn.GRU`.

    Args:
        groups: G.
        n_in: I.
        n_hidden: H.
    """

    def __init__(self, groups: int, n_in: int, n_hidden: int) -> None:
        super().__init__()
        bound = 1.0 / math.sqrt(n_hidden)
        self.n_hidden = n_hidden
        self.weight_in = nn.Parameter(th.empty(groups, n_in, 3 * n_hidden).uniform_(-bound, bound))
        self.bias_in = nn.Parameter(th.empty(groups, 1, 3 * n_hidden).uniform_(-bound, bound))
        self.weight_hidden = nn.Parameter(th.empty(groups, n_hidden, 3 * n_hidden).uniform_(-bound, bound))
        self.bias_hidden = nn.Parameter(th.empty(groups, 1, 3 * n_hidden).uniform_(-bound, bound))

    def forward(self, x: Tensor, hidden: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """`x [G,T,M,I]`, `hidden [G,M,H]` or None for zeros -> all hidden states `[G,T,M,H]` and the last."""
        groups, steps, rows, n_in = x.shape
        if hidden is None:
            hidden = x.new_zeros(groups, rows, self.n_hidden)
        x_gates = th.baddbmm(self.bias_in, x.reshape(groups, steps * rows, n_in), self.weight_in)
        out = _Recurrence.apply(
            x_gates.view(groups, steps, rows, 3 * self.n_hidden), hidden, self.weight_hidden, self.bias_hidden
        )
        return out, out[:, -1]
