"""PettingZoo-like environments with known answers: agents that leave early, spaces that do not fit."""

from __future__ import annotations

import numpy as np
from gymnasium import spaces
from pettingzoo import ParallelEnv


class Leaving(ParallelEnv):
    """Agent a ends after 2 steps, b after 4 (or is cut there). Rewards 1 and 10 a step while present.

    Args:
        cut: b is truncated instead of terminated.
        kind: "discrete" (3 and 2 actions), "masked", "box" (2 and 1 numbers, different bounds), "mixed", "unbounded",
            "multi" or "text" (observations that cannot be flattened).
    """

    metadata = {"name": "leaving"}  # noqa: RUF012

    def __init__(self, cut: bool = False, kind: str = "discrete", max_cycles: int | None = 6) -> None:
        self.cut, self.kind, self.max_cycles = cut, kind, max_cycles
        self.possible_agents, self.agents = ["a", "b"], []
        self.taken: list[dict] = []
        self.t = 0
        sizes = {"a": 3, "b": 1}
        boxes = {agent: spaces.Box(-9, 9, (size,), np.float32) for agent, size in sizes.items()}
        masks = {agent: spaces.Box(0, 1, (n,), np.int8) for agent, n in (("a", 3), ("b", 2))}
        both = {agent: spaces.Dict({"observation": boxes[agent], "action_mask": masks[agent]}) for agent in sizes}
        self.seen = both if kind == "masked" else boxes
        if kind == "text":
            self.seen = {agent: spaces.Sequence(spaces.Discrete(2)) for agent in sizes}
        self.acts = {
            "box": {
                "a": spaces.Box(np.array([0, -4]), np.array([1, 4]), dtype=np.float32),
                "b": spaces.Box(0, 2, (1,)),
            },
            "mixed": {"a": spaces.Discrete(3), "b": spaces.Box(0, 2, (1,))},
            "unbounded": {agent: spaces.Box(-np.inf, np.inf, (1,)) for agent in sizes},
            "multi": {agent: spaces.MultiDiscrete([2, 2]) for agent in sizes},
        }.get(kind, {"a": spaces.Discrete(3, start=5), "b": spaces.Discrete(2)})

    def observation_space(self, agent):
        return self.seen[agent]

    def action_space(self, agent):
        return self.acts[agent]

    def _obs(self, agents):
        out = {agent: np.full(self.seen[agent].shape or (), self.t + 1, np.float32) for agent in agents}
        if self.kind == "masked":
            shapes = {"a": 3, "b": 1}
            out = {
                agent: {
                    "observation": np.full(shapes[agent], self.t + 1, np.float32),
                    "action_mask": np.array([0, 1, 0] if agent == "a" else [1, 0], np.int8),
                }
                for agent in agents
            }
        return out

    def reset(self, seed=None, options=None):
        self.agents, self.t = ["a", "b"], 0
        return self._obs(self.agents), {agent: {} for agent in self.agents}

    def step(self, actions):
        self.taken.append(actions)
        self.t += 1
        here = self.agents
        terminations = {"a": self.t == 2, "b": self.t == 4 and not self.cut}
        truncations = {"a": False, "b": self.t == 4 and self.cut}
        self.agents = [agent for agent in here if not (terminations[agent] or truncations[agent])]
        rewards = {agent: {"a": 1.0, "b": 10.0}[agent] for agent in here}
        infos = {agent: {"food": self.t, "text": "x", "return": 9.0} for agent in here}
        return self._obs(here), rewards, terminations, truncations, infos
