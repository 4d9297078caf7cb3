"""A StarCraft II of ours in place of the game."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from envs.skirmish import SkirmishEnv
from sc2_double.install import install

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
