"""Registries against files: nothing registered without a yaml, a documentation page and a first-line meaning."""

from pathlib import Path

import pytest

from learners import REGISTRY as LEARNERS
from utils.config import merge
from utils.configfile import available

ROOT = Path(__file__).resolve().parents[2]
ALGS = available("algs")


@pytest.mark.parametrize("alg", ALGS)
def test_every_algorithm_has_a_meaning_a_learner_and_a_page(alg):
    """Its yaml opens with one line for --help, names a registered learner, and docs/algorithms has its page."""
    assert ALGS[alg]
    assert merge(alg, "matrix_game", {})["learner"] in LEARNERS
    page = ROOT / "docs" / "algorithms" / f"{alg.removesuffix('_official')}.md"
    assert page.is_file(), f"write {page.relative_to(ROOT)}"


def test_every_learner_is_used_by_some_algorithm():
    """A learner without a yaml cannot be run."""
    used = {merge(alg, "matrix_game", {})["learner"] for alg in ALGS}
    assert used == set(LEARNERS)


@pytest.mark.parametrize("name", LEARNERS)
def test_size_of_learners(name):
    """A learner has at most 150 lines."""
    source = Path(LEARNERS[name].__module__.replace(".", "/") + ".py")
    assert len((ROOT / "src" / source).read_text().splitlines()) <= 150
