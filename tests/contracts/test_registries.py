"""Registries against files: nothing registered without a yaml, a documentation page and a first-line meaning."""

import ast
import difflib
import itertools
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


def code_of(path):
    """Stripped lines of a file without imports, comments and blank ones."""
    module = ast.parse(path.read_text())
    skipped = {
        line
        for node in module.body
        if isinstance(node, ast.Import | ast.ImportFrom)
        for line in range(node.lineno, node.end_lineno + 1)
    }
    lines = (
        line.strip() for number, line in enumerate(path.read_text().splitlines(), start=1) if number not in skipped
    )
    return [line for line in lines if len(line) > 1 and not line.startswith("#")]


LEARNER_FILES = sorted((ROOT / "src" / "learners").glob("*_learner.py"))


@pytest.mark.parametrize(("one", "other"), list(itertools.combinations(LEARNER_FILES, 2)))
def test_no_two_learners_share_a_tenth_of_their_lines(one, other):
    """Runs of three or more equal lines are at most 10 % of the shorter one."""
    first, second = code_of(one), code_of(other)
    blocks = difflib.SequenceMatcher(None, first, second, autojunk=False).get_matching_blocks()
    shared = sum(block.size for block in blocks if block.size >= 3)
    assert shared <= 0.1 * min(len(first), len(second))
