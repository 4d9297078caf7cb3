"""Individual critics Q_i(tau_i, u_i), K of them side by side.

Shape legend: K ensemble members, G parameter groups, B episodes, T steps, N agents, M rows, H hidden.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeAlias

import torch as th
from torch import Tensor, nn

from components.action_space import ActionSpace, ContinuousActions
from components.inputs import Inputs
from modules.agents.trunk import Head, Trunk
from modules.critics.q_function import ContinuousQ, DiscreteQ, QFunction
from modules.layers import GroupedLinear, frozen

ActionValue: TypeAlias = Callable[[Tensor], Tensor]
SINGLE = 4  # axes of actions of which every row has one, [B,T,N,U]


class DiscreteCritic(Head):
    """A trunk and one output per action."""

    def judge(self, inputs: Inputs, rows: Sequence[int], avail: Tensor | None, rng: th.Generator) -> QFunction:
        """Inputs `[B,T,N,I]`, `rows[t]` real episodes at step t, availability `[B,T,N,A]` -> `DiscreteQ`."""
        if avail is None:
            raise ValueError("a discrete critic needs avail_actions")
        return DiscreteQ(self(inputs, rows), avail)


class DuelingCritic(DiscreteCritic):
    """Q_i(a) = V_i + A_i(a), the A_i not centred, as in DOP's released code: two linear heads on one trunk."""

    def __init__(self, trunk: Trunk, n_actions: int) -> None:
        super().__init__(trunk, n_actions + 1)

    def forward(self, inputs: Inputs, rows: Sequence[int]) -> Tensor:
        """`[B,T,N,I]` -> `[K,B,T,N,A]`."""
        out = super().forward(inputs, rows)  # A_i of every action, then V_i
        return out[..., :-1] + out[..., -1:]


class _ActionHead(nn.Module):
    """[features, encoded action] -> linear, ReLU, linear -> one value."""

    def __init__(self, groups: int, hidden_dim: int, dim: int) -> None:
        super().__init__()
        self.first = GroupedLinear(groups, hidden_dim + dim, hidden_dim)
        self.last = GroupedLinear(groups, hidden_dim, 1)

    def forward(self, features: Tensor, actions: Tensor) -> Tensor:
        """Features `[G,P,H]` with actions `[G,P,U]`, or several to each row, `[G,P,S,U]` -> `[G,P,1]`, `[G,P,S,1]`."""
        if actions.dim() == features.dim():
            hidden = self.first(th.cat((features, actions), dim=-1))
        else:  # the share of the features is the same for all S: computed once
            split = [features.shape[-1], actions.shape[-1]]
            of_features, of_actions = self.first.weight.split(split, dim=1)
            known = th.baddbmm(self.first.bias, features, of_features).unsqueeze(-2)  # [G,P,1,H]
            hidden = known + (actions.flatten(1, 2) @ of_actions).unflatten(1, actions.shape[1:3])
        out: Tensor = self.last(th.relu(hidden))
        return out


class ActionCritic(nn.Module):
    """A trunk over the history and a head that also takes encoded actions.

    Args:
        trunk: the body.
        width: U, numbers that describe the actions one row is judged with.
    """

    def __init__(self, trunk: Trunk, width: int) -> None:
        super().__init__()
        self.trunk = trunk
        self.head = _ActionHead(trunk.axis.groups, trunk.shape.hidden_dim, width)

    def at(self, inputs: Inputs, rows: Sequence[int]) -> tuple[ActionValue, ActionValue]:
        """Q at these histories as a function of encoded actions, and the same with all its weights frozen.

        Args:
            inputs: `[B,T,N,I]`.
            rows: `rows[t]` of the B episodes are real at step t.

        Returns:
            Two functions `[B,T,N,U]` -> `[K,B,T,N]`, or of S actions each, `[B,T,N,S,U]` -> `[K,B,T,N,S]`.
        """
        axis, batch = self.trunk.axis, len(inputs)
        features = self.trunk(inputs, rows)

        def valued(judge: Callable[..., Tensor], known: Tensor, encoded: Tensor) -> Tensor:
            packed = axis.pack(encoded.flatten(3), rows).unflatten(-1, encoded.shape[3:])  # [G,P,U] or [G,P,S,U]
            values = axis.unpack(judge(known, packed).flatten(2), rows, batch)  # [K,B,T,N,S], S = 1 for a single one
            return values if encoded.dim() > SINGLE else values.squeeze(-1)

        return partial(valued, self.head, features), partial(valued, frozen(self.head), features.detach())


class ContinuousCritic(ActionCritic):
    """Q_i(tau_i, u_i) of an agent's own continuous action."""

    def __init__(self, trunk: Trunk, action_space: ContinuousActions) -> None:
        super().__init__(trunk, action_space.dim)
        self.action_space = action_space

    def judge(self, inputs: Inputs, rows: Sequence[int], avail: Tensor | None, rng: th.Generator) -> QFunction:
        """Inputs `[B,T,N,I]`, `rows[t]` real episodes at step t -> `ContinuousQ` at these histories."""

        def normal(size: th.Size) -> Tensor:
            return th.randn(size, generator=rng, device=inputs.device)

        return ContinuousQ(*self.at(inputs, rows), self.action_space, normal)


def make_critic(trunk: Trunk, action_space: ActionSpace, dueling: bool = False) -> DiscreteCritic | ContinuousCritic:
    """The critic that fits the action space; `dueling` is about discrete actions."""
    if isinstance(action_space, ContinuousActions):
        return ContinuousCritic(trunk, action_space)
    return (DuelingCritic if dueling else DiscreteCritic)(trunk, action_space.n_actions)
