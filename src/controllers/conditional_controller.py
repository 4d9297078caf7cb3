"""MACPF's actors: a chain of conditional policies collects the data, independent policies are executed.

Shape legend: E environments, B episodes, T steps, N agents, A actions.
"""

from __future__ import annotations

from collections.abc import Callable

import torch as th
from torch import Tensor

from components.action_selectors import explore, mode, sample
from components.schedules import Level
from controllers.basic_controller import ActInputs
from controllers.soft_controller import SoftMAC
from envs.multiagentenv import EnvInfo
from modules.agents.dependency import Dependency
from modules.distributions import MaskedCategorical, SquashedNormal
from utils.config import Config

Pick = Callable[[MaskedCategorical, slice], Tensor]  # an action of one agent `[...,1,1]` from its policy


class ConditionalMAC(SoftMAC):
    """prod_i pi_i(u_i | tau_i, u_1..u_i-1) collects data, the modes of independent pi_i(u_i | tau_i) are tested.

    The learner's key `dependency_dim` is the size of the embedding of earlier actions.
    """

    action_kinds = frozenset({"discrete"})

    def __init__(self, config: Config, env_info: EnvInfo) -> None:
        super().__init__(config, env_info)
        self.dependency = Dependency(env_info.n_agents, self.space.enc_dim, config.params.dependency_dim)

    @property
    def head_dim(self) -> int:
        """Independent logits and the histories' part of the correction."""
        return 2 * self.space.head_dim

    def policy(self, head: Tensor, avail: Tensor | None, epsilon: Level = 0.0) -> MaskedCategorical | SquashedNormal:
        """The independent policies of outputs `[...,N,2A]`."""
        return super().policy(Dependency.independent(head), avail, epsilon)

    def conditional(self, head: Tensor, avail: Tensor | None, actions: Tensor) -> MaskedCategorical:
        """pi_i(. | tau_i, u_<i) of outputs `[...,N,2A]` for everyone's actions `[...,N,1]`."""
        return MaskedCategorical(self.dependency(head, self.space.encode(actions)), avail)

    def draw(self, head: Tensor, avail: Tensor, pick: Pick) -> Tensor:
        """Actions `[...,N,1]`, agent by agent, each chosen by `pick` given what the earlier ones chose."""
        chosen: list[Tensor] = []
        before = head.new_zeros(())
        for agent in range(self.env_info.n_agents):
            one = slice(agent, agent + 1)
            if chosen:
                before = before + self.dependency.embed(self.space.encode(chosen[-1]), slice(agent - 1, agent))
            else:
                before = head.new_zeros(*head.shape[:-2], 1, self.dependency.out.in_features)
            logits = self.dependency.correct(head[..., one, :], before)
            chosen.append(pick(MaskedCategorical(logits, avail[..., one, :]), one))
        return th.cat(chosen, dim=-2)

    def choose(self, head: Tensor, act: ActInputs, epsilon: float, test_mode: bool) -> Tensor:
        """From outputs `[E,N,2A]` to actions `[E,N,1]`; random actions are seen by the agents after them."""
        if test_mode:
            return mode(self.policy(head, act.avail), self.space)
        assert act.avail is not None
        avail = act.avail

        def pick(policy: MaskedCategorical, one: slice) -> Tensor:
            noise = act.noise[:, one]
            return explore(sample(policy, noise, self.space), avail[:, one], epsilon, noise, self.space)

        return self.draw(head, avail, pick)
