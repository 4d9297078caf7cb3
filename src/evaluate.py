"""Plays test episodes with a run's networks: `python src/evaluate.py RUN [--episodes 100] [--stochastic] [--json]`.

RUN is a run directory or a checkpoint. Prints the mean of every statistic with its 95 % interval: Wilson's for win
rates, Student's t for the rest. The episodes are none of those that the run was tested with.
"""

from __future__ import annotations

import json
import math
import sys
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from utils.errors import UserError
from utils.exitcodes import exit_code
from utils.lineparser import LineParser

if TYPE_CHECKING:
    from envs.multiagentenv import EnvSpec
    from runners import EpisodeStats
    from utils.config import Config
    from utils.trained import Trained

RATES = {"battle_won": "win_rate"}  # statistics that are 0 or 1, and the name of their mean
FIRST = ("win_rate", "return", "ep_length")  # order of the table; the others follow by name
SHOWN = {"win_rate": "win rate", "ep_length": "length, env steps"}
MAX_ABORTED = 10  # episodes that may fail for each one asked for


def parse(argv: Sequence[str] | None) -> Namespace:
    """Command line to arguments; `UserError` for a bad one."""
    parser = LineParser(prog="evaluate.py", description=__doc__)
    parser.add_argument("run", type=Path, help="a run directory, its models folder or a checkpoint")
    parser.add_argument("--episodes", type=int, default=100, help="default 100")
    parser.add_argument("--stochastic", action="store_true", help="sample from the policy in place of greedy actions")
    parser.add_argument("--map", default="", help="another map of the same sizes, by name or as a map file (.yaml)")
    parser.add_argument("--load-step", type=int, default=0, help="env step of the checkpoint; 0: the newest")
    parser.add_argument("--seed", type=int, help="of the episodes; default: the run's")
    parser.add_argument("--json", action="store_true", help="print JSON in place of the table")
    args = parser.parse_args(argv)
    if args.episodes < 1:
        raise UserError(f"--episodes must be at least 1, got {args.episodes}")
    if args.seed is not None and args.seed < 0:
        raise UserError(f"--seed must be at least 0, got {args.seed}")
    return args


def play(trained: Trained, config: Config, spec: EnvSpec, args: Namespace) -> list[EpisodeStats]:
    """Statistics of the episodes, in the order of their numbers."""
    from runners import Runner, make_vec_env
    from utils.seeding import derive_seed
    from utils.timehelper import PhaseTimer
    from utils.trained import trained_mac

    env = make_vec_env(spec, config.runner, min(config.batch_size_run, args.episodes), config.worker_timeout)
    try:
        mac = trained_mac(trained, config, env.env_info)
        runner = Runner(env, mac, derive_seed(args.seed, "evaluate"), PhaseTimer())
        stats: list[EpisodeStats] = []
        first = 0
        while len(stats) < args.episodes:
            if first >= MAX_ABORTED * args.episodes:
                raise UserError(f"{first - len(stats)} of {first} episodes were aborted by the environment")
            count = min(env.n_envs, args.episodes - len(stats))
            stats += runner.collect(first, count, trained.t_env, not args.stochastic, test=True).stats
            first += count
    finally:
        env.close()
    return stats


def summary(stats: Sequence[EpisodeStats]) -> dict[str, dict[str, Any]]:
    """Name -> mean and 95 % interval (None from a single episode), win rate, return and length first."""
    from reproduction.intervals import mean_interval, wilson

    found: dict[str, dict[str, Any]] = {}
    for name in sorted({name for episode in stats for name in episode}):
        values = [episode.get(name, 0.0) for episode in stats]
        if name in RATES:
            low, high = wilson(round(sum(values)), len(values))
            found[RATES[name]] = {"mean": sum(values) / len(values), "low": low, "high": high, "interval": "Wilson"}
            continue
        mean, half = mean_interval(values)
        ends = {"low": None, "high": None} if math.isnan(half) else {"low": mean - half, "high": mean + half}
        found[name] = {"mean": mean, **ends, "interval": "Student's t"}
    order = [name for name in FIRST if name in found] + [name for name in found if name not in FIRST]
    return {name: found[name] for name in order}


def table(report: Mapping[str, Any]) -> str:
    """The report for people."""
    lines = [
        f"{report['run']}: {report['alg']} on {report['task']}, {report['t_env']:,} env steps",
        f"engine {report['engine']} {report['engine_version']}",
        f"{report['episodes']} {report['actions']} episodes, seed {report['seed']}",
        "",
        f"{'':20}{'mean':>10}   95 % interval",
    ]
    for name, row in report["statistics"].items():
        interval = "-" if row["low"] is None else f"{row['low']:.3f} to {row['high']:.3f} ({row['interval']})"
        lines.append(f"{SHOWN.get(name, name):20}{row['mean']:10.3f}   {interval}")
    return "\n".join(lines)


def evaluate(args: Namespace) -> dict[str, Any]:
    """Play and summarise."""
    import envs
    from utils.maps import on_map
    from utils.runs import task_of
    from utils.trained import load_trained

    trained = load_trained(args.run, args.load_step)
    args.seed = trained.config.seed if args.seed is None else args.seed
    config = on_map(trained.config, args.map)
    spec = envs.resolve(config.env, config.env_args)
    stats = play(trained, config, spec, args)
    info = spec.single().env_info
    task = task_of(config.env, config.env_args)
    return {
        "run": str(trained.run_dir),
        "checkpoint": str(trained.file),
        "alg": config.name,
        "task": config.env if task == config.env else f"{config.env} {task}",
        "t_env": trained.t_env,
        **{name: getattr(info, name) for name in ("engine", "engine_version", "data_hash")},
        "episodes": len(stats),
        "actions": "stochastic" if args.stochastic else "greedy",
        "seed": args.seed,
        "statistics": summary(stats),
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    return exit_code(lambda: command(parse(argv)), "stopped")


def command(args: Namespace) -> int:
    """Print the report."""
    report = evaluate(args)
    print(json.dumps(report, indent=2) if args.json else table(report))
    return 0


if __name__ == "__main__":
    sys.exit(main())
