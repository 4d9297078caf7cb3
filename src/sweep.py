"""Run algorithms x maps x seeds on this machine or on a Ray cluster; the same command goes on where it was stopped.

  python src/sweep.py --config fop,qmix --env-config sc2 --maps 3s_vs_3z,MMM2 --seeds 5 with t_max=500000
  python src/sweep.py --config fop --env-config matrix_game --seeds 0-9 --cpus 0.5 with t_max=20000
  python src/sweep.py ... --address auto                # an existing cluster, started by `ray start`

Each run is one Ray task that takes --cpus and --gpus of a machine. Finished runs are skipped; one that fails, or whose
machine dies, is tried again --retries times and continues from its checkpoint. Runs are ordinary runs of main.py in
OUT/runs; `python src/results.py report OUT/runs` shows them. How it grows: docs/scale.md.
Exit codes: 0 all complete, 1 some failed, 2 bad input, 130 interrupted.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from utils.errors import Range, UserError
from utils.exitcodes import exit_code
from utils.lineparser import LineParser

DEFAULT_OUT = Path("results/sweep")
RAY_PARTS = 10_000  # Ray counts in these parts of a CPU


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Command line to arguments.

    Raises:
        UserError: it cannot be read, or a number is out of range.
    """
    parser = LineParser(prog="sweep.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", required=True, metavar="ALG,ALG", help="algorithms")
    parser.add_argument("--env-config", required=True, metavar="ENV", help="environment")
    parser.add_argument("--maps", metavar="MAP,MAP", help="maps (sc2), keys (gymma) or payoffs (matrix_game)")
    parser.add_argument("--seeds", default="5", help="N for 0 to N - 1, or the seeds: 3,7 or 5-9 (default 5)")
    parser.add_argument("--address", default="", help="auto or HOST:PORT of a Ray cluster (default: this machine)")
    parser.add_argument("--jobs", type=int, help="runs at a time on this machine (default: one for each --cpus it has)")
    parser.add_argument("--cpus", type=float, default=1.0, help="CPUs a run takes, may be a fraction (default 1)")
    parser.add_argument("--gpus", type=float, default=0.0, help="GPUs a run takes, may be a fraction (default 0)")
    parser.add_argument("--retries", type=int, default=2, help="how often a run that fails is tried again (default 2)")
    parser.add_argument("--out", type=Path, default=DEFAULT_OUT, help=f"folder of the sweep ({DEFAULT_OUT})")
    parser.add_argument("updates", nargs="*", metavar="with key=value", help="assignments for every run")
    args = parser.parse_args(argv)
    bounds = {"cpus": Range(above=0.0), "gpus": Range(0), "retries": Range(0), "jobs": Range(1)}
    for flag, bound in bounds.items():
        value = getattr(args, flag)
        if value is not None and not bound.holds(value):
            raise UserError(f"--{flag} must be{bound}, got {value:g}")
    if args.updates and args.updates[0] != "with":
        raise UserError(f"write `with` before the first assignment: ... with {args.updates[0]}")
    if args.address and args.jobs is not None:
        raise UserError("--jobs is for this machine alone; on a cluster --cpus and --gpus say how many runs fit")
    return args


def cpus_of(jobs: int | None, cpus: float) -> tuple[int | None, float]:
    """CPUs Ray is to count on this machine (a whole number), and a run's part of them, so that `jobs` runs fit."""
    if jobs is None:
        return os.cpu_count(), cpus
    whole = math.ceil(jobs * cpus)
    return whole, math.floor(whole / jobs * RAY_PARTS) / RAY_PARTS


def sweep(args: argparse.Namespace) -> int:
    """Do what is missing; returns the exit code."""
    from sweeping import plan
    from utils import raycluster
    from utils.cli import read_updates

    algs = plan.read_list(args.config, "--config")
    maps = [] if args.maps is None else plan.read_list(args.maps, "--maps")
    overrides = read_updates(args.updates[1:])
    cells = plan.cells_of(algs, args.env_config, maps, plan.read_seeds(args.seeds), overrides)
    plan.check_cells(cells)
    raycluster.load()
    from sweeping import audit
    from sweeping.board import Board
    from sweeping.pool import COMPLETED, WAITING, Pool, Share, jobs_of
    from utils.folderlock import FolderLock

    out = args.out.expanduser().resolve()
    with FolderLock(out, "sweep.py"), Board(out) as board:
        jobs = jobs_of(cells, out)
        if any(job.state == WAITING for job in jobs):
            cpus, share_of_cpus = cpus_of(args.jobs, args.cpus)
            share = Share(share_of_cpus, args.gpus, args.retries)
            raycluster.connect(args.address, cpus)
            raycluster.require_share(share.cpus, share.gpus, "a run")
            try:
                Pool(jobs, out, share, board.show).run()
            finally:
                raycluster.load().shutdown()
        board.show(jobs, last=True)
        for job in jobs:
            for note in job.notes:
                print(f"{job.cell.run_id}: {note}", file=sys.stderr)
        found = audit.problems(cells, out)
    for problem in found:
        print(problem, file=sys.stderr)
    complete = sum(job.state == COMPLETED for job in jobs)
    print(f"{complete} of {len(jobs)} runs complete, {audit.resumed(out)} times one was continued from a checkpoint")
    print(f"python src/results.py report {out / 'runs'}")
    return 1 if found else 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    return exit_code(lambda: sweep(parse(argv)))


if __name__ == "__main__":
    sys.exit(main())
