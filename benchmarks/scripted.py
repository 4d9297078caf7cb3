"""How hard the maps are for scripted teams: `python benchmarks/scripted.py [--maps a,b] [--episodes 512]`.

Prints win rate, return and length of random, stop, nearest (SMAC's heuristic_ai), focus and kite, with 95 %
intervals: Wilson's for the win rate, normal for the means.
"""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from envs.skirmish import list_maps, scripts
from envs.skirmish.flags import parse_flags
from envs.skirmish.simulation import Simulation
from utils.errors import UserError

Z = 1.96  # of a 95 % interval


def play(name: str, policy: str, episodes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(won, return, length), each `[episodes]`."""
    sim = Simulation(parse_flags({"map_name": name, **scripts.FLAGS.get(policy, {})}), n_envs=episodes)
    sim.reset(range(episodes))
    rng, now = np.random.default_rng(0), sim.world.envs
    active, total = np.ones(episodes, bool), np.zeros(episodes)
    while active.any():
        sim.step(scripts.POLICIES[policy](sim, rng), active)
        total[active] += now["reward"][active]
        active &= ~(now["terminated"] | now["truncated"])
    return now["battle_won"].copy(), total, now["steps"].astype(float)


def wilson(won: np.ndarray) -> tuple[float, float]:
    """95 % interval of a share."""
    n, p = len(won), float(won.mean())
    middle = (p + Z * Z / (2 * n)) / (1 + Z * Z / n)
    half = Z * math.sqrt(p * (1 - p) / n + Z * Z / (4 * n * n)) / (1 + Z * Z / n)
    return max(middle - half, 0.0), min(middle + half, 1.0)


def mean(values: np.ndarray, digits: int) -> str:
    half = Z * float(values.std()) / math.sqrt(len(values))
    return f"{values.mean():.{digits}f} ± {half:.{digits}f}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--maps", default=",".join(name for name, _ in list_maps()), help="comma-separated")
    parser.add_argument("--policies", default=",".join(scripts.POLICIES), help="comma-separated")
    parser.add_argument("--episodes", type=int, default=512)
    args = parser.parse_args()
    print("| map | team | win % | 95 % | return | length |\n|---|---|---:|---|---:|---:|")
    try:
        for name in args.maps.split(","):
            for policy in args.policies.split(","):
                won, total, length = play(name, policy, args.episodes)
                low, high = wilson(won)
                share = f"{100 * won.mean():.1f} | {100 * low:.1f} to {100 * high:.1f}"
                print(f"| {name} | {policy} | {share} | {mean(total, 2)} | {mean(length, 1)} |", flush=True)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
