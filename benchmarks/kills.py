"""Kills training runs at random moments and resumes them: `python benchmarks/kills.py [--kills 20] [--seed 0]`.

Each run is a process of its own (forked from this one, which has imported the program) that gets SIGKILL (or --signal
TERM, INT) somewhere between its first checkpoint and its end. A new process with resume=auto goes on with it. The
result is compared with that of a run that was never disturbed: networks,
targets, optimisers, generators, counters, every episode in the replay buffer, every line of metrics.jsonl but its
time, and info.json must be equal bit for bit. Prints a table; exit code 1 if anything differs.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sys
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch as th

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))
from utils import checkpoint  # noqa: E402
from utils.metricsfile import read_metrics  # noqa: E402
from utils.resume import checkpoints_in  # noqa: E402

CLOCKS = ("phases", "logger", "machine")  # parts of a checkpoint that tell how long things took, and where
COMMON = (
    *("batch_size=8", "hidden_dim=16", "buffer_size=100", "test_nepisode=4", "seed=3", "torch_threads=1"),
    *("save_every_minutes=0", "save_finished=True", "worker_timeout=600"),
)
BATTLE = ("env_args.map_name=3m", "env_args.engine=embedded", "t_max=2000", "save_every=100", "test_interval=700")
GAME = ("t_max=400", "save_every=25", "test_interval=150", "log_interval=60", "save_model_interval=150")


def program(argv: list[str]) -> None:
    """`main.py` as a process."""
    from main import main as run_main

    sys.exit(run_main(argv))


@dataclass(frozen=True)
class Case:
    """What is trained."""

    alg: str
    env: str
    runner: str
    changes: tuple[str, ...]

    def start(self, results: Path) -> BaseProcess:
        """Start or resume it in a new process."""
        where = [f"local_results_path={results}", f"runner={self.runner}", "resume=auto"]
        argv = [
            f"--config={self.alg}",
            f"--env-config={self.env}",
            "-l",
            "ERROR",
            "with",
            *COMMON,
            *self.changes,
            *where,
        ]
        process = get_context("fork").Process(target=program, args=(argv,))
        process.start()
        return process


CASES = (
    Case("fop", "sc2", "batched", (*BATTLE, "log_interval=500", "save_model_interval=900")),
    Case("qmix", "sc2", "episode", (*BATTLE, "log_interval=500", "batch_size_run=3")),
    Case("coma", "sc2", "parallel", (*BATTLE, "log_interval=400", "batch_size_run=2")),
    Case("dop", "matrix_game", "batched", GAME),
    Case("facmac", "mtq", "batched", GAME),
    Case("masac", "mtq", "episode", (*GAME, "batch_size_run=5", "updates_per_episode=0.7")),
)


def started(case: Case, results: Path) -> BaseProcess:
    """The run's process, from its first checkpoint on."""
    process = case.start(results)
    while not checkpoints_in(results / "sacred" / "1") and process.is_alive():
        time.sleep(0.01)
    return process


def end_of(process: BaseProcess) -> int | None:
    """The exit code, when it has ended."""
    process.join()
    return process.exitcode


def reference(case: Case, results: Path) -> float:
    """Run to the end; return the seconds from its first checkpoint on."""
    process = started(case, results)
    begin = time.monotonic()
    if (code := end_of(process)) != 0:
        raise SystemExit(f"{case.alg} ended with exit code {code}")
    return time.monotonic() - begin


def status(run_dir: Path) -> str:
    """How the run stands, as its record says."""
    return str(json.loads((run_dir / "run.json").read_text())["status"])


def killed(case: Case, results: Path, seconds: float, rng: random.Random, number: int) -> float:
    """Run and send the signal `number` at a random moment; return when."""
    while True:
        process, after = started(case, results), rng.uniform(0.0, seconds)
        process.join(after)
        if process.is_alive():
            os.kill(process.pid or 0, number)
        process.join()
        if status(results / "sacred" / "1") != "COMPLETED":
            return after
        shutil.rmtree(results)  # it was faster than the undisturbed run: once more


def replayed(run_dir: Path, whole: dict[str, Any]) -> dict[str, th.Tensor]:
    """The episodes of a checkpoint's replay buffer, one after the other."""
    pages = [checkpoint.read(run_dir / "resume" / page["file"], page["checksum"]) for page in whole["pages"]]
    stored = th.tensor([length for page in pages for length in page["lengths"]])[-whole["buffer"]["stored"] :]
    rows = {name: th.cat([page["rows"][name] for page in pages])[-int(stored.sum()) :] for name in pages[0]["rows"]}
    return {"lengths": stored, **rows}


def outcome(run_dir: Path) -> dict[str, str]:
    """Part of what must be equal -> checksum of its bits."""
    whole = checkpoint.read(list(checkpoints_in(run_dir).values())[-1])
    header, rows = read_metrics(run_dir / "metrics.jsonl")
    parts = {
        **{f"state {name}": part for name, part in whole["state"].items() if name not in CLOCKS},
        "status": status(run_dir),
        "buffer": whole["buffer"],
        "episodes": replayed(run_dir, whole),
        "networks": checkpoint.load(list(checkpoint.steps_in(run_dir / "models").values())[-1]),
        "metrics": [header, *({name: value for name, value in row.items() if name != "time"} for row in rows)],
        "info": json.loads((run_dir / "info.json").read_text()),
    }
    return {name: checkpoint.digest(part) for name, part in parts.items()}


def attempt(case: Case, folder: Path, seconds: float, rng: random.Random, number: int) -> tuple[float, int, list[str]]:
    """Kill, resume, compare; returns when it was killed, from which env step it went on, and what differs."""
    results = folder / "killed"
    shutil.rmtree(results, ignore_errors=True)
    after = killed(case, results, seconds, rng, number)
    run_dir = results / "sacred" / "1"
    step = max(checkpoints_in(run_dir))
    if end_of(case.start(results)) != 0:
        return after, step, ["the resumed run failed"]
    if (results / "sacred" / "2").exists():
        return after, step, ["a second run directory"]
    whole, resumed = outcome(folder / "whole" / "sacred" / "1"), outcome(run_dir)
    different = [name for name in whole.keys() | resumed.keys() if whole.get(name) != resumed.get(name)]
    return after, step, different


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="kills.py", description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--algs", default="", help="only these, separated by commas")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--signal", choices=("KILL", "TERM", "INT"), default="KILL")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    args = parse(argv)
    warnings.filterwarnings("ignore", "pkg_resources is deprecated", UserWarning)  # Sacred imports it
    import utils.experiment  # noqa: F401  (the program, once for all processes)

    cases = [case for case in CASES if not args.algs or case.alg in args.algs.split(",")]
    rng, number, failures = random.Random(args.seed), signal.Signals[f"SIG{args.signal}"], 0
    with TemporaryDirectory() as scratch:
        seconds = {case.alg: reference(case, Path(scratch) / case.alg / "whole") for case in cases}
        print("| | algorithm | environment | runner | killed after, s | of, s | resumed at env step | continuation |")
        print("|---|---|---|---|---|---|---|---|")
        for k in range(args.kills):
            case = cases[k % len(cases)]
            after, step, different = attempt(case, Path(scratch) / case.alg, seconds[case.alg], rng, number)
            failures += bool(different)
            verdict = f"DIFFERS: {', '.join(sorted(different))}" if different else "bit-equal"
            cells = (k + 1, case.alg, case.env, case.runner, f"{after:.2f}", f"{seconds[case.alg]:.2f}", step, verdict)
            print("| " + " | ".join(map(str, cells)) + " |", flush=True)
    print(f"{args.kills - failures} of {args.kills} continuations bit-equal")
    return int(failures > 0)


if __name__ == "__main__":
    sys.exit(main())
