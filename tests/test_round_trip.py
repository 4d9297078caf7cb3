"""Train, save, load, evaluate: loaded agents do and value what the trained ones did, discrete and continuous."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import main as program
from utils.metricsfile import read_metrics

SHORT = ["t_max=80", "batch_size=4", "learning_starts=4", "hidden_dim=8", "agent=mlp", "critic=mlp", "test_interval=40"]
SHORT += ["test_nepisode=2", "log_interval=40", "save_model_interval=40", "seed=3", "lambda_net=mlp"]


@pytest.mark.parametrize(
    ("alg", "env", "keys"),
    [
        ("fop", "matrix_game", []),
        ("fop_official", "matrix_game", []),
        ("fop", "mtq", ["alpha_mode=auto", "alpha_individual=lambda"]),
    ],
)
def test_save_load_evaluate(
    alg: str, env: str, keys: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    command = [f"--config={alg}", f"--env-config={env}", "with", *SHORT, *keys]
    assert program.main(command) == 0
    assert program.main([*command, "checkpoint_path=results/sacred/1", "evaluate=True"]) == 0
    trained, evaluated = (tmp_path / "results" / "sacred" / number for number in ("1", "2"))
    first, second = (json.loads((path / "joint_values.json").read_text()) for path in (trained, evaluated))
    for what in ("joint_actions", "q_joint", "utilities", "greedy"):
        assert first[what] == second[what]
    last, loaded = (read_metrics(path / "metrics.jsonl")[1][-1] for path in (trained, evaluated))
    assert loaded["t_env"] == last["t_env"] == 80
    assert loaded["test_return_mean"] == last["test_return_mean"]


def test_an_earlier_checkpoint_is_another_policy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The check above could not fail if loading did nothing to the values."""
    monkeypatch.chdir(tmp_path)
    command = ["--config=fop", "--env-config=mtq", "with", *SHORT]
    assert program.main(command) == 0
    assert program.main([*command, "checkpoint_path=results/sacred/1", "load_step=40", "evaluate=True"]) == 0
    values = [json.loads((tmp_path / f"results/sacred/{k}/joint_values.json").read_text())["q_joint"] for k in (1, 2)]
    assert values[0] != values[1]
