"""What checkpoints cost: `python benchmarks/snapshots.py [--map 3s_vs_3z] [--episodes 5000] [--minutes 10]`.

Fills the replay buffer of fop on an embedded map with episodes of its first policy (a few hundred, again and again),
writes checkpoints to resume from and reads one back. Between two of them come as many episodes as training collects
in --minutes at the speed that is measured here, updates included. Prints one table.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))
import numpy as np  # noqa: E402
import torch as th  # noqa: E402

import envs  # noqa: E402
from components.episode_buffer import ReplayBuffer  # noqa: E402
from run import TrainingLoop  # noqa: E402
from runners import make_vec_env  # noqa: E402
from utils.config import build_config  # noqa: E402
from utils.logging import Logger  # noqa: E402
from utils.seeding import seed_everything  # noqa: E402
from utils.snapshots import Snapshots  # noqa: E402

MIB = 1024**2
CHECKPOINTS = 5  # after the first
PLAYED = 400  # different episodes


def make_loop(args: argparse.Namespace, folder: Path) -> TrainingLoop:
    overrides: dict[str, Any] = {"seed": 1, "torch_threads": 1, "buffer_size": args.episodes, "batch_size_run": 8}
    overrides["env_args"] = {"map_name": args.map, "engine": "embedded"}
    config = build_config("fop", "sc2", overrides)
    seed_everything(config.seed)
    th.set_num_threads(config.torch_threads)
    vec = make_vec_env(envs.resolve(config.env, config.env_args), config.runner, config.batch_size_run)
    return TrainingLoop(config, Logger(folder), folder, vec)


def play(loop: TrainingLoop, count: int) -> list[dict[str, np.ndarray]]:
    """Episodes of the untrained policy."""
    played: list[dict[str, np.ndarray]] = []
    while len(played) < count:
        rollout = loop.runner.collect(len(played), loop.n_envs, 0)
        played += [{name: array.copy() for name, array in rollout.batch.episode(k).items()} for k in rollout.kept]
    return played


def fill(loop: TrainingLoop, played: list[dict[str, np.ndarray]], count: int) -> None:
    """Store `count` episodes."""
    for k in range(count):
        loop.buffer.insert(played[k % len(played)])


def training_speed(loop: TrainingLoop, seconds: float) -> float:
    """Episodes collected a second, updates included."""
    begin, first = time.perf_counter(), loop.episode
    while time.perf_counter() - begin < seconds:
        loop._collect()
        loop._update()
    return (loop.episode - first) / (time.perf_counter() - begin)


def written(folder: Path, before: dict[str, int]) -> tuple[int, dict[str, int]]:
    """Bytes of files that are new, and all files with their time of change."""
    now = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    return sum((folder / name).stat().st_size for name, at in now.items() if before.get(name) != at), now


def save(loop: TrainingLoop, before: dict[str, int]) -> tuple[float, int, dict[str, int]]:
    """Seconds and bytes of one checkpoint."""
    begin = time.perf_counter()
    loop.snapshot()
    seconds = time.perf_counter() - begin
    size, files = written(loop.snapshots.folder, before)
    return seconds, size, files


def measure(args: argparse.Namespace, folder: Path) -> dict[str, str]:
    loop = make_loop(args, folder)
    played = play(loop, PLAYED)
    fill(loop, played, args.episodes)
    first_seconds, first_bytes, files = save(loop, {})
    speed = training_speed(loop, args.seconds)
    interval = max(round(speed * 60.0 * args.minutes), 1)
    costs = []
    for _ in range(CHECKPOINTS):
        fill(loop, played, interval)
        loop.t_env += 1  # another checkpoint, not the same again
        seconds, size, files = save(loop, files)
        costs.append((seconds, size))
    seconds, size = (float(np.median(column)) for column in zip(*costs, strict=True))
    loop.runner.env.close()
    on_disk = sum(path.stat().st_size for path in loop.snapshots.folder.iterdir())
    begin = time.perf_counter()
    Snapshots(folder, 2).load(ReplayBuffer(loop.runner.info, args.episodes, 1))
    steps = float(np.mean([len(rows) - 1 for rows in loop.buffer.episodes]))
    return {
        "episodes in the buffer, mean length": f"{len(loop.buffer):,}, {steps:.1f} env steps",
        "first checkpoint of the full buffer": f"{first_seconds:.2f} s, {first_bytes / MIB:.1f} MiB",
        "training, updates included": f"{speed:.2f} episodes/s",
        f"episodes in {args.minutes:g} minutes": f"{interval:,}",
        f"a checkpoint after these, median of {CHECKPOINTS}": f"{seconds:.2f} s, {size / MIB:.1f} MiB",
        "the slowest of them": f"{max(costs)[0]:.2f} s, {max(costs)[1] / MIB:.1f} MiB",
        "share of the run time, median": f"{100.0 * seconds / (60.0 * args.minutes):.3f} %",
        "on disk, two checkpoints": f"{on_disk / MIB:.1f} MiB",
        "reading one back": f"{time.perf_counter() - begin:.2f} s",
    }


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="snapshots.py", description=__doc__)
    parser.add_argument("--map", default="3s_vs_3z")
    parser.add_argument("--episodes", type=int, default=5000)
    parser.add_argument("--minutes", type=float, default=10.0, help="between two checkpoints; default 10")
    parser.add_argument("--seconds", type=float, default=20.0, help="of training to measure its speed; default 20")
    parser.add_argument("--folder", type=Path, help="where to write; default: a temporary directory")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    args = parse(argv)
    with TemporaryDirectory(dir=args.folder) as folder:
        rows = measure(args, Path(folder))
    print("| | |\n|---|---|")
    for name, value in rows.items():
        print(f"| {name} | {value} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
