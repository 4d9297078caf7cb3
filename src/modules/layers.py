"""Building blocks with a leading group axis, and the mapping between it and the agent axis.

Shape legend: K ensemble members, B episodes, T steps, N agents, G groups of parameters, M rows, I inputs, H hidden.
Parameters exist once per group. Shared agents: G = K and M = B*N. Independent agents: G = K*N and M = B.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch as th
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from modules.dense import Packed, affine, chain, tall
from utils.transfer import moved

if TYPE_CHECKING:
    from components.inputs import Inputs


class GroupedLinear(nn.Module):
    """G linear maps in one batched GEMM, initialised as `torch.nn.Linear`: `[G,M,I] -> [G,M,out]`."""

    def __init__(self, groups: int, n_in: int, n_out: int) -> None:
        super().__init__()
        bound = 1.0 / math.sqrt(max(n_in, 1))
        self.weight = nn.Parameter(th.empty(groups, n_in, n_out).uniform_(-bound, bound))
        self.bias = nn.Parameter(th.empty(groups, 1, n_out).uniform_(-bound, bound))

    def forward(self, x: Tensor | Packed, relu: bool = False) -> Tensor:
        """Apply map g to `x[g]`, then ReLU if asked to; extra row axes are allowed: `[G,...,I] -> [G,...,out]`."""
        if isinstance(x, Packed):
            return affine(x, self.weight, self.bias, relu)
        groups, n_in, n_out = self.weight.shape
        rows = x if x.dim() == self.weight.dim() else x.reshape(groups, -1, n_in)
        return affine(rows, self.weight, self.bias, relu).view(*x.shape[:-1], n_out)


class AgentAxis(nn.Module):
    """Moves between padded `[K,B,T,N,F]` and the packed, grouped layout `[G,P,F]` of `modules/gru.py`.

    Episodes must be sorted by length, longest first; `rows[t]` of them are real at step t. Padding is left out
    on the way in and filled with zeros on the way out.

    Args:
        n_agents: N.
        ensemble: K, copies of the network with parameters of their own.
        share_parameters: whether the agents use the same parameters.
    """

    def __init__(self, n_agents: int, ensemble: int = 1, share_parameters: bool = True) -> None:
        super().__init__()
        self.n_agents, self.ensemble, self.shared = n_agents, ensemble, share_parameters
        self.groups = ensemble if share_parameters else ensemble * n_agents

    def counts(self, rows: Sequence[int]) -> list[int]:
        """Packed rows of every step in one group."""
        return [count * self.n_agents for count in rows] if self.shared else list(rows)

    def pack(self, x: Tensor, rows: Sequence[int]) -> Tensor:
        """`[B,T,N,F]` (the same for each member) -> `[G,P,F]`."""
        batch, steps, n_agents, width = x.shape
        flat = x.transpose(0, 1).reshape(steps * batch, n_agents, width)
        if sum(rows) < steps * batch:
            flat = flat.index_select(0, _real(tuple(rows), batch, x.device))
        packed = flat.reshape(1, -1, width) if self.shared else flat.transpose(0, 1)  # [1 or N,P,F]
        if self.ensemble == 1:
            return packed
        return packed.expand(self.ensemble, *packed.shape).reshape(self.groups, *packed.shape[1:])

    def unpack(self, y: Tensor, rows: Sequence[int], batch: int) -> Tensor:
        """`[G,P,F]` -> `[K,B,T,N,F]`."""
        steps, width = len(rows), y.shape[-1]
        if not self.shared:
            y = y.view(self.ensemble, self.n_agents, -1, width).transpose(1, 2)
        flat = y.reshape(self.ensemble, -1, self.n_agents * width)
        if sum(rows) < steps * batch:
            padded = flat.new_zeros(self.ensemble, steps * batch, self.n_agents * width)
            flat = padded.index_copy(1, _real(tuple(rows), batch, y.device), flat)
        return flat.view(self.ensemble, steps, batch, self.n_agents, width).transpose(1, 2)

    def hidden_to_groups(self, hidden: Tensor) -> Tensor:
        """`[B,N,H]` of one member -> `[G,M,H]`."""
        return hidden.reshape(1, -1, hidden.shape[-1]) if self.shared else hidden.transpose(0, 1)

    def hidden_from_groups(self, hidden: Tensor) -> Tensor:
        """`[G,M,H]` of one member -> `[B,N,H]`."""
        if self.shared:
            return hidden.view(-1, self.n_agents, hidden.shape[-1])
        return hidden.transpose(0, 1)


@lru_cache(maxsize=4)  # every network of an update asks for the same two: with and without the last step
def _real(rows: tuple[int, ...], batch: int, device: th.device) -> Tensor:
    """Numbers t * B + b of the real steps, `[sum(rows)]`; not to be written to."""
    real = np.arange(batch) < np.array(rows)[:, None]  # [T,B]
    return moved(th.from_numpy(np.flatnonzero(real)), device)


class MLP(nn.Sequential):
    """Linear layers with ReLU between them, one after the other; many rows go through all of them at once."""

    def forward(self, x: Tensor) -> Tensor:
        """`[...,I]` -> `[...,out]`."""
        if not tall(x, x.numel() // x.shape[-1]):
            out: Tensor = super().forward(x)
            return out
        return self.together([self], x).squeeze(0)

    @staticmethod
    def together(nets: Sequence[nn.Sequential], x: Tensor) -> Tensor:
        """What K networks of the same sizes make of the same rows: `[...,I]` -> `[K,...,out]`."""
        if not tall(x, x.numel() // x.shape[-1]):
            return th.stack([net(x) for net in nets])
        linear = [[layer for layer in net if isinstance(layer, nn.Linear)] for net in nets]
        layers = list(zip(*linear, strict=True))  # of every layer, the K members'
        return _rows_through(
            x, [_stack(y.weight for y in one) for one in layers], [_stack(y.bias for y in one) for one in layers]
        )


class Linear(nn.Linear):
    """`nn.Linear`, many rows by the kernels."""

    def forward(self, x: Tensor) -> Tensor:
        """`[...,I]` -> `[...,out]`."""
        return side_by_side(x, [self.weight], None if self.bias is None else [self.bias])


def mlp(*sizes: int) -> MLP:
    """Linear layers with ReLU between them: `mlp(I, H, out)`."""
    layers: list[nn.Module] = []
    for n_in, n_out in itertools.pairwise(sizes):
        layers += [nn.Linear(n_in, n_out), nn.ReLU()]
    return MLP(*layers[:-1])


def side_by_side(x: Tensor | Packed, weights: Sequence[Tensor], biases: Sequence[Tensor] | None = None) -> Tensor:
    """Affine maps of the same rows as one product, their results one after the other.

    `x [...,I]`, `weights [out,I]`, `biases [out]` (none: zeros) -> `[...,sum of out]`; of packed rows `[P,sum of out]`.
    """
    weight = th.cat(list(weights)) if len(weights) > 1 else weights[0]
    bias = None if biases is None else th.cat(list(biases)) if len(biases) > 1 else biases[0]
    if isinstance(x, Tensor) and not tall(x, x.numel() // x.shape[-1]):
        return F.linear(x, weight, bias)
    bias = weight.new_zeros(len(weight)) if bias is None else bias
    if isinstance(x, Packed):
        return affine(x, weight.t().unsqueeze(0), bias.view(1, 1, -1)).squeeze(0)
    return _rows_through(x, [weight.unsqueeze(0)], [bias.unsqueeze(0)]).squeeze(0)


def _stack(members: Iterable[Tensor]) -> Tensor:
    """`[K,...]`; a view where there is only one."""
    every = list(members)
    return th.stack(every) if len(every) > 1 else every[0].unsqueeze(0)


def _rows_through(x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor]) -> Tensor:
    """`x [...,I]` through maps `weights [K,out,I]`, `biases [K,out]`, ReLU between them -> `[K,...,out]`."""
    rows = x.reshape(1, -1, x.shape[-1])
    out = chain(
        rows.expand(len(weights[0]), -1, -1), [w.transpose(1, 2) for w in weights], [b.unsqueeze(1) for b in biases]
    )
    return out.view(len(out), *x.shape[:-1], -1)


def frozen(module: nn.Module) -> Callable[..., Tensor]:
    """`module` as a function whose weights get no gradient; its inputs do."""
    trained = [weight for weight in module.parameters() if weight.requires_grad]

    def call(*args: Any, **kwargs: Any) -> Tensor:
        for weight in trained:
            weight.requires_grad_(False)
        try:
            out: Tensor = module(*args, **kwargs)
        finally:
            for weight in trained:
                weight.requires_grad_(True)
        return out

    return call


class Ensemble(nn.Module):
    """K mixers called side by side: results are stacked on a leading axis."""

    def __init__(self, members: list[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    @property
    def first(self) -> Any:
        """The first member."""
        return self.members[0]

    def forward(
        self, utilities: Tensor, state: Tensor, *, actions: Inputs | None = None, baseline: Tensor | None = None
    ) -> Tensor:
        """`utilities` and `baseline [K,B,T,N]`, `state [B,T,S]`, `actions [B,T,N,U]` -> `[K,B,T,1]`."""
        first = self.first
        first.check(utilities[0], state, actions, None if baseline is None else baseline[0])
        # time first, as in `Mixer.forward`
        given = (utilities.transpose(1, 2), state.transpose(0, 1), None if actions is None else actions.transpose(0, 1))
        out: Tensor = first.mix_all(self.members, *given, None if baseline is None else baseline.transpose(1, 2))
        return out.transpose(1, 2)
