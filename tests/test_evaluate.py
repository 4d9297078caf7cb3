"""evaluate.py: known values, intervals, other maps, what a user can get wrong."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch as th

import evaluate
import main as program
from envs.skirmish.scenario import MAPS
from reproduction.intervals import wilson
from resume_helpers import make_loop
from utils import checkpoint

SMALL = ["t_max=60", "batch_size=4", "hidden_dim=8", "test_nepisode=2", "seed=1", "torch_threads=1", "save_keep=1"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with run 1 (fop, a matrix game) and run 2 (vdn, embedded 3m)."""
    root = tmp_path_factory.mktemp("runs")
    where = [f"local_results_path={root}", *SMALL]
    assert program.main(["--config=fop", "--env-config=matrix_game", "-l", "ERROR", "with", *where]) == 0
    battle = ["env_args.map_name=3m", "env_args.engine=embedded", "batch_size_run=2"]
    assert program.main(["--config=vdn", "--env-config=sc2", "-l", "ERROR", "with", *battle, *where]) == 0
    return root / "sacred"


def report(capsys: pytest.CaptureFixture[str], *argv: str) -> dict[str, Any]:
    capsys.readouterr()
    assert evaluate.main([*argv, "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_a_greedy_policy_of_one_step_repeats_itself(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every episode returns the payoff that the run's own last test had; a sampled policy does not."""
    found = report(capsys, str(runs / "1"), "--episodes", "20")
    rows = [json.loads(line) for line in (runs / "1" / "metrics.jsonl").read_text().splitlines()]
    last = [row["test_return_mean"] for row in rows if "test_return_mean" in row][-1]
    returns = found["statistics"]["return"]
    assert (returns["mean"], returns["low"], returns["high"]) == pytest.approx((last, last, last))
    assert (found["episodes"], found["actions"], found["alg"], found["t_env"]) == (20, "greedy", "fop", 64)
    sampled = report(capsys, str(runs / "1"), "--episodes", "20", "--stochastic")["statistics"]["return"]
    assert sampled["low"] < sampled["mean"] < sampled["high"]


def test_battles(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Repeatable, of another seed different; the table says the same; the interval is Wilson's."""
    argv = [str(runs / "2"), "--episodes", "5"]
    found = report(capsys, *argv)
    assert report(capsys, *argv) == found
    assert report(capsys, *argv, "--seed", "8")["statistics"] != found["statistics"]
    rate = found["statistics"]["win_rate"]
    assert (rate["low"], rate["high"]) == wilson(round(5 * rate["mean"]), 5)
    assert list(found["statistics"])[:3] == ["win_rate", "return", "ep_length"]
    assert evaluate.main(argv) == 0
    out = capsys.readouterr().out
    assert f"{found['statistics']['return']['mean']:.3f}" in out
    assert "win rate" in out
    assert "embedded" in out


def test_another_map(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine = tmp_path / "mine.yaml"
    shutil.copy(MAPS / "3m.yaml", mine)
    assert report(capsys, str(runs / "2"), "--episodes", "1", "--map", str(mine))["task"] == "sc2 mine"
    assert evaluate.main([str(runs / "2"), "--map", "8m"]) == 2
    err = capsys.readouterr().err
    assert "--map 8m does not fit the run's networks: 8 agents, trained with 3; " in err
    assert err.endswith("maps that fit: 3m\n")


def test_one_episode_has_no_interval(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert report(capsys, str(runs / "1"), "--episodes", "1")["statistics"]["return"]["low"] is None


def test_a_run_with_recorded_updates_of_a_gpu(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Acting asks for neither the GPU nor its generator's state, which has another size."""
    shutil.copytree(runs / "1", tmp_path / "1")
    recorded = json.loads((tmp_path / "1" / "config.json").read_text()) | {"torch_compile": "cuda_graphs"}
    (tmp_path / "1" / "config.json").write_text(json.dumps(recorded))
    file = checkpoint.find(tmp_path / "1", 0)
    state = checkpoint.load(file)
    state["learner"]["rng"] = th.zeros(16, dtype=th.uint8)
    checkpoint.write(file, state)
    assert report(capsys, str(tmp_path / "1"), "--episodes", "1")["alg"] == "fop"


def test_a_run_under_way(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Before its first checkpoint of networks the newest one to resume from is used."""
    loop = make_loop("fop", "matrix_game", tmp_path / "1", seed=1)
    loop.t_env = 24
    loop.snapshot()
    config = json.loads((runs / "1" / "config.json").read_text()) | {"hidden_dim": 8}
    del config["save_every"]  # recorded by a version that did not have the key
    (tmp_path / "1" / "config.json").write_text(json.dumps(config))
    assert report(capsys, str(tmp_path / "1"), "--episodes", "1")["t_env"] == 24
    for t_env in (8, 40):
        loop.t_env = t_env
        loop.save()
    for load_step, found in ((0, 40), (8, 8), (9, 8), (22, 24), (33, 40), (1000, 40)):
        shown = report(capsys, str(tmp_path / "1"), "--episodes", "1", "--load-step", str(load_step))
        assert shown["t_env"] == found


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["nowhere"], "'nowhere' does not exist"),
        ([], "required: run"),
        (["1", "--episodes", "0"], "--episodes must be at least 1, got 0"),
        (["1", "--episodes", "many"], "invalid int value: 'many'"),
        (["1", "--seed", "-1"], "--seed must be at least 0"),
        (["1", "--map", "3m"], "--map: matrix_game has no maps, sc2 has"),
        (["2", "--map", "3s_vs_3x"], "unknown map '3s_vs_3x'; did you mean '3s_vs_3z'?"),
        (["1", "--best"], "unrecognized arguments: --best"),
        (["empty"], "no checkpoint in 'empty'"),
        (["damaged"], "cannot read checkpoint"),
        (["lost"], "lost has no config.json"),
        (["torn"], "torn/config.json: Unterminated string"),
    ],
)
def test_bad_input(
    argv: list[str],
    message: str,
    runs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("1", "2"):
        Path(name).symlink_to(runs / name)
    for name in ("damaged", "lost", "torn"):
        shutil.copytree(runs / "1", name)
    Path("empty").mkdir()
    next(Path("damaged").glob("models/*/*")).write_bytes(b"PK")
    Path("lost/config.json").unlink()
    Path("torn/config.json").write_text('{"seed": 1, "na')
    assert evaluate.main(argv) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith("error: ")
    assert message in err
