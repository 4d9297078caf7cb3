"""Reproduce a study: run what is missing, then write its tables and figures.

Examples:
  python src/reproduce.py table1
  python src/reproduce.py table2 --seeds 20 --jobs 4
  python src/reproduce.py games --render           # only from the runs that exist
  python src/reproduce.py smac3m --records         # also from the runs in docs/results/records, and adds to them
  python src/reproduce.py games --first-seed 10 --records DIR   # one half on one machine, the other on another

Runs are ordinary runs of main.py below OUT/runs; finished ones are kept, so an interrupted command goes on where it
was. Exit codes: 0 written, 1 runs failed, 2 bad input, 130 interrupted.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from reproduction.study import load, studies
from utils.errors import UserError, nearest
from utils.exitcodes import exit_code
from utils.lineparser import LineParser

DEFAULT_OUT = Path("results/paper")
DEFAULT_RECORDS = Path(__file__).resolve().parent.parent / "docs" / "results" / "records"


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Command line to arguments.

    Raises:
        UserError: it cannot be read, an unknown study, or a number that is not positive.
    """
    parser = LineParser(
        prog="reproduce.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="studies:\n" + "\n".join(f"  {name:10} {meaning}" for name, meaning in studies().items()),
    )
    parser.add_argument("study", help="what to reproduce, see below")
    parser.add_argument("--seeds", type=int, help="seeds 0 to SEEDS - 1, or as many as a case has (default: all)")
    parser.add_argument("--first-seed", type=int, default=0, help="run no seed below this one (default 0)")
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time, one core each (default 2)")
    parser.add_argument("--out", type=Path, default=DEFAULT_OUT, help=f"folder for runs and results ({DEFAULT_OUT})")
    parser.add_argument(
        "--method", action="append", metavar="NAME", help="only this method; may be given several times"
    )
    parser.add_argument("--t-max", type=int, help="no run longer than so many env steps (default: as the study says)")
    parser.add_argument(
        "--records",
        type=Path,
        nargs="?",
        const=DEFAULT_RECORDS,
        metavar="DIR",
        help="take finished runs from the records in DIR and record new ones there (without DIR: docs/results/records)",
    )
    parser.add_argument("--render", action="store_true", help="run nothing, write the results of finished runs")
    args = parser.parse_args(argv)
    if args.study not in studies():
        raise UserError(f"unknown study {args.study!r}{nearest(args.study, studies())}; known: {', '.join(studies())}")
    for flag in ("seeds", "jobs", "t_max"):
        if getattr(args, flag) is not None and getattr(args, flag) < 1:
            raise UserError(f"--{flag.replace('_', '-')} must be at least 1, got {getattr(args, flag)}")
    if args.first_seed < 0:
        raise UserError(f"--first-seed must not be negative, got {args.first_seed}")
    return args


def reproduce(args: argparse.Namespace) -> int:
    """Run the study and write its results; returns the exit code."""
    study = load(args.study, args.seeds, args.t_max)
    from reproduction.display import Display
    from reproduction.records import Records
    from reproduction.renderers import render
    from reproduction.session import check, collect, execute  # here: bad names are answered before PyTorch is imported

    if args.method:
        study = study.only(args.method)
    for name in study.missing:
        print(f"not in this version, left out: {name}", file=sys.stderr)
    check(study)
    out = args.out.expanduser().resolve()
    records = None if args.records is None else Records(args.records.expanduser().resolve(), study.name)
    cells = [cell for cell in study.cells() if cell.seed >= args.first_seed]
    if not cells:
        raise UserError(f"--first-seed {args.first_seed}: {study.name} has no run with such a seed")
    if records is not None and not args.render:
        records.check_writable()
    failed = [] if args.render else execute(cells, out, args.jobs, Display(study.name), records)
    results = collect(study, out, records)
    if not results:
        raise UserError(f"no finished run of {study.name} in {str(out)!r}")
    try:
        paths = render(study, results, out)
    except OSError as error:
        raise UserError(f"cannot write {error.filename!r}: {error.strerror}") from error
    print(*paths, sep="\n")
    for cell in failed:
        print(f"failed: {cell.run_id}, see {out / 'runs' / cell.run_id}", file=sys.stderr)
    return 1 if failed else 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    return exit_code(lambda: reproduce(parse(argv)))


if __name__ == "__main__":
    sys.exit(main())
