"""`python src/replay.py`: GIFs of scripted teams and of checkpoints."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch as th
from PIL import Image

import envs
import replay
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


def test_a_checkpoint_is_filmed(tmp_path: Path) -> None:
    config = build_config("vdn", "sc2", {"env_args": {"map_name": "3m", "engine": "embedded"}, "seed": 1})
    env = envs.resolve(config.env, config.env_args).single()
    learner = build_learner(config, env.env_info, th.device("cpu"))
    run_dir = tmp_path / "run"
    checkpoint.save(run_dir / "models" / "12", {"learner": learner.state(), "t_env": 12})
    (run_dir / "config.json").write_text(json.dumps(as_dict(config) | {"env_info": {}}))
    assert replay.main([str(run_dir), "--episodes", "1", "--out", str(tmp_path / "out")]) == 0
    (film,) = (tmp_path / "out").glob("3m_vdn_12_0_*.gif")
    assert frames(film) > 5


def test_mistakes_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert replay.main([str(tmp_path / "none")]) == 2
    assert replay.main(["--policy", "kite", "--map", "3x", "--out", str(tmp_path)]) == 2
    errors = capsys.readouterr().err.strip().splitlines()
    assert len(errors) == 2 and all(line.startswith("error: ") for line in errors)
    for bad in ([], ["--policy", "kite", "somewhere"], ["--policy", "kite", "--episodes", "0"]):
        with pytest.raises(SystemExit) as stopped:
            replay.main(bad)
        assert stopped.value.code == 2
