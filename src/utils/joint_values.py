"""Values a learner gives to chosen joint actions of a one-step game: payoff tables and surfaces."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch as th

from components.episode_buffer import ReplayBuffer, TrainBatch
from envs.multiagentenv import EnvSpec
from learners import Learner

FILE_NAME = "joint_values.json"
DIGITS = 6  # decimals kept
MAX_EXPLORED = 2000  # training actions kept


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


def explored(buffer: ReplayBuffer) -> dict[str, Any]:
    """First joint actions of stored episodes, oldest first: every `every`-th one, from episode number `first` on."""
    every = -(-len(buffer) // MAX_EXPLORED) or 1
    rows = np.array([episode[0] for episode in buffer.episodes], np.int64)[::every]
    actions = buffer.rows["actions"][rows]  # [X,N,1|D]
    return {"first": buffer.n_inserted - len(buffer), "every": every, "actions": _plain(actions)}


def record_tables(spec: EnvSpec, learner: Learner, greedy: np.ndarray, buffer: ReplayBuffer, folder: Path) -> str:
    """The game's own tables of Q_tot and Q_i over its joint actions, as text, and as `folder/joint_values.json`.

    Args:
        spec: of a game with `joint_actions` and `tables`.
        learner: whose values are asked for.
        greedy: the joint action `[N,1|D]` of the greedy policies, recorded beside the values.
        buffer: whose actions are recorded as the trail of exploration.
        folder: the run's directory.
    """
    assert spec.joint_actions is not None
    assert spec.tables is not None
    actions = spec.joint_actions()
    q_tot, utilities = joint_values(spec, learner, actions)
    record = {
        "joint_actions": _plain(actions),  # [P,N,1|D]
        "q_joint": _plain(q_tot),  # [P]
        "utilities": _plain(utilities),  # [P,N]
        "greedy": _plain(greedy),  # [N,1|D]
        "explored": explored(buffer),
    }
    part = folder / f".{FILE_NAME}.part"
    part.write_text(json.dumps(record), encoding="utf-8")
    os.replace(part, folder / FILE_NAME)
    return spec.tables(q_tot, utilities)


def _plain(numbers: np.ndarray) -> Any:
    return (numbers if numbers.dtype.kind in "iu" else numbers.astype(np.float64).round(DIGITS)).tolist()
