"""Rows without zeros: bit-exact, whatever the numbers; smaller where there are zeros; the buffer uses them."""

import numpy as np
import pytest
import torch as th

from components.action_space import DiscreteActions
from components.episode_buffer import ReplayBuffer
from components.sparse import SparseRows
from envs.multiagentenv import EnvInfo
from helpers import random_episode


def rows(kind, width):
    """Zeros of both signs, infinities, NaN, denormals, ordinary numbers; a row of zeros and one without."""
    rng = np.random.default_rng(width)
    dense = rng.normal(size=(6, width)).astype(kind)
    dense[rng.random(dense.shape) < 0.7] = 0.0
    dense[0], dense[1] = 0.0, 1.0
    special = [-0.0, np.inf, -np.inf, np.nan, 6e-8, 0.0]
    dense[2, : min(width, 6)] = np.array(special[:width], kind)
    return dense


@pytest.mark.parametrize("kind", [np.float32, np.float16])
@pytest.mark.parametrize("width", [1, 7, 8, 9, 64, 161])
def test_bit_exact(kind, width):
    """Every bit of every number comes back."""
    dense = rows(kind, width)
    packed = SparseRows(dense)
    back = packed.dense()
    assert back.dtype == dense.dtype
    unsigned = f"u{dense.itemsize}"
    ours, theirs = back.view(unsigned), dense.view(unsigned)
    assert (ours == theirs)[~np.isnan(dense)].all()
    assert np.isnan(back[np.isnan(dense)]).all()


def test_memory_follows_the_numbers_that_are_not_zero():
    """One bit a number and four bytes for each that is not zero."""
    dense = rows(np.float32, 160)
    assert SparseRows(dense).nbytes == dense.size // 8 + 4 * np.count_nonzero(dense.view(np.uint32))


@pytest.mark.parametrize("kind", ["float32", "float16"])
def test_wide_episodes_come_out_of_the_buffer_as_they_went_in(kind):
    """Through insertion, eviction, sampling, pages and refilling; padding is zero."""
    info = EnvInfo(3, 40, 70, 8, DiscreteActions(4), engine="toy", engine_version="1", data_hash="0")
    rng, buffer = np.random.default_rng(0), ReplayBuffer(info, 5, 1, kind)
    episodes = [random_episode(info, int(rng.integers(1, 9)), True, rng) for _ in range(8)]
    for episode in episodes:
        episode["obs"][rng.random(episode["obs"].shape) < 0.7] = 0.0
        buffer.insert(episode)
    restored = ReplayBuffer(info, 5, 1, kind)
    restored.refill(buffer.position(), [(3, buffer.pages(3, 1 << 30)[1])])
    kept = sorted(episodes[3:], key=lambda episode: len(episode["reward"]), reverse=True)
    for source in (buffer, restored):
        batch = source.recent(5)
        for k, episode in enumerate(kept):
            for name in ("obs", "state"):
                expected = th.from_numpy(episode[name].astype(kind).astype(np.float32))
                found = getattr(batch, name)[k]
                assert th.equal(found[: len(expected)], expected)
                assert (found[len(expected) :] == 0).all()
    assert buffer.nbytes < sum(array.nbytes for episode in kept for array in episode.values())
    assert th.equal(buffer.sample(3).obs, restored.sample(3).obs)
