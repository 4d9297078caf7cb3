"""Whole training loop: `python benchmarks/end_to_end.py [--alg fop] [--maps 3s_vs_3z,MMM2] [--steps 20000]`.

Trains on the embedded engine at the published ratio, one update of 32 episodes per episode, and reports env steps per
second once updates have begun (median of five parts of the run) and where the time went: env (the engine), act
(networks and choosing), learn (sampling and updates), log, and what is left over (storing episodes, the loop).
No tests and no checkpoints are made meanwhile. With `--device cuda` nobody waits for an update: it
shows as "act" where the next actions need its weights.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from pathlib import Path
from time import perf_counter
from typing import Any

import torch as th
from batches import device_of, map_env, report

from run import TrainingLoop
from utils.config import build_config
from utils.errors import UserError
from utils.logging import Logger
from utils.seeding import seed_everything

PARTS = 5
PHASES = ("env", "act", "learn", "log")


def make_loop(alg: str, name: str, args: argparse.Namespace, folder: Path) -> TrainingLoop:
    """A training loop that never tests or saves."""
    changes: dict[str, Any] = {"seed": args.seed, "t_max": 10**9}
    changes |= {"batch_size_run": args.envs, "learning_starts": 32, "save_model": False}
    changes |= {"use_cuda": args.device == "cuda", "torch_compile": args.torch_compile}
    config = build_config(alg, "sc2", changes | {"test_interval": 10**9, "log_interval": args.log_interval})
    seed_everything(config.seed)
    return TrainingLoop(config, Logger(folder), folder, map_env(name, args.envs))


def iterate(loop: TrainingLoop) -> None:
    """One turn of the loop: collect, insert, update, log."""
    loop._collect()
    loop._iterate()


def measure(alg: str, name: str, args: argparse.Namespace) -> dict[str, Any]:
    """One row."""
    with tempfile.TemporaryDirectory() as folder:
        loop = make_loop(alg, name, args, Path(folder))
        while loop.learner.n_updates == 0:
            iterate(loop)
        seconds, t_env, episodes = dict(loop.timer.seconds), loop.t_env, loop.episode
        start, rates = perf_counter(), []
        for part in range(1, PARTS + 1):
            begun, before = perf_counter(), loop.t_env
            while loop.t_env < t_env + args.steps * part // PARTS:
                iterate(loop)
            rates.append((loop.t_env - before) / (perf_counter() - begun))
        total = perf_counter() - start
        loop.runner.env.close()
    row: dict[str, Any] = {"alg": alg, "map": name, "env steps/s": statistics.median(rates)}
    row["steps/episode"] = (loop.t_env - t_env) / (loop.episode - episodes)
    spent = {phase: loop.timer.seconds.get(phase, 0.0) - seconds.get(phase, 0.0) for phase in PHASES}
    row |= {f"{phase} %": 100.0 * value / total for phase, value in spent.items()}
    return row | {"other %": 100.0 * (1.0 - sum(spent.values()) / total)}


def main() -> int:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--alg", default="fop", help="comma-separated")
    parser.add_argument("--maps", default="3s_vs_3z,MMM2", help="comma-separated")
    parser.add_argument("--steps", type=int, default=20_000, help="env steps measured")
    parser.add_argument("--envs", type=int, default=8, help="environments stepped together")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--torch-compile", default="none", choices=["none", "default", "cuda_graphs"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--log-interval", type=int, default=10_000, help="env steps")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="a list of objects in place of the table")
    args = parser.parse_args()
    th.set_num_threads(args.threads)
    try:
        device_of(args.device)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    report([measure(alg, name, args) for alg in args.alg.split(",") for name in args.maps.split(",")], args.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
