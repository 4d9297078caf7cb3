"""Whatever the game does, the run goes on: each fault injected, what became of the episode, nothing left running."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

import envs
from components.episode_buffer import ReplayBuffer
from envs.multiagentenv import Observation, Transition
from envs.supervision import Patience
from helpers import make_config
from run import TrainingLoop
from runners import EnvStack, WorkerError, make_vec_env
from sc2_double.install import read_log
from utils.errors import UserError
from utils.logging import Logger

pytestmark = [pytest.mark.needs_client, pytest.mark.usefixtures("smac")]

IN_PLAY = {"battle": 1, "step": 3}
FAULTS: list[tuple[dict[str, Any], str]] = [  # and what the warning says
    ({"kind": "clash"}, "Address already in use"),
    ({"kind": "crash", **IN_PLAY}, "Connection already closed"),
    ({"kind": "hang", **IN_PLAY}, "a step took more than 4 s"),
    ({"kind": "drop", **IN_PLAY}, "GameLostError"),
    ({"kind": "garbage", "content": "bytes", **IN_PLAY}, "DecodeError"),
    ({"kind": "garbage", "content": "text", **IN_PLAY}, "TypeError"),
    ({"kind": "garbage", "content": "empty", **IN_PLAY}, "empty response"),
    ({"kind": "garbage", "content": "no_status", **IN_PLAY}, "without a status"),
    ({"kind": "garbage", "content": "blank", **IN_PLAY}, "the game's clock stands still"),
]
AT_START = 1  # of the list above: no episode had begun


@pytest.fixture
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Patience, "pause", lambda self: None)


def assert_nothing_runs(folder: Path) -> None:
    pids = [entry.get("child", entry["pid"]) for entry in read_log(folder)]
    alive = [pid for pid in pids if psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE]
    assert alive == []


def play(env: Any, seen: Observation) -> Transition:
    """Everybody stops until the end."""
    while True:
        assert seen.avail_actions is not None
        out = env.step(np.where(seen.avail_actions[:, :1], 0, 1))
        seen = out.observation
        if out.terminated or out.truncated or out.info.get("aborted"):
            return out


def test_every_fault_costs_at_most_its_episode(
    game: Callable[..., Path], no_pauses: None, caplog: pytest.LogCaptureFixture
) -> None:
    folder = game(faults=[{**fault, "launches": [k]} for k, (fault, _) in enumerate(FAULTS)])
    args = {"map_name": "3m", "step_timeout": 4.0, "max_restarts": len(FAULTS)}
    env = envs.resolve("sc2", args).single()
    outcomes = []
    for episode in range(len(FAULTS) - AT_START + 2):
        out = play(env, env.reset(episode))
        outcomes.append("aborted" if out.info.get("aborted") else "finished")
        if episode == 0:
            assert not (out.terminated or out.truncated) and out.reward == 0.0
    env.close()
    assert outcomes == ["aborted"] * (len(FAULTS) - AT_START) + ["finished"] * 2
    injected = [(entry["kind"], entry.get("content", "")) for entry in read_log(folder, "fault")]
    assert injected == [(fault["kind"], fault.get("content", "")) for fault, _ in FAULTS]
    assert len(read_log(folder, "launch")) == len(FAULTS) + 1
    warnings = [record.getMessage() for record in caplog.records if record.name == "harness"]
    for (_, said), record in zip(FAULTS, warnings, strict=True):
        assert said in record and "it is started anew" in record
    assert_nothing_runs(folder)


def test_a_slow_start_is_waited_for(game: Callable[..., Path]) -> None:
    folder = game(faults=[{"kind": "slow", "seconds": 2.0}])
    env = envs.resolve("sc2", {"map_name": "3m"}).single()
    assert play(env, env.reset(1)).info["game_restarts"] == 0
    env.close()
    assert len(read_log(folder, "launch")) == 1


def test_a_game_that_never_works_ends_the_run_with_one_line(
    game: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = game(faults=[{"kind": "clash"}])
    pauses: list[int] = []
    monkeypatch.setattr(Patience, "pause", lambda self: pauses.append(self.failures))
    env = envs.resolve("sc2", {"map_name": "3m", "max_restarts": 2}).single()
    with pytest.raises(UserError, match=r"failed 3 times without a finished episode .*Address already in use") as error:
        env.reset(1)
    assert "\n" not in str(error.value) and pauses == [0, 1, 2]
    env.close()
    assert_nothing_runs(folder)


def test_a_game_that_does_not_answer_is_not_waited_for(game: Callable[..., Path]) -> None:
    folder = game(faults=[{"kind": "deaf"}])
    env = envs.resolve("sc2", {"map_name": "3m", "max_restarts": 0, "start_timeout": 5.0}).single()
    with pytest.raises(UserError, match="starting the game took more than 5 s"):
        env.reset(1)
    env.close()
    assert_nothing_runs(folder)


def test_a_worker_has_the_time_that_restarts_take(game: Callable[..., Path], no_pauses: None) -> None:
    """The worker's own time limit, one second here, does not end a run whose game is only being restarted."""
    folder = game(faults=[{"kind": "hang", **IN_PLAY, "launches": [0]}])
    spec = envs.resolve("sc2", {"map_name": "3m", "step_timeout": 3.0})
    vec = make_vec_env(spec, "auto", 1, timeout=1.0)
    try:
        seen, everyone = vec.reset([1]), np.ones(1, bool)
        for _ in range(2):
            out = vec.step(np.ones((1, 3, 1), np.int64), everyone)
        assert not out.info.get("aborted", [0.0])[0]
        out = vec.step(np.ones((1, 3, 1), np.int64), everyone)
        assert out.info["aborted"][0] == 1.0
        assert vec.reset([2]).obs.shape == seen.obs.shape
    except WorkerError as error:
        pytest.fail(str(error))
    finally:
        vec.close()
    time.sleep(0.5)
    assert_nothing_runs(folder)


class Witness(EnvStack):
    """Writes down what every episode was, apart from the runner's own books."""

    episodes: list[tuple[float, int, bool]]  # return, steps, aborted

    def reset(self, seeds: Any) -> Observation:
        self.total, self.count = 0.0, 0
        return super().reset(seeds)

    def step(self, actions: np.ndarray, active: np.ndarray) -> Transition:
        out = super().step(actions, active)
        aborted = bool(out.info.get("aborted", [False])[0])
        self.total, self.count = self.total + float(out.reward[0]), self.count + 1
        if aborted or out.terminated[0] or out.truncated[0]:
            self.episodes.append((self.total, self.count, aborted))
        return out


@pytest.mark.timeout(900)
def test_fifty_episodes_with_a_crash_in_every_fifth(game: Callable[..., Path], no_pauses: None, tmp_path: Path) -> None:
    """A training run keeps 40 of them; counts, means and buffer are those of exactly these 40."""
    folder = game(faults=[{"kind": "crash", "battle": 5, "step": 4}])
    config = make_config("qmix", "sc2", batch_size=8, env_args={"map_name": "3m"}, test_nepisode=2)
    env = Witness(envs.resolve("sc2", config.env_args).single, 1)
    env.episodes = []
    logger = Logger(tmp_path)
    loop = TrainingLoop(config, logger, tmp_path, env)
    while loop.episode < 50:
        loop._collect()
        loop._update()
    loop.log_training()
    env.close()
    kept = [(total, count) for total, count, aborted in env.episodes if not aborted]
    assert len(env.episodes) == 50 and len(kept) == 40
    assert [entry["kind"] for entry in read_log(folder, "fault")] == ["crash"] * 10
    row = logger.last
    assert (row["episode"], row["episodes"], row["episodes_aborted"]) == (50, 40, 10)
    assert row["return_mean"] == pytest.approx(np.mean([total for total, _ in kept]))
    assert row["return_std"] == pytest.approx(np.std([total for total, _ in kept]))
    assert row["ep_length_mean"] == pytest.approx(np.mean([count for _, count in kept]))
    assert loop.t_env == sum(count for _, count, _ in env.episodes)
    assert row["game_restarts_mean"] == pytest.approx(9 / 40)  # the tenth is still to come
    assert isinstance(loop.buffer, ReplayBuffer) and len(loop.buffer) == 40
    assert row["updates"] == 40 - 7  # one an episode once eight are stored
    assert_nothing_runs(folder)
