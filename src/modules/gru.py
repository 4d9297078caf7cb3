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

from modules import gru_kernels


class _Saved:
    """What the forward pass keeps for the backward pass: gates, h W_n + b_n, candidates and hidden states."""

    def __init__(self, like: Tensor) -> None:
        groups, steps, rows, width = like.shape
        size = width // 3
        self.rz = like.new_empty(groups, steps, rows, 2 * size)
        self.h_n = like.new_empty(groups, steps, rows, size)
        self.new = like.new_empty(groups, steps, rows, size)
        self.hidden = like.new_empty(groups, steps + 1, rows, size)

    def tensors(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """In the order the kernels take them."""
        return self.rz, self.h_n, self.new, self.hidden


def _compiled(x: Tensor) -> bool:
    return x.device.type == "cpu" and x.dtype == th.float32


def _forward(x_gates: Tensor, weight: Tensor, bias: Tensor, saved: _Saved) -> None:
    """The recurrence in PyTorch operations, for any device and precision."""
    size = saved.new.shape[-1]
    for t in range(x_gates.shape[1]):
        h_tm1 = saved.hidden[:, t]
        gates = th.baddbmm(bias, h_tm1, weight)  # [G,M,3H]
        rz = th.add(x_gates[:, t, :, : 2 * size], gates[..., : 2 * size], out=saved.rz[:, t]).sigmoid_()
        saved.h_n[:, t] = gates[..., 2 * size :]
        inner = gates[..., 2 * size :] * rz[..., :size]
        new = th.add(x_gates[:, t, :, 2 * size :], inner, out=saved.new[:, t]).tanh_()
        th.lerp(new, h_tm1, rz[..., size:], out=saved.hidden[:, t + 1])


def _forward_compiled(x_gates: Tensor, weight: Tensor, bias: Tensor, saved: _Saved) -> None:
    """The same with one compiled pass per step."""
    x_array, arrays = x_gates.numpy(), [x.numpy() for x in saved.tensors()]
    gates = x_gates.new_empty(x_gates[:, 0].shape)
    gates_array = gates.numpy()
    for t in range(x_gates.shape[1]):
        th.baddbmm(bias, saved.hidden[:, t], weight, out=gates)
        gru_kernels.forward_step(t, x_array, gates_array, *arrays)


def _backward(grad: Tensor, weight_t: Tensor, saved: tuple[Tensor, ...]) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of h_{t-1} W + b and of the input part at every step `[G,T,M,3H]`, and of h_0 `[G,M,H]`."""
    rz, h_n, new, hidden = saved
    r, z = rz.chunk(2, dim=-1)
    # d n = d h (1-z)(1-n^2), d z = d h (h_{t-1}-n) z (1-z), d r = d n (h W_n + b_n) r (1-r), before the activations
    to_n = (1.0 - z) * (1.0 - new * new)
    to_z = (hidden[:, :-1] - new) * z * (1.0 - z)
    to_r = to_n * h_n * r * (1.0 - r)
    d_gates = new.new_empty(*new.shape[:-1], 3 * new.shape[-1])
    d_h = th.zeros_like(hidden[:, 0])
    d_all = th.empty_like(new)
    for t in range(new.shape[1] - 1, -1, -1):
        d_t = d_all[:, t] = d_h + grad[:, t]
        d_gates[:, t] = th.cat((d_t * to_r[:, t], d_t * to_z[:, t], d_t * to_n[:, t] * r[:, t]), dim=-1)
        d_h = th.baddbmm(d_t * z[:, t], d_gates[:, t], weight_t)
    d_x = th.cat((d_gates[..., : -new.shape[-1]], d_all * to_n), dim=-1)  # the input enters n without the factor r
    return d_gates, d_x, d_h


def _backward_compiled(grad: Tensor, weight_t: Tensor, saved: tuple[Tensor, ...]) -> tuple[Tensor, Tensor, Tensor]:
    """The same with one compiled pass per step."""
    groups, steps, rows, size = saved[2].shape
    d_gates, d_x = grad.new_empty(2, groups, steps, rows, 3 * size)
    d_h, carry = grad.new_zeros(2, groups, rows, size)
    arrays = tuple(x.numpy() for x in saved)
    outputs = d_gates.numpy(), d_x.numpy(), carry.numpy()
    grad_array, d_h_array = grad.contiguous().numpy(), d_h.numpy()
    for t in range(steps - 1, -1, -1):
        gru_kernels.backward_step(t, grad_array, d_h_array, arrays, *outputs)
        th.baddbmm(carry, d_gates[:, t], weight_t, out=d_h)
    return d_gates, d_x, d_h


class _Recurrence(th.autograd.Function):
    """h_t = (1 - z) n + z h_{t-1} for all t, given the input part of the gates.

    r = sigmoid(x_r + h W_r + b_r), z = sigmoid(x_z + h W_z + b_z), n = tanh(x_n + r (h W_n + b_n)).
    """

    @staticmethod
    def forward(ctx: Any, x_gates: Tensor, h_0: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        saved = _Saved(x_gates)
        saved.hidden[:, 0] = h_0
        loop = _forward_compiled if _compiled(x_gates) else _forward
        loop(x_gates.detach(), weight.detach(), bias.detach(), saved)
        ctx.save_for_backward(*saved.tensors(), weight)
        return saved.hidden[:, 1:]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        *saved, weight = ctx.saved_tensors
        loop = _backward_compiled if _compiled(grad) else _backward
        d_gates, d_x, d_h = loop(grad, weight.transpose(1, 2), tuple(saved))
        groups, _, _, width = d_gates.shape
        flat = d_gates.view(groups, -1, width)
        before = saved[3][:, :-1].reshape(groups, -1, width // 3)  # h_{t-1}
        return d_x, d_h, th.bmm(before.transpose(1, 2), flat), flat.sum(1, keepdim=True)


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
