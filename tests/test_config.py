"""The configuration files of the repository and the keys they may hold."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from learners import REGISTRY
from utils.config import FRAMEWORK_KEYS, Config, build_config, layers
from utils.configfile import CONFIG_DIR, available, read_yaml
from utils.errors import hints_of

SOURCES = "\n".join(
    path.read_text() for path in CONFIG_DIR.parent.rglob("*.py") if path.name not in ("config.py", "configfile.py")
)
ONLY_RECORDED = {"label"}
NULLABLE = {"seed"}  # null draws one
FILES = sorted(CONFIG_DIR.rglob("*.yaml"))


def keyed_lines(path: Path) -> dict[str, str]:
    """Top-level key -> the rest of its line."""
    found = re.findall(r"^(\w+):(.*)$", path.read_text(), re.MULTILINE)
    return dict(found)


def test_default_yaml_holds_every_key_and_no_other() -> None:
    assert list(read_yaml(CONFIG_DIR / "default.yaml")) == [
        item.name for item in fields(Config) if item.name != "params"
    ]


def test_every_key_of_default_yaml_has_a_comment() -> None:
    for key, rest in keyed_lines(CONFIG_DIR / "default.yaml").items():
        assert re.search(r"\s# \S.{9,}", rest), f"{key} has no meaning"


def test_intervals_and_times_state_their_unit() -> None:
    units = re.compile(r"env steps?|updates|episodes?|seconds")
    for key, rest in keyed_lines(CONFIG_DIR / "default.yaml").items():
        if re.search(r"interval|time|t_max|size|starts|nepisode", key):
            assert units.search(rest) or "together" in rest, f"{key} has no unit"


@pytest.mark.parametrize("key", sorted(set(FRAMEWORK_KEYS) - ONLY_RECORDED))
def test_every_key_is_read(key: str) -> None:
    assert re.search(rf"\.{key}\b", SOURCES), f"no code reads {key}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_file_begins_with_its_meaning(path: Path) -> None:
    assert re.match(r"# .{20,}\n", path.read_text())


@pytest.mark.parametrize("alg", available("algs"))
def test_every_algorithm_builds(alg: str) -> None:
    config = build_config(alg, "matrix_game", {})
    assert config.name == alg
    assert type(config.params) is REGISTRY[config.learner].Params


@pytest.mark.parametrize("alg", available("algs"))
def test_an_algorithm_states_each_of_its_own_keys_with_a_comment(alg: str) -> None:
    lines = keyed_lines(CONFIG_DIR / "algs" / f"{alg}.yaml")
    own = hints_of(REGISTRY[layers(alg, None)["learner"]].Params)
    assert set(own) <= set(lines)
    assert set(lines) <= {*own, *FRAMEWORK_KEYS}
    assert [key for key, rest in lines.items() if key not in ("name", "learner") and "#" not in rest] == []


@pytest.mark.parametrize("name", REGISTRY)
def test_no_learner_repeats_a_key_of_the_framework(name: str) -> None:
    assert not set(hints_of(REGISTRY[name].Params)) & set(FRAMEWORK_KEYS)


@pytest.mark.parametrize("env", available("envs"))
def test_every_environment_file_is_valid(env: str) -> None:
    assert layers(None, env)["env"] == env


@pytest.mark.parametrize("key", FRAMEWORK_KEYS)
def test_every_default_is_of_its_type(key: str) -> None:
    assert key in NULLABLE or layers(None, None)[key] is not None
