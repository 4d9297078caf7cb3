"""What a per-agent network reads, and how it is built: at once for acting, in two parts for an update.

Shape legend: B episodes (or E environments), T steps, N agents, O observation, S state, U encoded action, I input,
D of it numbers, J ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch as th
from torch import Tensor

from components.action_space import ActionSpace, DiscreteActions
from envs.multiagentenv import EnvInfo
from modules.dense import Packed, tall
from modules.layers import AgentAxis


@dataclass(frozen=True)
class InputSpec:
    """Fields of the input of one agent, concatenated in this order."""

    obs: bool = True
    state: bool = False
    last_action: bool = True
    agent_id: bool = True

    def dim(self, env_info: EnvInfo) -> int:
        """I, the length of the input."""
        sizes = (env_info.obs_dim, env_info.state_dim, env_info.action_space.enc_dim, env_info.n_agents)
        used = (self.obs, self.state, self.last_action, self.agent_id)
        return sum(size for size, on in zip(sizes, used, strict=True) if on)


def build_inputs(spec: InputSpec, obs: Tensor, state: Tensor, last_actions: Tensor) -> Tensor:
    """Concatenate the fields of `spec`.

    Args:
        spec: which fields.
        obs: `[B,T,N,O]`.
        state: `[B,T,S]`, repeated for each agent.
        last_actions: encoded previous actions `[B,T,N,U]`, zeros before the first.

    Returns:
        `[B,T,N,I]`.
    """
    batch, steps, n_agents, _ = obs.shape
    parts: list[Tensor] = []
    if spec.obs:
        parts.append(obs)
    if spec.state:
        parts.append(state.unsqueeze(2).expand(batch, steps, n_agents, -1))
    if spec.last_action:
        parts.append(last_actions)
    if spec.agent_id:
        parts.append(th.eye(n_agents, device=obs.device).expand(batch, steps, n_agents, n_agents))
    return parts[0] if len(parts) == 1 else th.cat(parts, dim=-1)


class AgentInputs:
    """Inputs `[B,T,N,I]` of a per-agent network: D numbers, then zeros but for J ones whose places are known.

    Encoded actions and agents' numbers are mostly zeros. The CPU's kernels add rows of weights for the ones in place of
    multiplying; `full` is for everybody else.

    Args:
        numbers: `[B,T,N,D]`.
        ones: places among the I inputs, int64, -1 for none, `[B,T,N,J]`.
        width: I.
    """

    def __init__(self, numbers: Tensor, ones: Tensor, width: int) -> None:
        self.numbers, self.ones, self.width = numbers, ones, width
        self._full: Tensor | None = None
        self._packed: dict[tuple[object, ...], Packed] = {}

    @property
    def shape(self) -> tuple[int, ...]:
        """(B, T, N, I)."""
        return (*self.numbers.shape[:-1], self.width)

    @property
    def device(self) -> th.device:
        """Where the numbers are."""
        return self.numbers.device

    def __len__(self) -> int:
        """B."""
        return len(self.numbers)

    def __getitem__(self, index: Any) -> AgentInputs:
        """Some episodes, steps, agents: slices of B, T and N."""
        some = AgentInputs(self.numbers[index], self.ones[index], self.width)
        some._full = None if self._full is None else self._full[index]
        return some

    def transpose(self, one: int, other: int) -> AgentInputs:
        """With two of the axes B, T, N exchanged."""
        return AgentInputs(self.numbers.transpose(one, other), self.ones.transpose(one, other), self.width)

    def full(self) -> Tensor:
        """All inputs as numbers, `[B,T,N,I]`; time first in memory, as it is packed."""
        if self._full is None:
            numbers, ones = self.numbers.transpose(0, 1), self.ones.transpose(0, 1)
            zeros = numbers.new_zeros(*numbers.shape[:-1], self.width - numbers.shape[-1] + 1)  # the last one for -1
            places = th.where(ones < 0, zeros.shape[-1] - 1, ones - numbers.shape[-1])
            encoded = zeros.scatter_(-1, places, 1.0)[..., :-1]
            self._full = th.cat((numbers, encoded), dim=-1).transpose(0, 1)
        return self._full

    def joined(self) -> Tensor | Packed:
        """The N agents' one after the other, `[B,T,N*I]`; for kernels, if there is nothing but ones, places."""
        batch, steps, n_agents = self.ones.shape[:3]
        if self.numbers.shape[-1] > 0 or not tall(self.numbers, batch * steps):
            return self.full().flatten(-2)
        first = th.arange(n_agents).unsqueeze(-1) * self.width
        places = th.where(self.ones < 0, self.ones, self.ones + first).reshape(1, batch * steps, -1)
        return Packed(self.numbers.new_empty(1, batch * steps, 0), places)

    def packed(self, axis: AgentAxis, rows: Sequence[int]) -> Packed:
        """The real steps of `rows[t]` episodes, as `axis` packs them; kept for all networks that ask for the same."""
        key = (axis.shared, axis.ensemble, *rows)
        if key not in self._packed:
            self._packed[key] = Packed(*(axis.pack(x, rows) for x in (self.numbers, self.ones)))
        x, ones = self._packed[key]
        return Packed(x[:1], ones[:1]) if x.stride(0) == 0 else self._packed[key]


Inputs: TypeAlias = Tensor | AgentInputs


def encoded(actions: Tensor, space: ActionSpace) -> AgentInputs:
    """Actions `[B,T,N,1|D]` as networks read them, `[B,T,N,U]`."""
    if isinstance(space, DiscreteActions):
        return AgentInputs(th.empty(*actions.shape[:-1], 0, device=actions.device), actions, space.n_actions)
    return AgentInputs(space.encode(actions), actions.new_empty(*actions.shape[:-1], 0, dtype=th.int64), space.dim)


def joined(inputs: Inputs) -> Tensor | Packed:
    """The N agents' one after the other, `[B,T,N*I]`, or the places of ones in that as rows."""
    return inputs.joined() if isinstance(inputs, AgentInputs) else inputs.flatten(-2)


def full(inputs: Inputs) -> Tensor:
    """All inputs as numbers, `[B,T,N,I]`."""
    return inputs.full() if isinstance(inputs, AgentInputs) else inputs


def agent_inputs(spec: InputSpec, obs: Tensor, state: Tensor, actions: Tensor, space: ActionSpace) -> AgentInputs:
    """The fields of `spec` at every observation of a batch, in the order of `build_inputs`.

    Args:
        spec: which fields.
        obs: `[B,T+1,N,O]`.
        state: `[B,T+1,S]`, repeated for each agent.
        actions: in environment units, `[B,T,N,1|D]`; before the first there is none.
        space: of the actions.
    """
    batch, steps, n_agents, _ = obs.shape
    each = (steps, batch, n_agents)  # time first, as batches lie in memory
    numbers: list[Tensor] = [obs.transpose(0, 1)] if spec.obs else []
    if spec.state:
        numbers.append(state.transpose(0, 1).unsqueeze(2).expand(*each, -1))
    before = actions.transpose(0, 1)
    if spec.last_action and not isinstance(space, DiscreteActions):
        last = space.encode(before)
        numbers.append(th.cat((th.zeros_like(last[:1]), last)))
    width, ones = sum(x.shape[-1] for x in numbers), []
    if spec.last_action and isinstance(space, DiscreteActions):
        ones.append(th.cat((th.full_like(before[:1], -1), before + width)).squeeze(-1))
        width += space.n_actions
    if spec.agent_id:
        ones.append((th.arange(n_agents, device=obs.device) + width).expand(each))
        width += n_agents
    every = numbers[0] if len(numbers) == 1 else th.cat([obs.new_empty(*each, 0), *numbers], dim=-1)
    places = th.stack(ones, -1) if ones else th.empty(*each, 0, dtype=th.int64, device=obs.device)
    return AgentInputs(every.transpose(0, 1), places.transpose(0, 1), width)
