"""docs/extending.md, followed to the letter in a copy of the sources: copy the templates, check, train."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TEMPLATES = ROOT / "docs" / "templates"
PLACES = {
    "my_env.py": "src/envs",
    "my_env.yaml": "src/config/envs",
    "my_learner.py": "src/learners",
    "my.yaml": "src/config/algs",
}


@pytest.fixture
def copied(tmp_path):
    """The sources with the templates where the page says they go."""
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    for name, place in PLACES.items():
        shutil.copy(TEMPLATES / name, tmp_path / place / name)
    return tmp_path


def command(folder, *arguments):
    """Run one of the commands of the page."""
    return subprocess.run([sys.executable, *arguments], cwd=folder, capture_output=True, text=True, timeout=120)


def test_the_templates_pass_the_contract_and_train(copied):
    """check_env accepts the environment; the algorithm runs on it and learns to meet."""
    checked = command(copied, "src/check_env.py", "envs.my_env:MyEnv", "with", "env_args.cells=5")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert checked.stdout.endswith("all checks hold\n")
    options = ["t_max=1500", "seed=1", "torch_threads=1", "env_args.cells=5", "batch_size=16", "save_model=False"]
    options += ["test_interval=1500", "test_nepisode=8", "epsilon_anneal_time=800", "agent=mlp", "hidden_dim=32"]
    options += ["updates_per_episode=0.5", "target_update_interval=20", "lr=0.002"]
    trained = command(copied, "src/main.py", "--config=my", "--env-config=my_env", "with", *options)
    assert trained.returncode == 0, trained.stderr
    (metrics,) = copied.glob("results/sacred/*/metrics.jsonl")
    rows = [json.loads(line) for line in metrics.read_text().splitlines()]
    tests = [row["test_met_mean"] for row in rows if "test_met_mean" in row]
    assert tests[-1] >= 0.75
    assert rows[0]["engine"] == "my_env"


def test_sizes_are_what_the_page_promises():
    """An environment in some 30 lines, a learner in fewer than 60."""
    code = [line for line in (TEMPLATES / "my_env.py").read_text().splitlines() if line.strip()]
    assert len(code) <= 36
    assert len((TEMPLATES / "my_learner.py").read_text().splitlines()) <= 60
    page = (ROOT / "docs" / "extending.md").read_text()
    assert all(f"docs/templates/{name}" in page and place in page for name, place in PLACES.items())
