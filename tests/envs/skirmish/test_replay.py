"""`python src/replay.py`: GIFs of scripted teams and of checkpoints."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch as th
from PIL import Image

import envs
import replay
from envs.skirmish.scenario import MAPS
from run import build_learner
from utils import checkpoint
from utils.config import as_dict, build_config


def frames(path: Path) -> int:
    with Image.open(path) as picture:
        return int(getattr(picture, "n_frames", 1))


def test_a_scripted_team_is_filmed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["--policy", "heuristic", "--map", "3m", "--episodes", "2", "--out", str(tmp_path)]
    assert replay.main(command) == 0
    films = sorted(tmp_path.glob("3m_heuristic_*.gif"))
    assert len(films) == 2 and frames(films[0]) > 10
    assert capsys.readouterr().out.count("return") == 2


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    """A run with random networks for 3m at 12 env steps."""
    config = build_config("vdn", "sc2", {"env_args": {"map_name": "3m", "engine": "embedded"}, "seed": 1})
    env = envs.resolve(config.env, config.env_args).single()
    learner = build_learner(config, env.env_info, th.device("cpu"))
    folder = tmp_path / "run"
    checkpoint.save(folder / "models" / "12", {"learner": learner.state(), "t_env": 12})
    (folder / "config.json").write_text(json.dumps(as_dict(config) | {"env_info": {}}))
    return folder


def test_a_checkpoint_is_filmed(run_dir: Path, tmp_path: Path) -> None:
    assert replay.main([str(run_dir), "--episodes", "1", "--out", str(tmp_path / "out")]) == 0
    (film,) = (tmp_path / "out").glob("3m_vdn_12_0_*.gif")
    assert frames(film) > 5


def test_a_map_file_is_filmed(run_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With a checkpoint and with a scripted team; a map of other sizes is refused with those that fit."""
    mine = tmp_path / "mine.yaml"
    mine.write_text((MAPS / "3m.yaml").read_text())
    for team in ([str(run_dir)], ["--policy", "focus"]):
        command = [*team, "--map", str(mine), "--episodes", "1", "--out", str(tmp_path / "out")]
        assert replay.main(command) == 0
    assert len(list((tmp_path / "out").glob("*.gif"))) == 2
    capsys.readouterr()
    assert replay.main([str(run_dir), "--map", "8m", "--out", str(tmp_path / "out")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "--map 8m does not fit the run's networks: 8 agents, trained with 3" in line


def test_mistakes_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mistakes = [
        [str(tmp_path / "none")],
        ["--policy", "kite", "--map", "3x", "--out", str(tmp_path)],
        [],
        ["--policy", "kite", "somewhere"],
        ["--policy", "kite", "--episodes", "0"],
        ["--policy", "kit"],
    ]
    for mistake in mistakes:
        assert replay.main(mistake) == 2
    errors = capsys.readouterr().err.strip().splitlines()
    assert len(errors) == len(mistakes)
    assert all(line.startswith("error: ") for line in errors)


def test_ctrl_c_is_no_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(replay, "play_script", stop)
    assert replay.main(["--policy", "kite", "--out", str(tmp_path)]) == 130
    assert capsys.readouterr().err == "stopped\n"
