"""Rollout workers on a cluster of two Ray nodes: equal episodes, also when workers and machines are lost."""

from __future__ import annotations

import os
import time
from functools import partial
from pathlib import Path

import pytest

import ray_helpers
from envs.multiagentenv import EnvSpec
from helpers import CountingEnv
from runners import EnvStack, WorkerError, make_vec_env
from runners.ray_env import RayVecEnv
from runners_helpers import assert_equal_episodes, episodes_of, make_runner
from utils.errors import UserError

ray = pytest.importorskip("ray")


@pytest.fixture(scope="module")
def cluster():
    """Two nodes; workers can import what tests define."""
    before = dict(os.environ)
    os.environ["PYTHONPATH"] = str(Path(__file__).resolve().parents[1])
    made, (second,) = ray_helpers.start(1, [1])
    made.second = second
    os.environ["RAY_ADDRESS"] = made.address
    yield made
    ray.shutdown()
    made.shutdown()
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def workers(cluster):
    """`workers(make, E)`: environments on the cluster by runner=ray, closed afterwards."""
    made = []

    def build(make, n_envs, timeout=60.0):
        made.append(make_vec_env(EnvSpec(single=make), "ray", n_envs, timeout))
        return made[-1]

    yield build
    for one in made:
        one.close()


class Dying(CountingEnv):
    """Ends its process at the second step, the first time in its folder.

    Args:
        folder: where it leaves a note that it has died.
        drift: whether episodes differ from one process to the next, as StarCraft II's may.
    """

    def __init__(self, folder: str, drift: bool = False) -> None:
        super().__init__(limit=12)
        self.note, self.drift = Path(folder) / "died", drift

    def _observe(self):
        seen = super()._observe()
        return seen._replace(state=seen.state + os.getpid()) if self.drift else seen

    def step(self, actions):
        if self.t == 1 and self.is_first():
            os._exit(7)
        return super().step(actions)

    def is_first(self):
        """Whether nobody has left the note yet; two workers that ask at once cannot both be the first."""
        try:
            self.note.touch(exist_ok=False)
        except FileExistsError:
            return False
        return True


def test_episodes_are_those_of_the_other_runners_also_when_a_worker_dies(workers, tmp_path):
    """Six episodes, two at a time, one worker lost at its second step: bit for bit as in this process."""
    env = workers(partial(Dying, str(tmp_path)), 2)
    assert isinstance(env, RayVecEnv)
    ours = episodes_of(make_runner(env), 6, 2)
    assert (tmp_path / "died").exists() and env.replaced == 1
    assert_equal_episodes(episodes_of(make_runner(EnvStack(partial(CountingEnv, limit=12), 1)), 6, 1), ours)
    assert max(len(episode["reward"]) for episode in ours) > 3  # it did not end before the worker died


def test_an_episode_that_cannot_be_repeated_is_aborted_and_counted(workers, tmp_path):
    """Its steps count, it is dropped; the next episode is played by the new worker."""
    runner = make_runner(workers(partial(Dying, str(tmp_path), drift=True), 1))
    first, second = (runner.collect(k, 1, 0) for k in range(2))
    assert (len(first.kept), first.n_aborted, first.n_steps) == (0, 1, 2)
    assert (len(second.kept), second.n_aborted) == (1, 0)


def test_a_worker_that_hangs_ends_the_run_by_name_once_it_was_replaced_in_vain(workers, monkeypatch):
    """None is replaced here, to save time."""
    monkeypatch.setattr("runners.ray_env.REPLACEMENTS", 0)
    runner = make_runner(workers(partial(CountingEnv, limit=50, hang_at=1), 1, timeout=0.5))
    with pytest.raises(WorkerError, match=r"environment worker 0 was lost 1 times in a row: .*within 0.5 s"):
        runner.collect(0, 1, 0)


def test_errors_of_the_environment_are_not_tried_again(workers):
    env = workers(partial(CountingEnv, limit=50, fail_at=1), 1)
    with pytest.raises(WorkerError, match=r"(?s)environment worker 0 raised: .*the environment broke"):
        make_runner(env).collect(0, 1, 0)
    assert env.replaced == 0


def test_more_workers_than_cpus_is_one_line(workers):
    with pytest.raises(UserError, match=r"5 workers \(batch_size_run\) need a CPU each, the cluster has \d"):
        workers(CountingEnv, 5)


def wait_for_a_loss(env, seconds=60.0):
    """Until one of the workers no longer answers."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            ray.get([worker.info.remote() for worker in env.workers], timeout=5.0)
        except ray.exceptions.RayError:
            return
        time.sleep(0.1)
    raise AssertionError(f"every worker still answers after {seconds:g} s")


def test_a_machine_that_is_lost_takes_no_episode_with_it(workers, cluster):
    """Two workers on two nodes, one of which is killed between two steps; a third node has room for its successor."""
    env = workers(partial(CountingEnv, limit=12), 2)
    ray_helpers.add(cluster, 1)
    steps = []

    def step(actions, active, inner=env.step):
        steps.append(1)
        if len(steps) == 2:
            cluster.remove_node(cluster.second, allow_graceful=False)
            wait_for_a_loss(env)  # a worker outlives its node for a moment, in which it would finish its episode
        return inner(actions, active)

    env.step = step
    ours = episodes_of(make_runner(env), 4, 2)
    assert env.replaced >= 1
    assert_equal_episodes(episodes_of(make_runner(EnvStack(partial(CountingEnv, limit=12), 1)), 4, 1), ours)
