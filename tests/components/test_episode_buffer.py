"""The replay buffer: what goes in comes out, at its own length; ring order; exact save and restore; refusal."""

import numpy as np
import psutil
import pytest
import torch as th

from components.episode_buffer import ReplayBuffer
from components.storage import check_rollout_fits
from helpers import CONTINUOUS, DISCRETE, make_info, random_buffer, random_episode
from utils.errors import UserError


@pytest.mark.parametrize("space", [DISCRETE, CONTINUOUS])
def test_episodes_come_back_unchanged_and_padded(space):
    """Ragged episodes, one terminated, one truncated; padding is zero with every action available."""
    info = make_info(space)
    rng = np.random.default_rng(0)
    episodes = [random_episode(info, 3, True, rng), random_episode(info, 5, False, rng)]
    buffer = ReplayBuffer(info, 4, seed=0)
    for episode in episodes:
        buffer.insert(episode)
    batch = buffer.recent(2)
    assert batch.obs.shape == (2, 6, 3, 5)
    assert batch.lengths == [5, 3]  # longest first
    assert batch.rows_seen == [2, 2, 2, 2, 1, 1]
    assert batch.rows_taken == [2, 2, 2, 1, 1]
    assert batch.mask[..., 0].tolist() == [[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]
    assert batch.terminated[..., 0].tolist() == [[0, 0, 0, 0, 0], [0, 0, 1, 0, 0]]
    for k, episode in enumerate(reversed(episodes)):
        length = len(episode["reward"]) - 1
        np.testing.assert_array_equal(batch.obs[k, : length + 1], episode["obs"])
        np.testing.assert_array_equal(batch.actions[k, :length], episode["actions"][:length])
        np.testing.assert_array_equal(batch.reward[k, :length], episode["reward"][:length])
        assert (batch.obs[k, length + 1 :] == 0).all()
        if batch.avail_actions is not None:
            np.testing.assert_array_equal(batch.avail_actions[k, : length + 1], episode["avail_actions"])
            assert batch.avail_actions[k, length + 1 :].all()
    assert (batch.last_actions[:, 0] == 0).all()
    np.testing.assert_array_equal(batch.last_actions[:, 1:], batch.actions_enc)


def test_ring_drops_the_oldest_and_reuses_its_rows():
    """After 50 insertions into room for 4, the 4 newest are there and memory was not touched beyond their need."""
    info = make_info(limit=8)
    buffer = ReplayBuffer(info, 4, seed=0)
    rng = np.random.default_rng(1)
    kept = []
    for _ in range(50):
        episode = random_episode(info, int(rng.integers(1, 9)), True, rng)
        buffer.insert(episode)
        kept = [*kept, episode][-4:]
    assert len(buffer) == 4
    assert buffer.n_inserted == 50
    assert buffer.n_touched <= 4 * 9 + 1 + 9
    batch = buffer.recent(4)
    for k, episode in enumerate(sorted(kept, key=lambda e: -len(e["reward"]))):
        np.testing.assert_array_equal(batch.obs[k, : len(episode["obs"])], episode["obs"])


@pytest.mark.parametrize(("space", "page_bytes"), [(DISCRETE, 1), (DISCRETE, 10**9), (CONTINUOUS, 700)])
def test_a_refilled_buffer_samples_bit_for_bit(space, page_bytes):
    """Pages of any size; pages with episodes dropped since; the same batches and insertions as the original."""
    info = make_info(space)
    buffer, copy = random_buffer(info, 6), ReplayBuffer(info, 6, seed=99)
    rng = np.random.default_rng(3)
    buffer.sample(3)
    pages = list(read_pages(buffer, 0, page_bytes))
    for _ in range(2):  # the two oldest episodes go
        buffer.insert(random_episode(info, 3, True, rng))
    pages += read_pages(buffer, 6, page_bytes)
    copy.insert(random_episode(info, 8, True, rng))
    copy.refill(buffer.position(), pages)
    assert (len(copy), copy.n_inserted) == (6, 8)
    for _ in range(9):
        episode = random_episode(info, 4, False, rng)
        buffer.insert(episode)
        copy.insert(episode)
        a, b = buffer.sample(3), copy.sample(3)
        for name in ("obs", "state", "actions", "reward", "terminated", "mask", "avail_actions"):
            left, right = getattr(a, name), getattr(b, name)
            assert left is right is None or th.equal(left, right), name


def read_pages(buffer, first, page_bytes):
    """The pages from the episode `first` on."""
    while first < buffer.n_inserted:
        end, page = buffer.pages(first, page_bytes)
        yield first, page
        first = end


def test_half_precision_observations():
    """float16 rounds observations and nothing else."""
    info = make_info()
    buffer = ReplayBuffer(info, 2, 0, "float16")
    episode = random_episode(info, 4, True, np.random.default_rng(0))
    buffer.insert(episode)
    batch = buffer.recent(1)
    np.testing.assert_array_equal(batch.obs[0], episode["obs"].astype(np.float16).astype(np.float32))
    np.testing.assert_array_equal(batch.reward[0], episode["reward"][:-1])


def test_refuses_what_cannot_fit(monkeypatch):
    """One line with the largest size that fits."""
    fake = psutil.virtual_memory()._replace(available=100_000)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: fake)
    with pytest.raises(UserError, match=r"buffer_size=5000 .* at most buffer_size=\d+"):
        ReplayBuffer(make_info(), 5000, 0)
    with pytest.raises(UserError, match=r"batch_size_run=500 .* at most batch_size_run=\d+"):
        check_rollout_fits(make_info(), 500)
    check_rollout_fits(make_info(), 5)


def test_a_step_without_available_action_is_an_error():
    """It would be a softmax over nothing; the final observation may offer nothing, though."""
    info = make_info()
    episode = random_episode(info, 4, True, np.random.default_rng(0))
    episode["avail_actions"][-1] = False
    buffer = ReplayBuffer(info, 2, 0)
    buffer.insert(episode)
    assert buffer.recent(1).avail_actions[0, -1].all()
    episode["avail_actions"][2, 1] = False
    with pytest.raises(ValueError, match="agent 1 had no available action at step 2"):
        buffer.insert(episode)


@pytest.mark.parametrize("space", [DISCRETE, CONTINUOUS])
def test_batches_padded_to_a_multiple(space):
    """Six steps of padding to a multiple of four: the same episodes, and networks run over all steps alike."""
    buffer = random_buffer(make_info(space, limit=6), seed=3)
    batch = buffer.recent(5)
    buffer.pad_steps = 4
    padded = buffer.recent(5)
    assert batch.lengths[0] in (5, 6)
    assert padded.lengths == [8] * 5
    assert padded.rows_taken == [5] * 8
    steps = batch.mask.shape[1]
    for name in ("obs", "state", "avail_actions", "actions", "reward", "terminated", "mask"):
        ours, theirs = getattr(batch, name), getattr(padded, name)
        if ours is None:
            continue
        assert th.equal(theirs[:, : ours.shape[1]], ours), name
        assert (theirs[:, ours.shape[1] :] == (name == "avail_actions")).all(), name
    assert padded.mask[:, steps:].sum() == 0
