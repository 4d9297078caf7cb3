"""The batch of one update: episodes on the learner's device, cut to the longest.

Shape legend: B episodes, T transitions, N agents, A actions, D action dimensions, O observation, S state,
U encoded action, I agent input.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import torch as th
from torch import Tensor

from components.action_space import ActionSpace
from components.inputs import AgentInputs, InputSpec, agent_inputs


@dataclass
class TrainBatch:
    """B sampled episodes on the learner's device, longest first, padded with zeros to the longest.

    `rows_seen[t]` of them have an observation at step t, `rows_taken[t]` a transition: networks that run over time
    leave the padding out.

    Args:
        obs: `[B,T+1,N,O]`.
        state: `[B,T+1,S]`.
        avail_actions: `[B,T+1,N,A]` bool, or None for continuous actions.
        actions: `[B,T,N,1]` int64 or `[B,T,N,D]` float32.
        reward: `[B,T,1]`.
        terminated: true ends only, `[B,T,1]`.
        mask: 1 for real transitions, `[B,T,1]`.
        action_space: for encoding actions.
        lengths: transitions of each episode, longest first, B numbers; or T for all, padding included.
        on_policy: 1 for episodes taken because they are the newest, `[B,1,1]`; None: all play both parts.
        bootstraps: False if every transition ended its episode, so that no target needs a value of the next step.
    """

    obs: Tensor
    state: Tensor
    avail_actions: Tensor | None
    actions: Tensor
    reward: Tensor
    terminated: Tensor
    mask: Tensor
    action_space: ActionSpace
    lengths: list[int]
    on_policy: Tensor | None = None
    bootstraps: bool = True

    def __post_init__(self) -> None:
        if sorted(self.lengths, reverse=True) != self.lengths:
            raise ValueError(f"episodes must be sorted by length, longest first, got {self.lengths}")
        self._inputs: dict[InputSpec, AgentInputs] = {}
        steps = self.obs.shape[1]
        self.rows_seen = [sum(length >= t for length in self.lengths) for t in range(steps)]
        self.rows_taken = self.rows_seen[1:]

    @cached_property
    def actions_enc(self) -> Tensor:
        """Encoded actions, `[B,T,N,U]`."""
        return self.action_space.encode(self.actions)

    @cached_property
    def last_actions(self) -> Tensor:
        """Encoded actions before each observation, zeros before the first, `[B,T+1,N,U]`."""
        return th.cat((th.zeros_like(self.actions_enc[:, :1]), self.actions_enc), dim=1)

    @property
    def avail_taken(self) -> Tensor | None:
        """Availability where actions were taken, `[B,T,N,A]`, or None."""
        return None if self.avail_actions is None else self.avail_actions[:, :-1]

    def mask_of(self, on_policy: bool) -> Tensor:
        """Real transitions of the newest (or of the replayed) episodes, `[B,T,1]`."""
        if self.on_policy is None:
            return self.mask
        return self.mask * (self.on_policy if on_policy else 1.0 - self.on_policy)

    def pieces(self, each_step: bool, last_first: bool = True) -> Iterator[tuple[slice, list[int]]]:
        """The transitions' time axis and its rows: in one piece, or step by step, the last step first (or last)."""
        if not each_step:
            yield slice(0, len(self.rows_taken)), self.rows_taken
            return
        steps = range(len(self.rows_taken))
        for t in reversed(steps) if last_first else steps:
            if self.rows_taken[t] > 0:
                yield slice(t, t + 1), self.rows_taken[t : t + 1]

    def inputs(self, spec: InputSpec) -> AgentInputs:
        """Inputs of a per-agent network at every observation, `[B,T+1,N,I]`, made once for all that read the same."""
        if spec not in self._inputs:
            self._inputs[spec] = agent_inputs(spec, self.obs, self.state, self.actions, self.action_space)
        return self._inputs[spec]
