"""Maps: who fights whom, where and on what ground; read from `maps/*.yaml` or from a user's file."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from functools import cache
from hashlib import sha256
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np

from envs.skirmish.data import HERE, UnitType, load_unit, unit_names
from envs.skirmish.yamlfile import Section, build, read
from utils.errors import UserError, nearest

MAPS = HERE / "maps"
TERRAINS = MAPS / "terrain"
RACES = ("T", "P", "Z")
MAX_UNITS = 256
MAX_SIDE = 128  # cells
SMAC_ORDER = [
    "3m",
    "8m",
    "25m",
    "5m_vs_6m",
    "8m_vs_9m",
    "10m_vs_11m",
    "27m_vs_30m",
    "MMM",
    "MMM2",
    "2s3z",
    "3s5z",
    "3s5z_vs_3s6z",
    "3s_vs_3z",
    "3s_vs_4z",
    "3s_vs_5z",
    "1c3s5z",
    "2m_vs_1z",
    "corridor",
    "6h_vs_8z",
    "2s_vs_1sc",
    "so_many_baneling",
    "bane_vs_bane",
    "2c_vs_64zg",
]


@dataclass(frozen=True)
class Ground:
    """Terrain as arrays indexed [x, y], one entry a cell: walkable, climbable by cliff walkers, height z."""

    walk: np.ndarray
    climb: np.ndarray
    height: np.ndarray


@dataclass(frozen=True)
class Cell:
    """What one character of a terrain drawing means."""

    walk: bool
    climb: bool
    z: float


@dataclass(frozen=True)
class Group:
    """Units of one type created at one point."""

    unit: str
    count: int
    at: list[float]


@dataclass(frozen=True)
class ReadGroup(Group):
    """A group out of a map file; `source` is its "file:line: ", for messages."""

    source: str


@dataclass(frozen=True)
class Standing:
    """The order a side is given at the spawn; at most one of the fields is set."""

    attack_move: list[float] | None = None
    attack_move_between: list[list[float]] | None = None
    attack_group: bool = False


@dataclass(frozen=True)
class Scenario:
    """A map. `allies_acquire` and `ally_order` are for demonstrations and tests; SMAC has neither."""

    limit: int
    races: list[str]
    ally_types: list[str]
    terrain: Any
    allies: list[Any]
    enemies: list[Any]
    name: str = ""
    description: str = ""
    type_columns: int = 0
    enemy_types: list[str] = field(default_factory=list)
    enemy_order: Any = field(default_factory=Standing)
    allies_acquire: bool = False
    ally_order: Any = field(default_factory=Standing)

    def units(self, balance: str) -> dict[str, UnitType]:
        """Unit types that occur, by name, in alphabetical order."""
        names = sorted({group.unit for group in [*self.allies, *self.enemies]})
        return {name: load_unit(name, balance) for name in names}


def map_names() -> list[str]:
    """The 23 maps in the order of SMAC's table, then any others."""
    found = {path.stem for path in MAPS.glob("*.yaml")}
    return [name for name in SMAC_ORDER if name in found] + sorted(found - set(SMAC_ORDER))


def list_maps() -> list[tuple[str, str]]:
    """(name, one-line description) of every map."""
    return [(name, str(read(MAPS / f"{name}.yaml").get("description", ""))) for name in map_names()]


def _terrain(value: Any, parent: Section) -> Ground:
    if isinstance(value, str):
        known = sorted(path.stem for path in TERRAINS.glob("*.yaml"))
        if value not in known:
            raise parent.error(
                f"unknown terrain {value!r}{nearest(value, known)}; known: {', '.join(known)}", "terrain"
            )
        value = read(TERRAINS / f"{value}.yaml")
    if not isinstance(value, Section) or set(value) != {"legend", "rows"}:
        raise parent.error("terrain must be a name or have the keys legend and rows", "terrain")
    if not isinstance(value["legend"], Section):
        raise value.error("legend must map characters to {walk, climb, z}", "legend")
    legend = {key: build(Cell, cell, f"legend {key!r}", value) for key, cell in value["legend"].items()}
    return _ground(value, legend)


def _ground(section: Section, legend: dict[str, Cell]) -> Ground:
    rows, first = section["rows"], section.lines["rows"]
    if not isinstance(rows, list) or not rows or not all(isinstance(row, str) for row in rows):
        raise section.error("rows must be a list of strings, the northernmost first", "rows")
    width, height = len(rows[0]), len(rows)
    if max(width, height) > MAX_SIDE:
        raise section.error(f"terrain of {width} x {height} cells; at most {MAX_SIDE} x {MAX_SIDE}", "rows")
    ground = Ground(np.zeros((width, height), bool), np.zeros((width, height), bool), np.zeros((width, height)))
    for i, row in enumerate(rows):
        if len(row) != width:
            raise UserError(f"{section.file}:{first + 1 + i}: row has {len(row)} characters, the first has {width}")
        for x, char in enumerate(row):
            if char not in legend:
                raise UserError(f"{section.file}:{first + 1 + i}: {char!r} is not in the legend: {' '.join(legend)}")
            cell, at = legend[char], (x, height - 1 - i)
            ground.walk[at], ground.climb[at], ground.height[at] = cell.walk, cell.walk or cell.climb, cell.z
    return ground


def _groups(section: Section, key: str) -> list[Group]:
    given = section.get(key)
    if not isinstance(given, list) or not given:
        raise section.error(f"{key} must be a list of {{unit, count, at}}", key)
    return [_group(item, section, key) for item in given]


def _group(item: Any, section: Section, key: str) -> Group:
    if not isinstance(item, Section):
        raise section.error(f"{key} must be a list of {{unit, count, at}}, got {item!r}", key)
    group = build(Group, item, f"group of {key}", section)
    if group.unit not in unit_names():
        known = unit_names()
        raise item.error(f"unknown unit {group.unit!r}{nearest(group.unit, known)}; known: {', '.join(known)}", "unit")
    if group.count < 1:
        raise item.error(f"'count' must be at least 1, got {group.count}", "count")
    _point(group.at, item, "at")
    return ReadGroup(**asdict(group), source=str(item.error("", "at")))


def _point(value: Any, section: Section, key: str) -> None:
    numbers = isinstance(value, list) and [v for v in value if type(v) in (int, float) and isfinite(v)]
    if not numbers or len(numbers) != 2 or len(value) != 2:  # noqa: PLR2004
        raise section.error(f"{key!r} must be [x, y] in cells, got {value!r}", key)


def _standing(section: Section, key: str) -> Standing:
    if key not in section:
        return Standing()
    given = section[key]
    if not isinstance(given, Section):
        raise section.error(f"{key} must be a mapping such as {{attack_move: [16, 16]}}, got {given!r}", key)
    order = build(Standing, given, key, section)
    if len(given) > 1:
        raise given.error(f"{key} takes at most one of attack_move, attack_move_between, attack_group")
    if order.attack_move is not None:
        _point(order.attack_move, given, "attack_move")
    if order.attack_move_between is not None:
        if len(order.attack_move_between) != 2:  # noqa: PLR2004
            raise given.error("'attack_move_between' must be two points [[x, y], [x, y]]", "attack_move_between")
        for point in order.attack_move_between:
            _point(point, given, "attack_move_between")
    return order


def _check(scenario: Scenario, section: Section) -> None:
    if scenario.limit < 1:
        raise section.error(f"'limit' must be at least 1 step, got {scenario.limit}", "limit")
    if len(scenario.races) != 2 or not all(race in RACES for race in scenario.races):  # noqa: PLR2004
        raise section.error(f"'races' must be two of {', '.join(RACES)}, got {scenario.races}", "races")
    sides = {"ally_types": scenario.allies, "enemy_types": scenario.enemies}
    for key, groups in sides.items():
        present, given = sorted({group.unit for group in groups}), getattr(scenario, key)
        if not all(isinstance(name, str) for name in given) or sorted(given) != present:
            raise section.error(f"{key} must list {', '.join(present)}, each once, got {given}", key)
    widest = max(len(scenario.ally_types), len(scenario.enemy_types))
    if scenario.type_columns not in (0, widest):
        raise section.error(f"'type_columns' must be 0 or {widest}, got {scenario.type_columns}", "type_columns")
    total = sum(group.count for group in [*scenario.allies, *scenario.enemies])
    if total > MAX_UNITS:
        raise section.error(f"{total} units; at most {MAX_UNITS}")


def parse_map(section: Section, name: str) -> Scenario:
    """Build a scenario from the contents of a map file; every error names file and line."""
    full = Section(section)
    full.file, full.line, full.lines = section.file, section.line, section.lines
    for key in ("allies", "enemies"):
        full[key] = _groups(section, key)
    full["name"] = section.get("name", name)
    full["terrain"] = _terrain(section.get("terrain", "strip"), section)
    full["enemy_order"], full["ally_order"] = _standing(section, "enemy_order"), _standing(section, "ally_order")
    for key, groups in (("ally_types", full["allies"]), ("enemy_types", full["enemies"])):
        full.setdefault(key, sorted({group.unit for group in groups}))
    scenario = build(Scenario, full, "the map", section)
    _check(scenario, section)
    return scenario


@cache
def load_map(name: str, file: str = "") -> Scenario:
    """The map `name`, or the one described by the YAML file `file`.

    Raises:
        UserError: unknown map, or a mistake in the file, with its line.
    """
    if file:
        return parse_map(read(Path(file)), Path(file).stem)
    if name not in map_names():
        raise UserError(f"unknown map {name!r}{nearest(name, map_names())}; known: {', '.join(map_names())}")
    return parse_map(read(MAPS / f"{name}.yaml"), name)


def data_hash(scenario: Scenario, balance: str) -> str:
    """First 16 hex digits of the SHA-256 of the map, its terrain and the units on it."""
    plain = asdict(scenario) | {"units": {k: asdict(v) for k, v in scenario.units(balance).items()}}
    for text in ("name", "description"):
        plain.pop(text)
    for group in [*plain["allies"], *plain["enemies"]]:
        group.pop("source", None)
    plain["terrain"] = {k: np.asarray(v).tolist() for k, v in plain["terrain"].items()}
    return sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:16]
