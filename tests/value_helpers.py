"""What tests of value-based learners share: a batch for sums on paper, and the matrix game with uniform data."""

from __future__ import annotations

import numpy as np
import torch as th
from torch import nn

import envs
from components.action_space import DiscreteActions
from components.episode_buffer import TrainBatch
from envs.multiagentenv import EnvInfo
from helpers import make_config, make_learner
from utils.joint_values import joint_values

PAIR_INFO = EnvInfo(2, 1, 1, 2, DiscreteActions(2), engine="toy", engine_version="1")
GAMMA = 0.5

# Utilities of two agents with two actions each, [episode][step][agent][action]. Episode 0 has two transitions and is
# cut, episode 1 has one and terminates; its last row is padding. Unavailable: action 0 of agent 2 at the start of
# episode 0, action 1 of agent 1 in its final observation.
ONLINE = th.tensor(
    [
        [[[1.0, 2.0], [0.0, 3.0]], [[4.0, 1.0], [2.0, 1.0]], [[1.0, 5.0], [3.0, 2.0]]],
        [[[2.0, 0.0], [1.0, 1.5]], [[7.0, 8.0], [9.0, 9.0]], [[99.0, 99.0], [99.0, 99.0]]],
    ]
)
TARGET = th.tensor(
    [
        [[[0.0, 1.0], [0.0, 2.0]], [[3.0, 6.0], [1.0, 2.0]], [[2.0, 9.0], [4.0, 0.0]]],
        [[[5.0, 0.0], [0.0, 0.5]], [[7.0, 8.0], [9.0, 9.0]], [[99.0, 99.0], [99.0, 99.0]]],
    ]
)


def pair_batch():
    """The two episodes: joint actions (0, 1), (0, 1) with rewards 1, 2 and (1, 0) with reward 4."""
    avail = th.ones(2, 3, 2, 2, dtype=th.bool)
    avail[0, 0, 1, 0] = avail[0, 2, 0, 1] = False
    actions = th.tensor([[[0, 1], [0, 1]], [[1, 0], [0, 0]]]).unsqueeze(-1)
    return TrainBatch(
        obs=th.zeros(2, 3, 2, 1),
        state=th.zeros(2, 3, 1),
        avail_actions=avail,
        actions=actions,
        reward=th.tensor([[1.0, 2.0], [4.0, 50.0]]).unsqueeze(-1),
        terminated=th.tensor([[0.0, 0.0], [1.0, 0.0]]).unsqueeze(-1),
        mask=th.tensor([[1.0, 1.0], [1.0, 0.0]]).unsqueeze(-1),
        action_space=PAIR_INFO.action_space,
        lengths=[2, 1],
    )


def pair_learner(alg, **overrides):
    """A learner for these episodes; its networks are for the test to replace."""
    return make_learner(make_config(alg, gamma=GAMMA, **overrides), PAIR_INFO)


def capture_loss(learner):
    """Replace `learner.optimise`: the list returned receives the losses that would have been minimised."""
    losses = []

    def keep(_, loss):
        losses.append(loss.item())
        return th.zeros(())

    learner.optimise = keep
    return losses


class Constant(nn.Module):
    """Stands in for a network of the state or of the state and the actions: the same numbers at every step."""

    def __init__(self, *numbers):
        super().__init__()
        self.numbers = th.tensor(numbers)

    def forward(self, state, *_):
        return self.numbers.expand(*state.shape[:-1], len(self.numbers))

    @staticmethod
    def together(nets, state, *_):
        return th.stack([net(state) for net in nets])


def one_step_batch(info, joint, rewards):
    """Episodes of one transition of two agents in a game with one state: joint actions `[B,2,1]`, rewards `[B]`."""
    count = len(joint)
    return TrainBatch(
        obs=th.ones(count, 2, 2, 1),
        state=th.ones(count, 2, 1),
        avail_actions=th.ones(count, 2, 2, info.action_space.n_actions, dtype=th.bool),
        actions=th.from_numpy(joint).unsqueeze(1),
        reward=rewards.view(count, 1, 1),
        terminated=th.ones(count, 1, 1),
        mask=th.ones(count, 1, 1),
        action_space=info.action_space,
        lengths=[1] * count,
    )


def train_on_every_joint_action(alg, updates, seed=0, payoff="paper", sampled=0, **overrides):
    """Uniform data: every update sees each joint action once or, with `sampled`, so many random ones.

    Returns the payoff `[A,A]`, the learnt Q_jt `[A,A]` and the payoff of the greedy individual actions.
    """
    spec = envs.resolve("matrix_game", {"payoff": payoff})
    env = spec.single()
    info, table, joint = env.env_info, th.from_numpy(env.payoff).float(), spec.joint_actions()
    small = {"agent": "mlp", "optimiser": "adam", "lr": 3e-3, "hidden_dim": 32, "target_update_interval": 20}
    learner = make_learner(make_config(alg, "matrix_game", **small | overrides), info, seed)
    generator, everything = th.Generator().manual_seed(seed), th.arange(len(joint))
    for update in range(updates):
        which = th.randint(len(joint), (sampled,), generator=generator) if sampled else everything
        learner.update(one_step_batch(info, joint[which.numpy()], table.flatten()[which]), update)
    q_tot, utilities = joint_values(spec, learner, joint)
    size = env.payoff.shape
    by_action = utilities.reshape(*size, 2)
    greedy = (by_action[:, 0, 0].argmax(), by_action[0, :, 1].argmax())
    print(f"{alg}, seed {seed}: greedy {greedy}, Q_jt\n{np.round(q_tot.reshape(size), 2)}")  # shown by pytest -s
    return env.payoff, q_tot.reshape(size), env.payoff[greedy]
