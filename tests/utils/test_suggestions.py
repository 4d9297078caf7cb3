"""Every algorithm on actions it does not take: one line, exit code 2, the names of those that take them."""

from functools import cache

import pytest

import envs
import main as program
import run as run_module
from helpers import make_config
from learners import REGISTRY as LEARNERS
from utils.configfile import available
from utils.errors import UserError, WrongActionsError
from utils.suggestions import algorithms_for

ENVS = {"discrete": "matrix_game", "continuous": "mtq"}


@cache
def names_for(kind):
    """The list, made once."""
    return algorithms_for(info_of(kind))


@cache
def info_of(kind):
    """Sizes of the game with this kind of actions."""
    return envs.resolve(ENVS[kind], {}).single().env_info


@pytest.mark.parametrize("kind", ENVS)
def test_names_are_those_that_can_be_built(kind):
    """Known members and non-members of both lists; every name is an algorithm's."""
    names = names_for(kind)
    assert set(names) <= set(available("algs"))
    assert {"fop", "facmac", "maddpg", "maac", "isac", "masac"} <= set(names)
    discrete_only = {"coma", "dop", "vdac_sum", "macpf", "vdn", "qmix", "fop_official"}
    found = discrete_only & set(names)
    assert found == (discrete_only if kind == "discrete" else set())
    assert "dop_det" in names


@pytest.mark.parametrize("alg", available("algs"))
def test_every_algorithm_takes_the_actions_or_names_others(alg, capfd):
    """Over the registry and both kinds: it is listed, or the program refuses in one line with the list."""
    config = make_config(alg)
    assert config.learner in LEARNERS
    for kind, env in ENVS.items():
        info = info_of(kind)
        names = names_for(kind)
        if alg in names:
            run_module.build_learner(config, info, run_module.th.device("cpu"))
            continue
        assert program.main([f"--config={alg}", f"--env-config={env}"]) == 2
        error = capfd.readouterr().err
        assert error.startswith("error: ")
        assert error.count("\n") == 1
        assert error.endswith(f"with {kind} actions: {', '.join(names)}\n")


def test_wrong_actions_is_a_user_error():
    """So that it ends the program with one line wherever it is raised."""
    assert issubclass(WrongActionsError, UserError)
