"""A StarCraft II of ours in place of the game."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import sc2_double
from envs.skirmish import SkirmishEnv
from sc2_double.install import install

STANDIN = Path(sc2_double.__file__).parent / "standin"
CLIENT = "the client library: pip install --no-deps -r requirements-sc2-client.txt"
SMAC = "SMAC's client: pip install --no-deps -r requirements-sc2.txt"


def has_smac() -> bool:
    return find_spec("smac") is not None and find_spec("smac.env") is not None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what lacks its library, with the remedy."""
    lacking = {"needs_client": (find_spec("pysc2") is None, CLIENT), "needs_smac": (not has_smac(), SMAC)}
    for item in items:
        for mark, (missing, reason) in lacking.items():
            if missing and mark in item.keywords:
                item.add_marker(pytest.mark.skip(reason=f"needs {reason}"))


@pytest.fixture(scope="session")
def compiled() -> None:
    """The engine's kernels are in numba's cache, or a first start of the double would take half a minute."""
    SkirmishEnv("3m").reset()


@pytest.fixture
def game(compiled: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """`game(faults=[...])` installs the double in a folder with a space in its name and points SC2PATH there."""

    def make(**options: Any) -> Path:
        folder = install(tmp_path / "my games" / "StarCraftII", **options)
        monkeypatch.setenv("SC2PATH", str(folder))
        return folder

    return make


@pytest.fixture
def smac(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """SMAC's package, or where it is missing a stand-in for what the harness does around it."""
    if has_smac():
        yield
        return
    with monkeypatch.context() as patch:
        patch.syspath_prepend(str(STANDIN))
        yield
    for name in list(sys.modules):  # the next test may have to find out that there is no SMAC
        if name == "envs.starcraft2" or name.split(".")[0] == "smac":
            del sys.modules[name]
