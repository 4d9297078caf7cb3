"""Studies as data: merging, names of runs, command lines, mistakes in files."""

from __future__ import annotations

import json

import pytest

from reproduction.result import agree
from reproduction.session import check
from reproduction.study import Case, Cell, Method, from_mapping, load, studies
from utils.cli import parse
from utils.config import as_dict, merge
from utils.errors import UserError
from utils.experiment import check_parts


def data(**changes):
    return {
        "title": "t",
        "about": "a",
        "renderer": "payoff_tables",
        "env": "matrix_game",
        "seeds": 2,
        "shared": {"lr": 0.1, "hidden_dim": 8},
        "methods": {"VDN": {"alg": "vdn", "with": {"lr": 0.2}}, "QMIX": "qmix"},
        "cases": {"one": {"with": {"gamma": 0.5}, "per_method": {"VDN": {"gamma": 0.6}}}, "two": None},
    } | changes


def test_later_layers_win_and_every_method_meets_every_case():
    cells = from_mapping("s", data()).cells()
    found = {(c.method.name, c.case.name): c.overrides for c in cells if c.seed == 1}
    assert found == {
        ("VDN", "one"): {"lr": 0.2, "hidden_dim": 8, "gamma": 0.6},
        ("QMIX", "one"): {"lr": 0.1, "hidden_dim": 8, "gamma": 0.5},
        ("VDN", "two"): {"lr": 0.2, "hidden_dim": 8},
        ("QMIX", "two"): {"lr": 0.1, "hidden_dim": 8},
    }


def test_a_case_may_have_its_own_methods_seeds_and_keys_that_follow_the_seed():
    case = {"methods": ["QMIX"], "seeds": 3, "seed_keys": ["env_args.random_seed"]}
    cells = from_mapping("s", data(cases={"one": case}), seeds=7).cells()
    assert [(c.method.name, c.seed, c.overrides["env_args"]) for c in cells] == [
        ("QMIX", k, {"random_seed": k}) for k in range(3)
    ]
    assert len(from_mapping("s", data(cases={"one": case}), seeds=2).cells()) == 2


def test_the_command_line_reads_back_as_the_settings():
    case = {"with": {"env_args": {"payoff": [[8, -12], [-12, 0]]}, "label": "a b", "save_model": False}}
    cell = from_mapping("s", data(cases={"one": case})).cells()[0]
    request = parse(cell.arguments())
    assert (request.alg, request.env) == ("vdn", "matrix_game")
    assert request.overrides == {**cell.overrides, "seed": 0}


def test_equal_settings_share_a_run_and_other_settings_do_not():
    first = from_mapping("s", data()).cells()
    again = from_mapping("other", data(title="another")).cells()
    changed = from_mapping("s", data(shared={"lr": 0.3, "hidden_dim": 16})).cells()
    assert [c.run_id for c in first] == [c.run_id for c in again]
    assert not {c.run_id for c in first} & {c.run_id for c in changed}
    assert len({c.run_id for c in first}) == len(first)
    assert all(c.run_id.isidentifier() for c in first)  # what main.py takes as --id


def test_methods_without_an_algorithm_are_left_out_and_named():
    study = from_mapping("s", data(methods={"VDN": "vdn", "New": "not_there_yet"}, cases={"one": None}))
    assert study.missing == ("New",)
    assert {c.method.name for c in study.cells()} == {"VDN"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": 3}, "unknown studies/s.yaml key 'seed'; did you mean 'seeds'?"),
        ({"methods": {"VDN": {"with": {}}}}, "names no algorithm"),
        ({"methods": {"VDN": 3}}, "must be a mapping"),
        ({"cases": {"one": {"per_method": {"VND": {}}}}}, "unknown method 'VND'; did you mean 'VDN'?"),
        ({"cases": {"one": {"titel": "x"}}}, "did you mean 'title'?"),
    ],
)
def test_mistakes_in_a_file_are_named(changes, message):
    with pytest.raises(UserError) as caught:
        from_mapping("s", data(**changes))
    assert message in str(caught.value)


def test_mistakes_in_settings_name_the_method_and_case():
    study = from_mapping("s", data(cases={"one": {"per_method": {"QMIX": {"mixing_embed_dims": 4}}}}))
    with pytest.raises(UserError, match="QMIX, one: unknown key 'mixing_embed_dims'; did you mean 'mixing_embed_dim'"):
        check(study)


@pytest.mark.parametrize("name", studies())
def test_every_study_in_the_repository_is_sound(name):
    check(load(name))


@pytest.mark.parametrize(
    ("env", "keys"),
    [
        ("sc2", {"env_args": {"map_name": "3m"}}),  # engine: auto is recorded as what it came to
        ("sc2", {"env_args": {"map_name": "3m", "difficulty": 7}}),
        ("matrix_game", {"env_args": {"payoff": ((1.0, 0.0), (0.0, 2.0))}}),
        ("matrix_game", {"mongo_url": "mongodb://user:secret@localhost/sacred"}),
    ],
)
def test_a_finished_run_has_the_settings_it_was_asked_for(env, keys):
    """What is compared to tell whether a run is finished is what the run records."""
    cell = Cell(Method("vdn", "vdn", {}), Case("one", "one", {}, {}, ()), env, 0, keys)
    config, facts = check_parts(merge("vdn", env, keys))
    recorded = json.loads(json.dumps({**as_dict(config), **facts}))
    assert agree(cell.settings(), recorded)
    assert not agree(cell.settings(), recorded | {"lr": 0.5})
