"""Unit types: dataclasses filled from `units/*.yaml`. Units of measure are those of the files, see their heads."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from envs.skirmish.yamlfile import Section, build, merge, read
from utils.errors import UserError, nearest

HERE = Path(__file__).parent
BALANCES = {"liberty": "", "lotv_4_10": "lotv_4_10.yaml"}
MOVERS = ("ground", "cliff", "air")
PLANES = {"ground": ("ground",), "air": ("air",), "both": ("ground", "air")}


@dataclass(frozen=True)
class Lance:
    """Two sweeps of searches along a line through the target, across the line of fire."""

    sweeps: int
    points: int
    spacing: float
    search_radius: float
    step: float
    splash_delay: float
    main_delay: float


@dataclass(frozen=True)
class Weapon:
    """One attack: when it may start, when its hits land, what they do."""

    damage: float
    range: float
    period: float
    damage_point: float
    backswing: float
    name: str = ""
    hits: int = 1
    bonus: dict[str, float] = field(default_factory=dict)
    hit_gap: float = 0.0
    random_delay: list[float] = field(default_factory=lambda: [0.0, 0.0])
    scan: float = 0.0
    slop: float = 0.0
    targets: list[str] = field(default_factory=lambda: ["ground"])
    melee: bool = False
    missile_speed: float = 0.0
    close_range: float = -1.0
    close_damage_point: float = 0.0
    one_use: bool = False
    lance: Lance | None = None


@dataclass(frozen=True)
class Heal:
    """A healing beam on biological friends, paid in energy."""

    rate: float
    energy_per_hp: float
    range: float
    scan: float
    min_energy: float


@dataclass(frozen=True)
class Energy:
    """The store the healing is paid from."""

    start: float
    max: float
    regen: float


@dataclass(frozen=True)
class Blast:
    """Damage to enemy ground units around a unit that dies."""

    damage: float
    radius: float
    bonus: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class UnitType:
    """Everything the engine knows of a unit type."""

    race: str
    attributes: list[str]
    hp: float
    armor: float
    plane: str
    mover: str
    radius: float
    separation_radius: float
    inner_radius: float
    speed: float
    name: str = ""
    acceleration: float = 1000.0
    hp_regen: float = 0.0
    shield: float = 0.0
    shield_regen: float = 0.0
    shield_delay: float = 0.0
    priority: float = 20.0
    always_threatens: bool = False
    state_max_cooldown: float = 15.0
    energy: Energy | None = None
    heal: Heal | None = None
    weapon: Weapon | None = None
    blast: Blast | None = None

    def __post_init__(self) -> None:
        if self.mover not in MOVERS:
            raise UserError(f"'mover' must be one of {', '.join(MOVERS)}, got {self.mover!r}")
        if self.plane not in PLANES:
            raise UserError(f"'plane' must be one of {', '.join(PLANES)}, got {self.plane!r}")
        if self.hp <= 0:
            raise UserError(f"'hp' must be positive, got {self.hp}")


PARTS: dict[str, type] = {"energy": Energy, "heal": Heal, "weapon": Weapon, "blast": Blast}


def unit_names() -> list[str]:
    """Names of all unit types."""
    return sorted(path.stem for path in (HERE / "units").glob("*.yaml") if path.name not in BALANCES.values())


def parse_unit(section: Section, name: str) -> UnitType:
    """Build a unit type from the contents of its file."""
    parts = Section(section)
    parts.file, parts.line, parts.lines = section.file, section.line, section.lines
    parts["name"] = name
    for key, cls in PARTS.items():
        if key not in section:
            continue
        inner = section[key]
        if key == "weapon" and isinstance(inner, Section) and "lance" in inner:
            inner = merge(inner, {})
            inner["lance"] = build(Lance, inner["lance"], f"{name}.weapon.lance", section)
        parts[key] = build(cls, inner, f"{name}.{key}", section)
    return build(UnitType, parts, f"unit {name!r}", section)


@cache
def load_unit(name: str, balance: str) -> UnitType:
    """The unit type `name` under `balance`.

    Raises:
        UserError: unknown unit or balance.
    """
    if balance not in BALANCES:
        raise UserError(f"unknown balance {balance!r}{nearest(balance, BALANCES)}; allowed: {', '.join(BALANCES)}")
    if name not in unit_names():
        raise UserError(f"unknown unit {name!r}{nearest(name, unit_names())}; known: {', '.join(unit_names())}")
    section = read(HERE / "units" / f"{name}.yaml")
    if BALANCES[balance]:
        section = merge(section, read(HERE / "units" / BALANCES[balance]).get(name, {}))
    return parse_unit(section, name)
