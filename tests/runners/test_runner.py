"""The episode loop: all runners store equal episodes; seeds, truncation, aborted episodes; broken workers."""

import os
import signal
import time
from functools import partial

import numpy as np
import pytest

from envs.multiagentenv import EnvSpec, Transition
from helpers import CountingEnv
from runners import EnvStack, ProcessVecEnv, WorkerError, make_vec_env, vec_env
from runners_helpers import assert_equal_episodes, episodes_of, make_runner
from utils.errors import UserError


@pytest.mark.parametrize("mac", ["soft_mac", "basic_mac"])
def test_number_of_environments_does_not_change_episodes(mac):
    """One environment at a time or four together: the same twelve episodes."""
    one = episodes_of(make_runner(EnvStack(CountingEnv, 1), mac), 12, 1)
    four = episodes_of(make_runner(EnvStack(CountingEnv, 4), mac), 12, 4)
    assert_equal_episodes(one, four)
    assert len({len(e["reward"]) for e in one}) > 1  # lengths differ, so the test could fail


def test_worker_processes_store_the_same_episodes():
    """Runner kinds episode and parallel agree."""
    parallel = ProcessVecEnv(CountingEnv, 2)
    try:
        ours = episodes_of(make_runner(parallel), 6, 2)
    finally:
        parallel.close()
    assert_equal_episodes(episodes_of(make_runner(EnvStack(CountingEnv, 1)), 6, 1), ours)
    assert not any(process.is_alive() for process in parallel.processes)


def test_truncated_is_not_terminated_and_final_observation_is_stored():
    """An episode cut at the limit has no terminal flag; L transitions have L + 1 observations."""
    rollout_lengths = []
    for episode in episodes_of(make_runner(EnvStack(partial(CountingEnv, limit=3), 1)), 30, 1):
        length = len(episode["reward"]) - 1
        rollout_lengths.append((length, bool(episode["terminated"][:length].any())))
        np.testing.assert_array_equal(episode["state"][:, 0], np.arange(length + 1))
    assert (3, False) in rollout_lengths
    assert any(ended for _, ended in rollout_lengths)


def test_test_episodes_are_greedy_and_have_their_own_seeds():
    """Test and training episode 0 differ; a test repeats exactly."""
    runner = make_runner(EnvStack(CountingEnv, 2), "basic_mac", epsilon_start=1.0)
    train = runner.collect(0, 2, 0).stats
    first = runner.collect(0, 2, 0, test_mode=True, test=True).stats
    again = runner.collect(0, 2, 0, test_mode=True, test=True).stats
    assert first == again
    assert first != train


class _Crashing(CountingEnv):
    """Marks every other episode as aborted."""

    count = 0

    def reset(self, seed):
        self.count += 1
        return super().reset(seed)

    def step(self, actions):
        out = super().step(actions)
        return Transition(*out[:-1], {**out.info, "aborted": float(self.count % 2 == 0)})


def test_aborted_episodes_are_dropped_and_counted():
    """They are neither returned nor in the statistics, but their steps count."""
    runner = make_runner(EnvStack(_Crashing, 1))
    rollouts = [(len(r.kept), len(r.stats), r.n_aborted) for r in (runner.collect(k, 1, 0) for k in range(4))]
    assert rollouts == [(1, 1, 0), (0, 0, 1), (1, 1, 0), (0, 0, 1)]


@pytest.mark.parametrize(
    ("trouble", "message"),
    [("fail_at", "worker 0 raised: the environment broke"), ("die_at", "worker 0 died with exit code 7")],
)
def test_broken_workers_end_the_run_with_their_name(trouble, message):
    """A worker that raises or dies is named."""
    env = ProcessVecEnv(partial(CountingEnv, limit=50, **{trouble: 1}), 1, timeout=30)
    try:
        with pytest.raises(WorkerError, match=message):
            make_runner(env).collect(0, 1, 0)
    finally:
        env.close()


def test_hanging_worker_is_named_after_the_timeout_and_killed():
    """Never a hang: the error comes soon after the timeout."""
    env = ProcessVecEnv(partial(CountingEnv, limit=50, hang_at=1), 1, timeout=30)
    env.timeout = 1.0
    start = time.monotonic()
    try:
        with pytest.raises(WorkerError, match="worker 0 did not answer within 1 s"):
            make_runner(env).collect(0, 1, 0)
        assert time.monotonic() - start < 10
    finally:
        env.close()
    assert not env.processes[0].is_alive()


def test_many_hanging_workers_are_killed_together(monkeypatch):
    """Closing takes one wait, not one for each worker."""
    monkeypatch.setattr(vec_env, "JOIN_SECONDS", 1.0)
    env = ProcessVecEnv(partial(CountingEnv, limit=50, hang_at=1), 3, timeout=30)
    env.timeout = 1.0
    with pytest.raises(WorkerError, match="worker 0 did not answer within 1 s"):
        make_runner(env).collect(0, 3, 0)
    start = time.monotonic()
    env.close()
    assert time.monotonic() - start < 5
    for process in env.processes:
        process.join(5)
        assert not process.is_alive()


def test_workers_are_killed_when_the_user_does_not_wait_for_them(monkeypatch):
    """Python would wait for ever for those that hang when it ends."""
    env = ProcessVecEnv(partial(CountingEnv, limit=50, hang_at=1), 2, timeout=30)
    env.timeout = 1.0
    with pytest.raises(WorkerError):
        make_runner(env).collect(0, 2, 0)

    def impatient(timeout):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(env.processes[0], "join", impatient)
        with pytest.raises(KeyboardInterrupt):
            env.close()
    for process in env.processes:
        process.join(5)
        assert not process.is_alive()


def test_what_workers_share_is_prepared_before_they_start():
    """Once, in this process."""
    prepared = []
    env = make_vec_env(EnvSpec(single=CountingEnv, prepare=lambda: prepared.append(os.getpid())), "parallel", 2)
    env.close()
    assert prepared == [os.getpid()]


def test_batched_needs_a_batched_environment():
    """One line, not an attribute error."""
    with pytest.raises(UserError, match="cannot be batched"):
        make_vec_env(EnvSpec(single=CountingEnv), "batched", 2)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_the_whole_group_leaves_the_workers_to_the_parent(number):
    """Ctrl-C, a cluster's SIGTERM or a closed terminal: the parent wants the workers' last answers to save."""
    env = ProcessVecEnv(CountingEnv, 2)
    try:
        for process in env.processes:
            os.kill(process.pid, number)
        assert make_runner(env).collect(0, 2, 0).kept == [0, 1]
    finally:
        env.close()
    assert [process.exitcode for process in env.processes] == [0, 0]
