"""Episodes between environment and learner: EpisodeBatch (as collected), ReplayBuffer, TrainBatch (as sampled).

Shape legend: E environments, B episodes, T transitions, N agents, A actions, D action dimensions, O observation,
S state, U encoded action, I agent input.
"""

from __future__ import annotations

import itertools
import math
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch as th
from torch import Tensor

from components.action_space import ActionSpace
from components.inputs import InputSpec, build_inputs
from components.storage import GIB, check_buffer_fits, fields_of, rows_of
from envs.multiagentenv import EnvInfo
from utils.masking import valid_mask

TAKEN = ("actions", "reward", "terminated")  # fields of transitions: none in an episode's last row
ONE_STEP = 2  # rows of an episode of one transition


class EpisodeBatch:
    """E episodes being collected, time first: `data["obs"] [T_max+1,E,N,O]` and so on.

    Row t of obs, state and avail_actions is what was seen before action t; the last row of an episode of L
    transitions is row L, its final observation.

    Args:
        info: sizes.
        n_envs: E.
    """

    def __init__(self, info: EnvInfo, n_envs: int) -> None:
        self.data = {
            name: np.zeros((info.episode_limit + 1, n_envs, *shape), kind)
            for name, (shape, kind) in fields_of(info).items()
        }
        self.length = np.zeros(n_envs, np.int64)  # transitions, [E]

    def episode(self, index: int) -> dict[str, np.ndarray]:
        """Episode `index` at its own length: every field `[L+1,...]`."""
        rows = int(self.length[index]) + 1
        return {name: array[:rows, index] for name, array in self.data.items()}


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
        lengths: transitions of each episode, longest first, B numbers.
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
        steps = self.obs.shape[1]
        self.rows_seen = [sum(length >= t for length in self.lengths) for t in range(steps)]
        self.rows_taken = self.rows_seen[1:]
        self.actions_enc = self.action_space.encode(self.actions)  # [B,T,N,U]
        first = self.actions_enc.new_zeros(self.actions_enc[:, :1].shape)
        self.last_actions = th.cat((first, self.actions_enc), dim=1)  # [B,T+1,N,U]

    @property
    def avail_taken(self) -> Tensor | None:
        """Availability where actions were taken, `[B,T,N,A]`, or None."""
        return None if self.avail_actions is None else self.avail_actions[:, :-1]

    def mask_of(self, on_policy: bool) -> Tensor:
        """Real transitions of the newest (or of the replayed) episodes, `[B,T,1]`."""
        if self.on_policy is None:
            return self.mask
        return self.mask * (self.on_policy if on_policy else 1.0 - self.on_policy)

    def parts(self, max_rows: int) -> list[TrainBatch]:
        """The same episodes as batches of about `max_rows` observations of agents each, at least one episode.

        Neighbours in length stay together, so that each part is cut to its own longest episode.
        """
        n_parts = min(math.ceil(sum(self.rows_seen) * self.obs.shape[2] / max_rows), len(self.lengths))
        if n_parts == 1:
            return [self]
        ends = [round(k * len(self.lengths) / n_parts) for k in range(n_parts + 1)]
        return [self._part(slice(*pair)) for pair in itertools.pairwise(ends)]

    def _part(self, which: slice) -> TrainBatch:
        lengths = self.lengths[which]

        def cut(x: Tensor, steps: int) -> Tensor:
            return x.transpose(0, 1)[:steps, which].contiguous().transpose(0, 1)

        return TrainBatch(
            obs=cut(self.obs, lengths[0] + 1),
            state=cut(self.state, lengths[0] + 1),
            avail_actions=None if self.avail_actions is None else cut(self.avail_actions, lengths[0] + 1),
            actions=cut(self.actions, lengths[0]),
            reward=cut(self.reward, lengths[0]),
            terminated=cut(self.terminated, lengths[0]),
            mask=cut(self.mask, lengths[0]),
            action_space=self.action_space,
            lengths=lengths,
            on_policy=None if self.on_policy is None else self.on_policy[which],
        )

    def pieces(self, each_step: bool) -> Iterator[tuple[slice, list[int]]]:
        """The transitions' time axis and its rows: in one piece, or step by step, the last step first."""
        if not each_step:
            yield slice(0, len(self.rows_taken)), self.rows_taken
            return
        for t in reversed(range(len(self.rows_taken))):
            if self.rows_taken[t] > 0:
                yield slice(t, t + 1), self.rows_taken[t : t + 1]

    def inputs(self, spec: InputSpec) -> Tensor:
        """Inputs of a per-agent network at every observation, `[B,T+1,N,I]`; time first in memory, as it is packed."""
        fields = (x.transpose(0, 1) for x in (self.obs, self.state, self.last_actions))
        return build_inputs(spec, *fields).transpose(0, 1)


class ReplayBuffer:
    """A ring of whole episodes, each stored at its own length.

    Steps live as rows of preallocated arrays; an episode is a list of row numbers. Freed rows are used again
    first, so the memory that is really touched follows the episodes' lengths, not the time limit. Row 0 is the
    padding: zeros, every action available.

    Args:
        info: sizes.
        capacity: episodes kept; the oldest is dropped first.
        seed: of the sampling.
        obs_dtype: "float32" (lossless) or "float16" for observations and states.

    Raises:
        UserError: if a full buffer could not fit into the free memory.
    """

    def __init__(self, info: EnvInfo, capacity: int, seed: int, obs_dtype: str = "float32") -> None:
        self.info, self.capacity = info, capacity
        self.max_bytes = check_buffer_fits(info, capacity, obs_dtype)
        fields, n_rows = fields_of(info, obs_dtype), rows_of(info, capacity)
        self.rows = {name: np.zeros((n_rows, *shape), kind) for name, (shape, kind) in fields.items()}
        if "avail_actions" in self.rows:
            self.rows["avail_actions"][0] = True  # padding: everything available, so that all maths stay finite
        self.episodes: deque[np.ndarray] = deque()
        self.free: list[int] = []
        self.n_touched = 1  # rows ever used; row 0 is the padding
        self.n_inserted = 0  # episodes ever inserted
        self.rng = np.random.Generator(np.random.PCG64(seed))

    def describe(self) -> str:
        """One line on the memory a full buffer takes at most."""
        gib = self.max_bytes / GIB
        return f"replay buffer: {self.capacity} episodes, at most {gib:.2f} GiB (allocated as episodes arrive)"

    def __len__(self) -> int:
        """Episodes stored now."""
        return len(self.episodes)

    def insert(self, episode: dict[str, np.ndarray]) -> None:
        """Store one episode of L transitions: every field `[L+1,...]`, as `EpisodeBatch.episode` gives it.

        The last row keeps what was seen after the end; what the runner left there of other fields is not stored.

        Raises:
            ValueError: if some agent has no available action in a step that was acted on.
        """
        avail = episode.get("avail_actions")
        if avail is not None and not avail[:-1].any(-1).all():
            step, agent = np.argwhere(~avail[:-1].any(-1))[0]
            raise ValueError(f"agent {agent} had no available action at step {step}")
        if len(self.episodes) == self.capacity:
            self.free.extend(self.episodes.popleft().tolist())
        rows = self._allocate(len(episode["reward"]))
        for name, array in self.rows.items():
            array[rows] = episode[name]
            if name in TAKEN:
                array[rows[-1]] = 0
        if avail is not None:  # after the end an environment may offer nothing
            self.rows["avail_actions"][rows[-1]] |= ~avail[-1].any(-1, keepdims=True)
        self.episodes.append(rows)
        self.n_inserted += 1

    def _allocate(self, count: int) -> np.ndarray:
        reused = [self.free.pop() for _ in range(min(count, len(self.free)))]
        fresh = np.arange(self.n_touched, self.n_touched + count - len(reused), dtype=np.int64)
        self.n_touched += len(fresh)
        return np.concatenate((np.array(reused, np.int64), fresh))

    def sample(self, batch_size: int, device: th.device | None = None) -> TrainBatch:
        """`batch_size` different episodes, uniformly, cut to the longest of them."""
        chosen = self.rng.choice(len(self.episodes), batch_size, replace=False)
        return self.gather([self.episodes[int(k)] for k in chosen], device)

    def recent(self, batch_size: int, device: th.device | None = None) -> TrainBatch:
        """The `batch_size` newest episodes."""
        return self.gather(list(self.episodes)[-batch_size:], device)

    def sample_with_recent(self, batch_size: int, n_recent: int, device: th.device | None = None) -> TrainBatch:
        """`batch_size` episodes at random and the `n_recent` newest ones, told apart by `on_policy`."""
        chosen = self.rng.choice(len(self.episodes), batch_size, replace=False)
        replayed = [(self.episodes[int(k)], 0.0) for k in chosen]
        newest = [(episode, 1.0) for episode in list(self.episodes)[-n_recent:]]
        both = sorted(replayed + newest, key=lambda item: len(item[0]), reverse=True)
        batch = self.gather([episode for episode, _ in both], device)
        batch.on_policy = th.tensor([flag for _, flag in both], device=device).view(-1, 1, 1)
        return batch

    def gather(self, episodes: list[np.ndarray], device: th.device | None = None) -> TrainBatch:
        """Episodes, given by their rows, as one padded batch."""
        episodes = sorted(episodes, key=len, reverse=True)
        longest = len(episodes[0])
        index = np.zeros((longest, len(episodes)), np.int64)  # [T+1,B], time first: the GRU's memory order
        for k, rows in enumerate(episodes):
            index[: len(rows), k] = rows
        flat = th.from_numpy(index.ravel())
        fields = {name: self._take(name, flat, index.shape).to(device) for name in self.rows}
        filled = th.from_numpy(index > 0).transpose(0, 1).unsqueeze(-1)  # [B,T+1,1]
        avail = fields.get("avail_actions")
        return TrainBatch(
            obs=fields["obs"],
            state=fields["state"],
            avail_actions=avail,
            actions=fields["actions"][:, :-1].to(self.info.action_space.action_dtype),
            reward=fields["reward"][:, :-1],
            terminated=fields["terminated"][:, :-1].to(th.float32),
            mask=valid_mask(filled).to(device),
            action_space=self.info.action_space,
            lengths=[len(rows) - 1 for rows in episodes],
            bootstraps=longest > ONE_STEP or not bool(self.rows["terminated"][index[0]].all()),
        )

    def _take(self, name: str, flat: Tensor, shape: tuple[int, ...]) -> Tensor:
        rows = th.from_numpy(self.rows[name]).index_select(0, flat)
        if rows.dtype == th.float16:
            rows = rows.float()
        return rows.view(*shape, *rows.shape[1:]).transpose(0, 1)  # [B,T+1,...]

    def position(self) -> dict[str, Any]:
        """What has to be known beside the episodes themselves (`pages`) to go on exactly as before."""
        return {"n_inserted": self.n_inserted, "stored": len(self.episodes), "rng": _rng_state(self.rng)}

    def pages(self, first: int, max_bytes: int) -> tuple[int, dict[str, Any]]:
        """Stored episodes from the `first` on (as counted by `n_inserted`), about `max_bytes` of them, at least one.

        Returns:
            The number after the last one returned, and the episodes: their `lengths` in rows, and every field's
            `rows` one after the other.
        """
        oldest, row_bytes = self.n_inserted - len(self.episodes), sum(rows[0].nbytes for rows in self.rows.values())
        chosen: list[np.ndarray] = []
        for rows in itertools.islice(self.episodes, first - oldest, None):
            chosen.append(rows)
            if sum(map(len, chosen)) * row_bytes >= max_bytes:
                break
        index = np.concatenate(chosen)
        content = {name: th.from_numpy(array[index]) for name, array in self.rows.items()}
        return first + len(chosen), {"lengths": [len(rows) for rows in chosen], "rows": content}

    def refill(self, position: dict[str, Any], pages: Iterable[tuple[int, dict[str, Any]]]) -> None:
        """The inverse of `position` and `pages`, given with their first episode's number; samples are the same then.

        Episodes lie in other rows than before, which nobody can tell. Episodes too old to be stored are left out.
        """
        oldest = position["n_inserted"] - position["stored"]
        self.episodes.clear()
        self.free, self.n_touched, self.n_inserted = [], 1, oldest
        for first, page in pages:
            ends = np.cumsum(page["lengths"], dtype=np.int64)
            for k in range(max(oldest - first, 0), len(ends)):
                rows = slice(int(ends[k]) - page["lengths"][k], int(ends[k]))
                self.insert({name: values[rows].numpy() for name, values in page["rows"].items()})
        restored = position["rng"]
        self.rng.bit_generator.state = restored | {
            "state": {name: int(value) for name, value in restored["state"].items()}
        }


def _rng_state(rng: np.random.Generator) -> dict[str, Any]:
    """The generator's state with its 128-bit integers as strings, since checkpoints hold 64-bit ones."""
    state = dict(rng.bit_generator.state)
    state["state"] = {name: str(value) for name, value in state["state"].items()}
    return state
