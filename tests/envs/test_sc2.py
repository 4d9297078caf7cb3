"""`--env-config=sc2`: arguments, the choice of the engine, the yaml file."""

from __future__ import annotations

import pickle
from dataclasses import asdict
from pathlib import Path

import pytest
import yaml

import envs
from envs import sc2
from envs.skirmish import engine
from envs.skirmish.flags import Flags
from utils.errors import UserError

CONFIG = Path(sc2.__file__).resolve().parents[1] / "config" / "envs" / "sc2.yaml"


@pytest.fixture(autouse=True)
def no_game(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("SC2PATH", raising=False)
    monkeypatch.setattr(sc2, "GAME_FOLDER", tmp_path / "none")


def test_the_yaml_holds_every_argument_with_its_default_and_a_comment() -> None:
    given = yaml.safe_load(CONFIG.read_text())
    assert given["env"] == "sc2" and given["env_args"] == asdict(Flags())
    lines = CONFIG.read_text().split("env_args:\n")[1].splitlines()
    assert len(lines) == len(asdict(Flags())) and all("# " in line for line in lines)


def test_auto_falls_back_to_the_embedded_engine_and_says_so() -> None:
    spec = envs.resolve("sc2", {"map_name": "3m"})
    assert spec.engine == "embedded" and spec.args["engine"] == "embedded"
    assert "EMBEDDED ENGINE" in spec.notice and "NOT StarCraft II results" in spec.notice
    assert envs.resolve("sc2", {"engine": "embedded"}).notice == ""


def test_the_recipe_can_be_pickled_and_makes_equal_environments() -> None:
    spec = pickle.loads(pickle.dumps(envs.resolve("sc2", {"map_name": "3m", "reward_sparse": True})))
    single, batched = spec.single(), spec.batched(2)
    assert single.env_info == batched.env_info
    assert single.env_info.engine == "embedded" and single.env_info.engine_version
    assert single.env_info.unit_dim == 4 and batched.n_envs == 2


def test_the_engine_is_compiled_before_workers_start() -> None:
    spec = envs.resolve("sc2", {"map_name": "3m", "engine": "embedded"})
    assert spec.prepare is not None
    spec.prepare()
    assert engine.is_compiled()


@pytest.mark.parametrize("place", ["nowhere", "empty"])
def test_a_wrong_sc2path_is_an_error_with_a_remedy(place: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("SC2PATH", str(tmp_path / place))
    with pytest.raises(UserError, match=r"SC2PATH is set to .* env_args.engine=embedded"):
        envs.resolve("sc2", {})
    assert envs.resolve("sc2", {"engine": "embedded"}).engine == "embedded"


def test_an_installed_game_is_chosen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "Versions").mkdir()
    monkeypatch.setenv("SC2PATH", str(tmp_path))
    assert sc2.choose_engine(Flags()) == "starcraft2"
    assert sc2.choose_engine(Flags(balance="lotv_4_10")) == "embedded"
    monkeypatch.delenv("SC2PATH")
    monkeypatch.setattr(sc2, "GAME_FOLDER", tmp_path)
    assert sc2.choose_engine(Flags()) == "starcraft2"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"map_name": "3s_vs_3x"}, "unknown map '3s_vs_3x'; did you mean '3s_vs_3z'"),
        ({"mapname": "3m"}, "unknown env_args key 'mapname'; did you mean 'map_name'"),
        ({"step_mul": 0}, "step_mul"),
        ({"step_mul": "fast"}, "step_mul"),
        ({"move_amount": 0}, "move_amount"),
        ({"reward_scale_rate": -1}, "reward_scale_rate"),
        ({"reward_sparse": 1}, "reward_sparse"),
        ({"difficulty": "Z"}, "difficulty"),
        ({"engine": "broodwar"}, "engine"),
        ({"balance": "patch"}, "balance"),
        ({"map_file": "no_such.yaml"}, "cannot read no_such.yaml"),
        ({"seed": 3}, "unknown env_args key 'seed'"),
    ],
)
def test_bad_arguments_are_one_line(args: dict[str, object], message: str) -> None:
    with pytest.raises(UserError) as error:
        envs.resolve("sc2", args)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_numbers_are_accepted_for_difficulty() -> None:
    assert envs.resolve("sc2", {"difficulty": 7, "engine": "embedded"}).args["difficulty"] == "7"
