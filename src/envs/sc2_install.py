"""What of StarCraft II is on this machine: folders, builds, maps, libraries. Imports none of them."""

from __future__ import annotations

import os
import re
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path

PROGRAM = "SC2_x64"
MAPS = Path("Maps") / "SMAC_Maps"
CLIENT_LIBRARIES = ("pysc2", "s2clientprotocol", "google.protobuf", "absl", "portpicker", "websocket")
INSTALL_LIBRARIES = "pip install --no-deps -r requirements-sc2.txt"
INSTALL_GAME = "bash install_sc2.sh"


def builds(folder: Path) -> dict[int, Path]:
    """Programs of the game by build number, from `<folder>/Versions/Base<build>/`, whether they are there or not."""
    found = {}
    for path in sorted((folder / "Versions").glob("Base*")):
        if re.fullmatch(r"Base\d+", path.name):
            found[int(path.name.removeprefix("Base"))] = path / PROGRAM
    return found


def game_trouble(folder: Path) -> str:
    """What keeps the newest build in `folder` from being started, or ""."""
    if not folder.is_dir():
        return f"{folder} is not a folder"
    found = builds(folder)
    if not found:
        return f"{folder} has no Versions/Base<build> folder"
    program = found[max(found)]
    if not program.is_file():
        return f"{program} does not exist"
    return "" if os.access(program, os.X_OK) else f"{program} may not be executed"


def map_file(folder: Path, name: str) -> Path:
    """Where SMAC's client looks for a map."""
    return folder / MAPS / f"{name}.SC2Map"


def map_trouble(folder: Path, name: str) -> str:
    """Whether a map is missing, or ""."""
    path = map_file(folder, name)
    return "" if path.is_file() else f"{path} does not exist"


def map_hash(folder: Path, name: str) -> str:
    """First 16 hex digits of the SHA-256 of a map's file."""
    return sha256(map_file(folder, name).read_bytes()).hexdigest()[:16]


def client_trouble() -> str:
    """Which library of the game's client is missing, or ""."""
    missing = [name for name in CLIENT_LIBRARIES if not _there(name)]
    return f"missing: {', '.join(missing)}" if missing else ""


def smac_trouble() -> str:
    """Whether SMAC's client is missing, or another package has its name, or ""."""
    spec = find_spec("smac")
    if spec is None:
        return "missing: smac"
    places = [Path(place) for place in spec.submodule_search_locations or ()]
    if any((place / "env").is_dir() for place in places):  # not by import: SMAC3 takes seconds
        return ""
    return "the installed package smac is SMAC3, PyPI's hyperparameter optimiser, and not SMAC: pip uninstall smac"


def library_trouble() -> str:
    """What is wrong with the libraries, or ""."""
    return client_trouble() or smac_trouble()


def _there(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:  # not even the package around it
        return False
