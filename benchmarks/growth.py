"""How an update's cost grows: `python benchmarks/growth.py [--algs fop,qmix]`.

One size at a time is doubled from a middle-sized task (8 agents, 16 actions, 50 steps, 32 episodes; observations of
100 and states of 200 numbers). Timings are of the CPU; GPU: not run here.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from typing import Any

import torch as th
from against import T_ENV
from batches import make_learner, random_batch, report, seconds
from flops import count_flops

from components.action_space import DiscreteActions
from envs.multiagentenv import EnvInfo

MIDDLE = {"agents": 8, "actions": 16, "steps": 50, "episodes": 32}
FACTORS = {"agents": (0.25, 0.5, 2), "actions": (0.5, 2, 4), "steps": (0.5, 2, 4), "episodes": (0.25, 0.5, 2)}


def time_size(alg: str, varied: str, size: dict[str, int], repeats: int) -> dict[str, Any]:
    """One row: the median of `repeats` updates."""
    space = DiscreteActions(size["actions"])
    info = EnvInfo(size["agents"], 100, 200, size["steps"], space, engine="toy", engine_version="1", data_hash="0")
    batch = random_batch(info, [size["steps"]] * size["episodes"])
    learner = make_learner(alg, info, {"batch_size": size["episodes"]})
    flops = count_flops(learner, batch)
    times = [seconds(lambda: learner.update(batch, T_ENV)) for _ in range(repeats)]
    return {"alg": alg, "varied": varied, **size, "ms": statistics.median(times) * 1e3, "GFLOP": flops / 1e9}


def main() -> int:
    """Time every size for every algorithm."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--algs", default="fop,qmix", help="comma-separated")
    parser.add_argument("--repeats", type=int, default=5, help="updates whose median is taken")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", action="store_true", help="a list of objects in place of the table")
    args = parser.parse_args()
    th.set_num_threads(args.threads)
    cases: list[tuple[str, dict[str, int]]] = [("-", MIDDLE)]
    for name, factors in FACTORS.items():
        cases += [(name, MIDDLE | {name: int(MIDDLE[name] * factor)}) for factor in factors]
    report([time_size(alg, *case, args.repeats) for alg in args.algs.split(",") for case in cases], args.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
