"""SMAC's own StarCraft2Env on the double, step by step beside the embedded environment, for the same actions.

    python tests/sc2_double/equality.py --episodes 20 --out docs/results     # needs requirements-sc2.txt

Every number of SMAC's travels through the game's API, which tells positions, life, shields and cooldowns as 32-bit
floats; the embedded engine computes with 64 bits. So a value differs when it is off by more than 1e-6; masks, ends
and counts must be equal.
"""

from __future__ import annotations

import argparse
import csv
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests")]

from envs.skirmish.scripts import POLICIES  # noqa: E402
from envs.skirmish.smac_api import SkirmishEnv  # noqa: E402
from sc2_double.install import install  # noqa: E402
from utils.cli import read_updates  # noqa: E402

MAPS = ("3m", "3s_vs_3z", "2s3z", "MMM2", "2c_vs_64zg")
TOLERANCE = 1e-6
STYLES = ("random", "focus", "half kite", "kite", "half focus")  # the agents' ways to play, episode by episode
MIXTURE = 0.5  # share of joint actions drawn at random in a style with "half"


@dataclass
class Row:
    """What was compared on a map, and how much of it was unequal."""

    map: str
    flags: str = ""
    episodes: int = 0
    steps: int = 0
    won: int = 0
    timeouts: int = 0
    values: int = 0
    obs: int = 0
    state: int = 0
    mask: int = 0
    reward: int = 0
    end: int = 0
    info: int = 0
    largest: float = 0.0

    @property
    def differing(self) -> int:
        """Values that are not equal."""
        return self.obs + self.state + self.mask + self.reward + self.end + self.info

    def numbers(self, name: str, theirs: Any, ours: Any) -> None:
        """Compare floats; a shape that differs is an error of its own."""
        gap = np.abs(np.asarray(theirs, np.float64) - np.asarray(ours, np.float64))
        self.values += gap.size
        self.largest = max(self.largest, float(gap.max()))
        setattr(self, name, getattr(self, name) + int((gap > TOLERANCE).sum()))

    def exactly(self, name: str, theirs: Any, ours: Any) -> None:
        """Compare what must be the same."""
        unequal = np.asarray(theirs) != np.asarray(ours)
        self.values += unequal.size
        setattr(self, name, getattr(self, name) + int(unequal.sum()))


@contextmanager
def game(folder: Path) -> Iterator[None]:
    """SC2PATH names the double while the block runs."""
    before = os.environ.get("SC2PATH")
    os.environ["SC2PATH"] = str(folder)
    try:
        yield
    finally:
        del os.environ["SC2PATH"]
        if before is not None:
            os.environ["SC2PATH"] = before


def choose(ours: SkirmishEnv, style: str, rng: np.random.Generator) -> list[int]:
    """A joint action of a scripted team, half random for the styles that say so."""
    mixed = style.removeprefix("half ")
    script = "random" if mixed != style and rng.random() < MIXTURE else mixed
    return [int(action) for action in POLICIES[script](ours.sim, rng)[0]]


def see(row: Row, theirs: Any, ours: SkirmishEnv) -> None:
    """Compare what both environments show."""
    row.numbers("obs", theirs.get_obs(), ours.get_obs())
    row.numbers("state", theirs.get_state(), ours.get_state())
    row.exactly("mask", theirs.get_avail_actions(), ours.get_avail_actions())


def play(row: Row, theirs: Any, ours: SkirmishEnv, style: str, rng: np.random.Generator) -> None:
    """One episode of both."""
    theirs.reset()
    ours.reset()
    ended = False
    while not ended:
        see(row, theirs, ours)
        actions = choose(ours, style, rng)
        reward, ended, info = theirs.step(list(actions))
        ours_reward, ours_ended, ours_info = ours.step(actions)
        row.numbers("reward", [reward], [ours_reward])
        row.exactly("end", [ended], [ours_ended])
        row.exactly("info", [sorted(info.items()) == sorted(ours_info.items())], [True])
        row.steps += 1
        if ended != ours_ended:
            raise AssertionError(f"{row.map}: one of the environments ended in step {row.steps}, the other did not")
    see(row, theirs, ours)
    row.episodes += 1
    row.won += bool(info["battle_won"])


def compare(map_name: str, episodes: int, seed: int = 1, **flags: Any) -> Row:
    """Play `episodes` on both; `flags` are arguments of both environments."""
    from smac.env import StarCraft2Env

    text = " ".join(f"{key}={value}" for key, value in flags.items())
    row, rng = Row(map_name, text), np.random.default_rng(seed)
    theirs = StarCraft2Env(map_name=map_name, seed=seed, **flags)
    ours = SkirmishEnv(map_name=map_name, seed=seed, **flags)
    try:
        told, expected = theirs.get_env_info(), ours.get_env_info()
        if flags.get("obs_timestep_number"):  # SMAC declares one entry less than its vectors have
            told["obs_shape"] += 1
        row.exactly("info", [told == expected], [True])
        for episode in range(episodes):
            play(row, theirs, ours, STYLES[episode % len(STYLES)], rng)
        stats, ours_stats = theirs.get_stats(), ours.get_stats()
        row.exactly("info", [stats == ours_stats], [True])
        row.timeouts = stats["timeouts"]
    finally:
        theirs.close()
        ours.close()
    return row


def table(rows: list[Row]) -> str:
    """Markdown."""
    names = [field.name for field in fields(Row)]
    lines = [" | ".join(names), " | ".join(["---"] * len(names))]
    for row in rows:
        cells = asdict(row) | {"largest": f"{row.largest:.1e}"}
        lines.append(" | ".join(str(cells[name]) for name in names))
    return "\n".join(f"| {line} |" for line in lines)


def main() -> int:
    """Print the table, write it as CSV; exit code 1 if anything differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--maps", nargs="+", default=list(MAPS))
    parser.add_argument("--episodes", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--flags", nargs="+", default=[], help="key=value, arguments of both environments")
    parser.add_argument("--out", type=Path, help="folder for smac_equality.csv")
    args = parser.parse_args()
    with TemporaryDirectory() as folder, game(install(Path(folder))):
        flags = read_updates(args.flags)
        rows = [compare(name, args.episodes, args.seed, **flags) for name in args.maps]
    print(table(rows))
    if args.out is not None:
        with (args.out / "smac_equality.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, [field.name for field in fields(Row)], lineterminator="\n")
            writer.writeheader()
            writer.writerows(asdict(row) for row in rows)
    return int(any(row.differing for row in rows))


if __name__ == "__main__":
    sys.exit(main())
