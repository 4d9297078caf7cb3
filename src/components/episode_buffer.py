"""Episodes between environment and learner: EpisodeBatch (as collected), ReplayBuffer, TrainBatch (as sampled).

Shape legend: E environments, B episodes, T transitions, N agents, A actions, D action dimensions, O observation,
S state, U encoded action, I agent input.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch as th
from torch import Tensor

from components.sparse import WIDE, SparseRows
from components.storage import GIB, check_buffer_fits, fields_of, rows_of
from components.train_batch import TrainBatch
from envs.multiagentenv import EnvInfo
from utils.masking import valid_mask
from utils.transfer import moved, moved_together

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


class ReplayBuffer:
    """A ring of whole episodes, each stored at its own length.

    Wide observations and states are stored without their zeros, see `SparseRows`. The rest of a step lives in a row of
    preallocated arrays; an episode is a list of row numbers. Freed rows are used again
    first, so the memory that is really touched follows the episodes' lengths, not the time limit. Row 0 is the
    padding: zeros, every action available.

    Args:
        info: sizes.
        capacity: episodes kept; the oldest is dropped first.
        seed: of the sampling.
        obs_dtype: "float32" (lossless) or "float16" for observations and states.
        pad_steps: if not 0, batches are padded to a multiple of so many steps, and networks over time run over the
            padding too: fewer different shapes for more arithmetic.

    Raises:
        UserError: if a full buffer could not fit into the free memory.
    """

    def __init__(self, info: EnvInfo, capacity: int, seed: int, obs_dtype: str = "float32", pad_steps: int = 0) -> None:
        self.info, self.capacity, self.pad_steps = info, capacity, pad_steps
        self.max_bytes = check_buffer_fits(info, capacity, obs_dtype)
        fields, n_rows = fields_of(info, obs_dtype), rows_of(info, capacity)
        self.kinds = {name: fields[name] for name in ("obs", "state") if np.prod(fields[name][0]) >= WIDE}
        self.rows = {
            name: np.zeros((n_rows, *shape), kind) for name, (shape, kind) in fields.items() if name not in self.kinds
        }
        self.sparse: dict[str, deque[SparseRows]] = {name: deque() for name in self.kinds}
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

    @property
    def nbytes(self) -> int:
        """Bytes in use by the stored episodes."""
        n_rows = sum(map(len, self.episodes))
        dense = n_rows * sum(rows[0].nbytes for rows in self.rows.values())
        return dense + sum(one.nbytes for stored in self.sparse.values() for one in stored)

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
            for kept in self.sparse.values():
                kept.popleft()
        rows = self._allocate(len(episode["reward"]))
        for name, (_, kind) in self.kinds.items():
            self.sparse[name].append(SparseRows(episode[name].reshape(len(rows), -1).astype(kind, copy=False)))
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
        return self.gather(chosen.tolist(), device)

    def recent(self, batch_size: int, device: th.device | None = None) -> TrainBatch:
        """The `batch_size` newest episodes."""
        return self.gather(list(range(len(self)))[-batch_size:], device)

    def sample_with_recent(
        self, batch_size: int, n_recent: int, pool: int, device: th.device | None = None
    ) -> TrainBatch:
        """`batch_size` episodes at random and `n_recent` of the `pool` newest ones, told apart by `on_policy`."""
        chosen = self.rng.choice(len(self.episodes), batch_size, replace=False)
        replayed = [(k, 0.0) for k in chosen.tolist()]
        recent = list(range(len(self)))[-pool:]
        if len(recent) > n_recent:
            recent = self.rng.choice(recent, n_recent, replace=False).tolist()
        newest = [(k, 1.0) for k in recent]
        both = sorted(replayed + newest, key=lambda item: len(self.episodes[item[0]]), reverse=True)
        batch = self.gather([k for k, _ in both], device)
        batch.on_policy = moved(th.tensor([flag for _, flag in both]), device).view(-1, 1, 1)
        return batch

    def gather(self, numbers: list[int], device: th.device | None = None) -> TrainBatch:
        """Stored episodes (0 is the oldest) as one padded batch, copied to the device once."""
        numbers = sorted(numbers, key=lambda k: len(self.episodes[k]), reverse=True)
        episodes = [self.episodes[k] for k in numbers]
        lengths = [len(rows) - 1 for rows in episodes]
        if self.pad_steps:
            lengths = [-(-lengths[0] // self.pad_steps) * self.pad_steps] * len(lengths)
        longest = lengths[0] + 1
        index = np.zeros((longest, len(episodes)), np.int64)  # [T+1,B], time first: the GRU's memory order
        for k, rows in enumerate(episodes):
            index[: len(rows), k] = rows
        flat = th.from_numpy(index.ravel())
        fields = {name: self._take(name, flat, index.shape) for name in self.rows}
        fields |= {name: self._unpack(name, numbers, longest) for name in self.kinds}
        fields["filled"] = th.from_numpy(index > 0).transpose(0, 1).unsqueeze(-1)  # [B,T+1,1]
        if device is not None and device.type != "cpu":
            fields = moved_together(fields, device)
        avail = fields.get("avail_actions")
        return TrainBatch(
            obs=fields["obs"],
            state=fields["state"],
            avail_actions=avail,
            actions=fields["actions"][:, :-1].to(self.info.action_space.action_dtype),
            reward=fields["reward"][:, :-1],
            terminated=fields["terminated"][:, :-1].to(th.float32),
            mask=valid_mask(fields["filled"]),
            action_space=self.info.action_space,
            lengths=lengths,
            bootstraps=len(episodes[0]) > ONE_STEP or not bool(self.rows["terminated"][index[0]].all()),
        )

    def _take(self, name: str, flat: Tensor, shape: tuple[int, ...]) -> Tensor:
        rows = th.from_numpy(self.rows[name]).index_select(0, flat)
        if rows.dtype == th.float16:
            rows = rows.float()
        return rows.view(*shape, *rows.shape[1:]).transpose(0, 1)  # [B,T+1,...]

    def _unpack(self, name: str, numbers: list[int], longest: int) -> Tensor:
        stored, shape = self.sparse[name], self.kinds[name][0]
        out = th.empty(longest, len(numbers), *shape)
        flat = out.view(longest, len(numbers), -1).numpy()
        for column, k in enumerate(numbers):
            length = len(self.episodes[k])
            stored[k].unpack(flat[:length, column])
            flat[length:, column] = 0.0
        return out.transpose(0, 1)

    def position(self) -> dict[str, Any]:
        """What has to be known beside the episodes themselves (`pages`) to go on exactly as before."""
        return {"n_inserted": self.n_inserted, "stored": len(self.episodes), "rng": _rng_state(self.rng)}

    def pages(self, first: int, max_bytes: int) -> tuple[int, dict[str, Any]]:
        """Stored episodes from the `first` on (as counted by `n_inserted`), about `max_bytes` of them, at least one.

        Returns:
            The number after the last one returned, and the episodes: their `lengths` in rows, and every field's
            `rows` one after the other.
        """
        begin = first - (self.n_inserted - len(self.episodes))
        row_bytes = sum(rows[0].nbytes for rows in self.rows.values())
        row_bytes += sum(int(np.prod(shape)) * kind.itemsize for shape, kind in self.kinds.values())
        chosen: list[np.ndarray] = []
        for rows in itertools.islice(self.episodes, begin, None):
            chosen.append(rows)
            if sum(map(len, chosen)) * row_bytes >= max_bytes:
                break
        index = np.concatenate(chosen)
        content = {name: th.from_numpy(array[index]) for name, array in self.rows.items()}
        for name, (shape, _) in self.kinds.items():
            pieces = [one.dense() for one in itertools.islice(self.sparse[name], begin, begin + len(chosen))]
            content[name] = th.from_numpy(np.concatenate(pieces).reshape(-1, *shape))
        return first + len(chosen), {"lengths": [len(rows) for rows in chosen], "rows": content}

    def refill(self, position: dict[str, Any], pages: Iterable[tuple[int, dict[str, Any]]]) -> None:
        """The inverse of `position` and `pages`, given with their first episode's number; samples are the same then.

        Episodes lie in other rows than before, which nobody can tell. Episodes too old to be stored are left out.
        """
        oldest = position["n_inserted"] - position["stored"]
        self.episodes.clear()
        for kept in self.sparse.values():
            kept.clear()
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
