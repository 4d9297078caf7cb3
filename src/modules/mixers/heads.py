"""The last step of a lambda network with heads: one pass on the CPU, PyTorch's operations elsewhere.

Shape legend: R rows, K networks, P heads, N agents.
"""

from __future__ import annotations

from typing import Any

import torch as th
from torch import Tensor
from torch.autograd.function import once_differentiable

from modules import head_kernels
from utils.threads import parts_for, share, takes_kernels

COST = 64  # of a gate in these kernels, in multiply-adds


class _GatedSum(th.autograd.Function):
    @staticmethod
    def forward(ctx: Any, maps: Tensor, added: Tensor, n_agents: int) -> Tensor:
        maps, added = maps.contiguous(), added.contiguous()
        rows, members, count = added.shape
        gates, out = maps.new_empty(rows, members, 2 * count), maps.new_empty(members, rows, n_agents)
        arrays = (y.numpy() for y in (maps, added, gates, out))
        share(head_kernels.forward, parts_for(COST * added.numel()), *arrays)
        ctx.save_for_backward(maps, gates)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        maps, gates = ctx.saved_tensors
        d_maps, d_added = th.empty_like(maps), maps.new_empty(*maps.shape[:2], gates.shape[2] // 2)
        arrays = (y.numpy() for y in (maps, gates, grad.contiguous(), d_maps, d_added))
        share(head_kernels.backward, parts_for(COST * d_added.numel()), *arrays)
        return d_maps, d_added, None


def gated_sum(maps: Tensor, added: Tensor, n_agents: int) -> Tensor:
    """sum_p |k_p| sigmoid(a_pi) sigmoid(c_pi + added_pi), `[K,...,N]`.

    Args:
        maps: k_p, then a_pi, then c_pi, `[...,K,P+2PN]`.
        added: `[...,K,PN]`.
        n_agents: N.
    """
    count = added.shape[-1]
    if takes_kernels(maps):
        out: Tensor = _GatedSum.apply(maps.flatten(0, -3), added.flatten(0, -3), n_agents)
        return out.view(-1, *maps.shape[:-2], n_agents)
    keys, own, joint = maps.split([count // n_agents, count, count], dim=-1)
    gates = (th.sigmoid(own) * th.sigmoid(joint + added)).unflatten(-1, (-1, n_agents))
    return (keys.abs().unsqueeze(-1) * gates).sum(-2).movedim(-2, 0)
