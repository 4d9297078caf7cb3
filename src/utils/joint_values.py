"""Values a learner gives to chosen joint actions of a one-step game: payoff tables and surfaces."""

from __future__ import annotations

import numpy as np
import torch as th

from components.episode_buffer import TrainBatch
from envs.multiagentenv import EnvSpec
from learners import Learner


@th.no_grad()
def joint_values(spec: EnvSpec, learner: Learner, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Q_tot `[P]` and utilities `[P,N]` of P joint actions `[P,N,1|D]` in the game's first state."""
    first = spec.single().reset(0)
    count = len(actions)
    space = learner.env_info.action_space

    def repeat(array: np.ndarray) -> th.Tensor:
        """Two identical rows of time, `[P,2,...]`: what is seen before and after the one step."""
        return th.from_numpy(array).to(learner.device).expand(count, 2, *array.shape)

    zeros = th.zeros(count, 1, 1, device=learner.device)
    batch = TrainBatch(
        obs=repeat(first.obs),
        state=repeat(first.state),
        avail_actions=None if first.avail_actions is None else repeat(first.avail_actions),
        actions=th.from_numpy(actions).to(learner.device, space.action_dtype).unsqueeze(1),
        reward=zeros,
        terminated=zeros + 1.0,
        mask=zeros + 1.0,
        action_space=space,
        lengths=[1] * count,
    )
    q_tot, utilities = learner.evaluate_actions(batch)
    return q_tot[:, 0, 0].cpu().numpy(), utilities[:, 0].cpu().numpy()


def joint_value_tables(spec: EnvSpec, learner: Learner) -> str:
    """The game's own tables of Q_tot and Q_i over its joint actions, as text."""
    assert spec.joint_actions is not None
    assert spec.tables is not None
    q_tot, utilities = joint_values(spec, learner, spec.joint_actions())
    return spec.tables(q_tot, utilities)
