"""Replay memory: `python benchmarks/buffer.py [--maps MMM2,2c_vs_64zg] [--episodes 64]`.

Plays episodes of the embedded engine with untrained FOP policies, stores them, and reports the time to insert one and
to sample 32, the bytes of an episode, and the memory of 5,000 episodes of that length and of the time limit's. Beside
it stands PyMARL's layout: every episode padded to the time limit; float32 observations and states, int32 availability,
int64 actions, one-hot actions, rewards, uint8 terminations, int64 filled flags. Everything sampled is compared with
what was inserted, bit by bit.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from typing import Any

import numpy as np
from batches import STEPS, play, report, seconds

from components.action_space import DiscreteActions
from components.episode_buffer import ReplayBuffer
from envs.multiagentenv import EnvInfo

CAPACITY = 5000  # episodes of a full buffer, the default
SAMPLED = 32
GIB = 1024**3


def pymarl_bytes(info: EnvInfo) -> int:
    """Bytes of one episode in PyMARL's layout."""
    assert isinstance(info.action_space, DiscreteActions)
    n_agents, n_actions = info.n_agents, info.action_space.n_actions
    floats = n_agents * info.obs_dim + info.state_dim + 1 + n_agents * n_actions  # obs, state, reward, one-hots
    step = 4 * floats + 4 * n_agents * n_actions + 8 * n_agents + 1 + 8  # avail, actions, terminated, filled
    return (info.episode_limit + 1) * step


def lossless(buffer: ReplayBuffer, episodes: list[dict[str, np.ndarray]]) -> bool:
    """Whether the buffer returns the observations, states and actions that were inserted."""
    for number, episode in enumerate(episodes):
        batch, steps = buffer.gather([number]), len(episode["reward"]) - 1
        for name in ("obs", "state"):
            if getattr(batch, name)[0].numpy().tobytes() != episode[name].tobytes():
                return False
        if not (batch.actions[0].numpy() == episode["actions"][:steps]).all():
            return False
    return True


def measure(name: str, count: int) -> dict[str, Any]:
    """One row."""
    info, episodes = play(name, count)
    buffer = ReplayBuffer(info, len(episodes), 1)
    insert = [seconds(lambda episode=episode: buffer.insert(episode)) for episode in episodes]
    sample = [seconds(lambda: buffer.sample(min(SAMPLED, len(episodes)))) for _ in range(20)]
    rows = sum(len(episode["reward"]) for episode in episodes)
    ours, theirs = buffer.nbytes / len(episodes), pymarl_bytes(info)
    full = buffer.nbytes / rows * (info.episode_limit + 1)
    return {
        "map": name,
        "mean steps": rows / len(episodes) - 1,
        "limit": info.episode_limit,
        "insert ms": statistics.median(insert) * 1e3,
        f"sample {SAMPLED} ms": statistics.median(sample) * 1e3,
        "kB/episode": ours / 1e3,
        "5000 GiB": CAPACITY * ours / GIB,
        "at the limit GiB": CAPACITY * full / GIB,
        "PyMARL GiB": CAPACITY * theirs / GIB,
        "share": ours / theirs,
        "share at the limit": full / theirs,
        "lossless": lossless(buffer, episodes),
    }


def main() -> int:
    """Measure the maps of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--maps", default=",".join(STEPS), help="comma-separated")
    parser.add_argument("--episodes", type=int, default=64, help="episodes played")
    parser.add_argument("--json", action="store_true", help="a list of objects in place of the table")
    args = parser.parse_args()
    report([measure(name, args.episodes) for name in args.maps.split(",")], args.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
