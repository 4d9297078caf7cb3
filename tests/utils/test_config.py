"""Merging and checking of the configuration, on files made for the test."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError, dataclass
from pathlib import Path
from shutil import copy
from typing import Annotated, Any

import pytest

from utils import config as config_module
from utils import configfile
from utils.config import Config, as_dict, build_config, merge
from utils.configfile import read_yaml
from utils.errors import Range, UserError


class ToyLearner:
    @dataclass(frozen=True)
    class Params:
        width: Annotated[int, Range(1)]
        td_lambda: Annotated[float, Range(0.0, 1.0)] = 0.5


class GreedyLearner:
    @dataclass(frozen=True)
    class Params:
        gamma: float = 0.0


TOYS = {"toy_learner": ToyLearner, "greedy_learner": GreedyLearner}


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A config folder with one environment and one algorithm."""
    copy(configfile.CONFIG_DIR / "default.yaml", tmp_path)
    for folder in ("algs", "envs"):
        (tmp_path / folder).mkdir()
    (tmp_path / "envs" / "grid.yaml").write_text(
        "# a grid\nenv: grid\nt_max: 3e5\ngamma: 0.5\nlr: 1e-3\nenv_args: {size: 3, map: small, deep: {a: 1, b: 2}}\n"
    )
    (tmp_path / "algs" / "toy.yaml").write_text("# a toy\nname: toy\nlearner: toy_learner\nlr: 2e-3\nwidth: 8\n")
    monkeypatch.setattr(configfile, "CONFIG_DIR", tmp_path)
    monkeypatch.setattr(config_module, "CONFIG_DIR", tmp_path)
    return tmp_path


def build(**overrides: Any) -> Config:
    return build_config("toy", "grid", overrides, TOYS)


def test_the_later_layer_wins() -> None:
    config = build(test_interval=7, env_args={"size": 5, "deep": {"b": 3}})
    assert (config.grad_norm_clip, config.gamma, config.lr, config.test_interval) == (10.0, 0.5, 0.002, 7)
    assert config.env_args == {"size": 5, "map": "small", "deep": {"a": 1, "b": 3}}
    assert (config.name, config.env, config.learner) == ("toy", "grid", "toy_learner")
    assert config.params == ToyLearner.Params(width=8, td_lambda=0.5)


def test_integral_floats_are_integers() -> None:
    config = build(t_max=2e6)
    assert (config.t_max, type(config.t_max)) == (2_000_000, int)
    assert (build().t_max, build(width=16.0).params.width, type(build(lr=1).lr)) == (300_000, 16, float)


def test_it_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        build().lr = 0.1  # type: ignore[misc]


def test_a_missing_seed_is_drawn_anew() -> None:
    seeds = {build().seed for _ in range(5)}
    assert len(seeds) == 5
    assert all(0 < seed < 2**32 for seed in seeds)
    assert build(seed=3).seed == 3


def test_as_dict_rebuilds_it_even_through_json() -> None:
    config = build(td_lambda=0.25, seed=3)
    again = json.loads(json.dumps(as_dict(config)))
    assert build_config(None, None, again, TOYS) == config


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"t_maxx": 3}, "unknown key 't_maxx'; did you mean 't_max'?"),
        ({"widht": 3}, "unknown key 'widht'; did you mean 'width'?"),
        ({"params": 3}, "unknown key 'params'"),
        ({"t_max": 2.5}, "key 't_max' must be an int >= 1"),
        ({"t_max": 0}, "got 0"),
        ({"gamma": 1.5}, "key 'gamma' must be a float >= 0.0 and <= 1.0, got 1.5"),
        ({"width": 0}, "key 'width' must be an int >= 1, got 0"),
        ({"td_lambda": -1}, "key 'td_lambda'"),
        ({"use_cuda": 1}, "must be True or False"),
        ({"runner": "paralel"}, "did you mean 'parallel'?"),
        ({"learner": "toi_learner"}, "unknown learner 'toi_learner'; did you mean 'toy_learner'?"),
        ({"seed": 2**32}, "<= 4294967295"),
        ({"env_args": 3}, "env_args.key=value"),
        ({"target_tau": 0.01}, "set one of target_update_interval"),
        ({"target_update_interval": 0}, "set one of target_update_interval"),
        ({"buffer_size": 8}, "buffer_size (8 episodes) must hold batch_size (32)"),
        ({"learning_starts": 6000}, "learning_starts (6000)"),
        ({"evaluate": True}, "needs checkpoint_path"),
        ({"evaluate": True, "checkpoint_path": "x", "test_nepisode": 0}, "test_nepisode"),
    ],
)
def test_bad_values(overrides: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as error:
        build(**overrides)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_polyak_averaging_is_chosen_by_two_keys() -> None:
    assert build(target_update_interval=0, target_tau=0.005).target_tau == 0.005


@pytest.mark.parametrize(
    ("alg", "env", "message"),
    [
        ("toi", "grid", "unknown algorithm 'toi'; did you mean 'toy'?; known: toy"),
        ("toy", "gird", "unknown environment 'gird'; did you mean 'grid'?; known: grid"),
        ("../default", "grid", "unknown algorithm"),
        (None, "grid", "name an algorithm: --config=ALG, one of toy"),
        ("toy", None, "name an environment: --env-config=ENV, one of grid"),
    ],
)
def test_bad_names(alg: str | None, env: str | None, message: str) -> None:
    with pytest.raises(UserError) as error:
        merge(alg, env, {})
    assert message in str(error.value)


def test_wrong_keys_in_files_are_refused(files: Path) -> None:
    (files / "envs" / "bad.yaml").write_text("env: grid\nt_mx: 3\n")
    with pytest.raises(UserError, match=r"unknown key in envs/bad\.yaml 't_mx'; did you mean 't_max'"):
        merge("toy", "bad", {})
    (files / "algs" / "bad.yaml").write_text("name: bad\nlearner: toy_learner\nwidth: 3\nmixer: vdn\n")
    with pytest.raises(UserError, match="unknown key 'mixer'"):
        build_config("bad", "grid", {}, TOYS)
    (files / "algs" / "bad.yaml").write_text("name: bad\nlearner: toy_learner\n")
    with pytest.raises(UserError, match="missing key 'width'"):
        build_config("bad", "grid", {}, TOYS)


def test_a_learner_must_not_take_a_key_of_the_framework() -> None:
    with pytest.raises(TypeError, match="repeats keys of the framework: gamma"):
        build(learner="greedy_learner")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3\n", "bad.yaml, line 3: key 'a' is given twice"),
        ("a: [1\n", "bad.yaml, line 2: expected"),
        ("- 1\n- 2\n", "must hold `key: value` lines"),
        ("1: 2\n", "must hold `key: value` lines"),
        ("a: !!python/object/apply:os.getcwd []\n", "could not determine a constructor"),
        ("a: \x00\n", "bad.yaml"),
    ],
)
def test_bad_yaml(files: Path, text: str, message: str) -> None:
    (files / "bad.yaml").write_text(text)
    with pytest.raises(UserError) as error:
        read_yaml(files / "bad.yaml")
    assert message in str(error.value)


def test_yaml_numbers(files: Path) -> None:
    (files / "n.yaml").write_text("a: 5e-4\nb: 1e5\nc: .5e3\nd: '1e5'\ne: 1.0e-3\nf: 3m\ng: -2E+3\nh: 3e\n")
    assert list(read_yaml(files / "n.yaml").values()) == [5e-4, 1e5, 500.0, "1e5", 1e-3, "3m", -2000.0, "3e"]


def test_an_absent_file(files: Path) -> None:
    with pytest.raises(UserError, match="cannot read"):
        read_yaml(files / "nothing.yaml")
