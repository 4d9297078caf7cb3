"""2N steps equal N steps, a sudden death, a resume and N more, bit for bit: every algorithm, every kind of runner."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import run as run_module
from controllers import REGISTRY as CONTROLLERS
from helpers import make_config
from learners import REGISTRY as LEARNERS
from resume_helpers import end_of, killed_at_update, make_loop, resumed
from utils.configfile import available
from utils.interrupt import Stopped
from utils.metricsfile import read_metrics

KINDS = {"counting": "discrete", "mtq": "continuous"}
PAIRS = [
    (alg, env)
    for alg in available("algs")
    for env, kind in KINDS.items()
    if kind in CONTROLLERS[LEARNERS[make_config(alg).learner].mac_class].action_kinds
]


def uninterrupted(alg: str, env: str, folder: Path, **changes: Any) -> dict[str, str]:
    loop = make_loop(alg, env, folder, seed=1, **changes)
    loop.train()
    return end_of(loop)


def killed_and_resumed(alg: str, env: str, folder: Path, update: int, **changes: Any) -> dict[str, str]:
    killed_at_update(make_loop(alg, env, folder, seed=1, **changes), update)
    lines = len(read_metrics(folder / "metrics.jsonl")[1])
    loop = resumed(alg, env, folder, **changes)
    assert loop.learner.n_updates < update, "some updates were lost with the process"
    assert len(read_metrics(folder / "metrics.jsonl")[1]) <= lines
    loop.train()
    return end_of(loop)


@pytest.mark.parametrize(("alg", "env"), PAIRS)
def test_killed_and_resumed_equals_uninterrupted(alg: str, env: str, tmp_path: Path) -> None:
    """Networks, targets, optimisers, generators, counters, stored episodes and metrics."""
    whole = uninterrupted(alg, env, tmp_path / "whole")
    assert killed_and_resumed(alg, env, tmp_path / "killed", update=7) == whole


BATTLE = {
    **{"env_args": {"map_name": "3m", "engine": "embedded"}, "t_max": 500, "batch_size_run": 2},
    **{"save_every": 150, "test_interval": 200, "log_interval": 100, "test_nepisode": 2, "updates_per_episode": 1.0},
}


@pytest.fixture(scope="module")
def battle(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The end of embedded battles, played by the batched runner without interruption."""
    return uninterrupted("fop", "sc2", tmp_path_factory.mktemp("battle"), runner="batched", **BATTLE)


@pytest.mark.parametrize(("runner", "kills"), [("episode", (7,)), ("parallel", (8,)), ("batched", (6, 9))])
def test_every_runner(runner: str, kills: tuple[int, ...], battle: dict[str, str], tmp_path: Path) -> None:
    """Killed and resumed (twice) on one runner, and still what another stores and learns without interruption."""
    loop = make_loop("fop", "sc2", tmp_path, seed=1, runner=runner, **BATTLE)
    for update in kills:
        killed_at_update(loop, update)
        loop = resumed("fop", "sc2", tmp_path, runner=runner, **BATTLE)
    loop.train()
    assert end_of(loop) == battle


def test_stopped_anywhere_and_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every place where the loop asks for a stop is one from which it can go on: updates, tests, between them."""
    whole = uninterrupted("fop", "counting", tmp_path / "whole")
    for first in (1, 3, 12, 25):
        folder, calls, stops = tmp_path / str(first), 0, 0

        def ask(every: int = first) -> None:
            nonlocal calls
            calls += 1
            if calls % (every + 7) == every:
                raise Stopped

        monkeypatch.setattr(run_module, "stop_if_requested", ask)
        loop = make_loop("fop", "counting", folder, seed=1, save_every=0, save_every_minutes=0.0)
        while True:
            try:
                loop.train()
                break
            except Stopped:
                stops += 1
                loop.logger.close()
                loop = resumed("fop", "counting", folder, save_every=0, save_every_minutes=0.0)
        assert stops >= 1
        changed = {name for name, digest in end_of(loop).items() if digest != whole[name]}
        assert changed == {"next_due", "intervals"}, "which hold when checkpoints are due: another save_every"


def test_interrupted_while_collecting_and_resumed(tmp_path: Path) -> None:
    """A slow environment is cut off within an episode; the episode is played again."""
    whole = uninterrupted("vdn", "counting", tmp_path / "whole")
    loop = make_loop("vdn", "counting", tmp_path / "cut", seed=1)
    step, count = loop.runner.env.step, 0

    def cut(*args: Any) -> Any:
        nonlocal count
        count += 1
        if count == 35:
            raise KeyboardInterrupt
        return step(*args)

    loop.runner.env.step = cut  # type: ignore[method-assign]
    with pytest.raises(Stopped):
        loop.train()
    loop.logger.close()
    again = resumed("vdn", "counting", tmp_path / "cut")
    assert again.t_env == loop.t_env
    again.train()
    assert end_of(again) == whole


def test_a_complete_run_trained_on_equals_a_longer_one(tmp_path: Path) -> None:
    """The last test and log entry of the shorter run are dropped: they would not have been there."""
    longer = uninterrupted("iql", "counting", tmp_path / "longer")
    loop = make_loop("iql", "counting", tmp_path / "run", seed=1, t_max=60)
    loop.train()
    loop.logger.close()
    loop = resumed("iql", "counting", tmp_path / "run")
    loop.train()
    assert end_of(loop) == longer


def test_early_stop_counts_on(tmp_path: Path) -> None:
    """Tests that reached the level before the death count."""
    changes = {"t_max": 1000, "stop_metric": "test_return_mean", "stop_level": -100.0, "stop_tests": 2}
    whole = uninterrupted("vdn", "counting", tmp_path / "whole", **changes)
    killed_at_update(make_loop("vdn", "counting", tmp_path / "killed", seed=1, **changes), 4)
    loop = resumed("vdn", "counting", tmp_path / "killed", **changes)
    assert loop.early_stop.in_a_row == 1
    loop.train()
    assert loop.t_env < 100
    assert end_of(loop) == whole
