"""The body shared by agents and critics: inputs to features, with or without memory.

Shape legend: K ensemble members, G parameter groups, B episodes, T steps, N agents, I inputs, H hidden, F outputs,
P packed rows, M rows of one step (see `modules/gru.py`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch as th
from torch import Tensor, nn

from components.inputs import Inputs
from modules.dense import Packed, chain, numbers_alone, tall
from modules.gru import GRU
from modules.layers import AgentAxis, GroupedLinear
from modules.recurrent import recurrent


@dataclass(frozen=True)
class AgentShape:
    """Sizes of a per-agent network: agents N, inputs I, hidden units H, members K, shared parameters or not."""

    n_agents: int
    n_inputs: int
    hidden_dim: int
    share_parameters: bool = True
    ensemble: int = 1


class Trunk(nn.Module, ABC):
    """Inputs `[B,T,N,I]` to packed features `[G,P,H]`; `rows[t]` of the B episodes are real at step t."""

    def __init__(self, shape: AgentShape) -> None:
        super().__init__()
        self.shape = shape
        self.axis = AgentAxis(shape.n_agents, shape.ensemble, shape.share_parameters)
        self.first = GroupedLinear(self.axis.groups, shape.n_inputs, shape.hidden_dim)

    def init_hidden(self, batch: int) -> Tensor:
        """Zeros `[B,N,H]`, the history before the first step."""
        return self.first.weight.new_zeros(batch, self.shape.n_agents, self.shape.hidden_dim)

    def forward(self, inputs: Inputs, rows: Sequence[int], hidden: Tensor | None = None) -> Tensor:
        """Features of every real step, `[G,P,H]`; `hidden [G,M,H]` is the state before the first, zeros if None."""
        return self.body(self.first(self.packed(inputs, rows), relu=True), self.axis.counts(rows), hidden)

    def packed(self, inputs: Inputs, rows: Sequence[int]) -> Tensor | Packed:
        """The real steps' inputs, `[G,P,I]`; ones are told by their places where the kernels take them."""
        if tuple(inputs.shape[2:]) != (self.shape.n_agents, self.shape.n_inputs):
            expected = f"[B,T,{self.shape.n_agents},{self.shape.n_inputs}]"
            raise ValueError(f"agent inputs must be {expected}, got {tuple(inputs.shape)}")
        if isinstance(inputs, Tensor):
            return self.axis.pack(inputs, rows)
        many = tall(inputs.numbers, sum(self.axis.counts(rows))) and inputs.numbers.shape[-1] > 0
        return inputs.packed(self.axis, rows) if many else self.axis.pack(inputs.full(), rows)

    def through(self, inputs: Inputs, rows: Sequence[int], head: GroupedLinear) -> Tensor:
        """What `head` makes of the features of every real step, `[G,P,F]`."""
        outputs: Tensor = head(self(inputs, rows))
        return outputs

    @abstractmethod
    def body(self, x: Tensor, counts: Sequence[int], hidden: Tensor | None) -> Tensor:
        """From the first layer to features, both `[G,P,H]`, `counts[t]` packed rows at step t."""

    def next_hidden(self, features: Tensor, hidden: Tensor) -> Tensor:
        """State after one step of all rows, from its features; both `[G,M,H]`."""
        return features


class RNNTrunk(Trunk):
    """Linear, ReLU, GRU: the DRQN body of PyMARL."""

    def __init__(self, shape: AgentShape) -> None:
        super().__init__(shape)
        self.rnn = GRU(self.axis.groups, shape.hidden_dim, shape.hidden_dim)

    def body(self, x: Tensor, counts: Sequence[int], hidden: Tensor | None) -> Tensor:
        """GRU over the steps."""
        out: Tensor = self.rnn(x, counts, hidden)
        return out

    def through(self, inputs: Inputs, rows: Sequence[int], head: GroupedLinear) -> Tensor:
        """All three layers at once."""
        given = self.packed(inputs, rows)
        given = numbers_alone(given) if isinstance(given, Tensor) and tall(given, given.shape[1]) else given
        counts = self.axis.counts(rows)
        if isinstance(given, Tensor) or given.x.requires_grad:
            outputs: Tensor = head(self.body(self.first(given, relu=True), counts, None))
            return outputs
        first, last = ((layer.weight, layer.bias) for layer in (self.first, head))
        return recurrent(given, counts, None, self.rnn.cell, first, last)


class MLPTrunk(Trunk):
    """Linear, ReLU, linear, ReLU: no memory; the hidden state is carried along unchanged."""

    def __init__(self, shape: AgentShape) -> None:
        super().__init__(shape)
        self.second = GroupedLinear(self.axis.groups, shape.hidden_dim, shape.hidden_dim)

    def body(self, x: Tensor, counts: Sequence[int], hidden: Tensor | None) -> Tensor:
        """A second layer, step by step the same."""
        out: Tensor = self.second(x, relu=True)
        return out

    def through(self, inputs: Inputs, rows: Sequence[int], head: GroupedLinear) -> Tensor:
        """All three layers at once."""
        layers = (self.first, self.second, head)
        return chain(self.packed(inputs, rows), [x.weight for x in layers], [x.bias for x in layers])

    def next_hidden(self, features: Tensor, hidden: Tensor) -> Tensor:
        """Nothing to remember."""
        return hidden


class Head(nn.Module):
    """A trunk and a linear head: outputs `[K,B,T,N,F]` at every step, zeros in the padding.

    Args:
        trunk: the body.
        n_outputs: F, for example one value per action.
    """

    def __init__(self, trunk: Trunk, n_outputs: int) -> None:
        super().__init__()
        self.trunk = trunk
        self.head = GroupedLinear(trunk.axis.groups, trunk.shape.hidden_dim, n_outputs)

    def forward(self, inputs: Inputs, rows: Sequence[int]) -> Tensor:
        """`[B,T,N,I]` -> `[K,B,T,N,F]`."""
        return self.trunk.axis.unpack(self.trunk.through(inputs, rows, self.head), rows, len(inputs))


class AgentNetwork(Head):
    """The policy or utility network of every agent: K = 1, also called step by step."""

    @th.no_grad()
    def scale_outputs(self, factor: float) -> None:
        """Multiply the output layer's weights: with a small `factor` training starts from outputs near 0."""
        for weight in self.head.parameters():
            weight.mul_(factor)

    @th.no_grad()
    def shift_outputs(self, which: slice, amount: float) -> None:
        """Add `amount` to the biases of the outputs `which`."""
        self.head.bias[..., which] += amount

    def init_hidden(self, batch: int) -> Tensor:
        """Zeros `[B,N,H]`."""
        return self.trunk.init_hidden(batch)

    def unroll(self, inputs: Inputs, rows: Sequence[int]) -> Tensor:
        """Outputs of whole episodes, `[B,T,N,I]` -> `[B,T,N,F]`."""
        out: Tensor = self(inputs, rows)
        return out.squeeze(0)

    def step(self, inputs: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """One step of acting: `[B,N,I]`, `[B,N,H]` -> `[B,N,F]`, `[B,N,H]`."""
        axis, rows = self.trunk.axis, [len(inputs)]
        before = axis.hidden_to_groups(hidden)
        features = self.trunk(inputs.unsqueeze(1), rows, before)
        after = axis.hidden_from_groups(self.trunk.next_hidden(features, before))
        return axis.unpack(self.head(features), rows, len(inputs))[0, :, 0], after
