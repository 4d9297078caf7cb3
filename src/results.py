"""Results of runs: learning curves, tables, tidy files and a page of a whole sweep.

  python src/results.py plot   results/sacred --out curves.png       one panel per map, mean and 95 % interval
  python src/results.py table  results/sacred --out table.tex        Markdown, or LaTeX by the file's suffix
  python src/results.py export results/sacred --out runs.csv         or .parquet; one line per run, step and metric
  python src/results.py report results/sacred --out report.html      one self-contained page

RUNS are run directories, directories above them, or mongodb://HOST/DATABASE. Runs that only tested a checkpoint and
repeats of a seed with equal settings are not shown, which is said (export has them all).
Exit codes: 0 done, 2 bad input.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from analysis.selection import cut_short, seeds_of_curves
from utils.errors import UserError
from utils.exitcodes import exit_code
from utils.lineparser import LineParser
from utils.runs import RunRecord, check_engines, check_metric, find_runs, is_server, metrics_of, mixed_settings

PREFERRED = ("test_battle_won_mean", "test_return_mean", "return_mean")  # metrics, the first that was logged is shown
SHOWN = 2  # metrics on a page if none are named
REPORT, CURVES = Path("report.html"), Path("curves.png")


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Command line to arguments.

    Raises:
        UserError: it cannot be read.
    """
    raw = argparse.RawDescriptionHelpFormatter
    parser = LineParser(prog="results.py", description=__doc__, formatter_class=raw)
    commands = parser.add_subparsers(dest="command", required=True, metavar="plot|table|export|report")
    for name, meaning in (
        ("plot", "learning curves, a picture"),
        ("table", "final value and area under the curve, with significance"),
        ("export", "every value of every run in one tidy file"),
        ("report", "one self-contained HTML page"),
    ):
        command = commands.add_parser(name, help=meaning, description=meaning)
        command.add_argument("runs", nargs="+", help="run directories, directories above them, mongodb://HOST/DATABASE")
        command.add_argument("--metric", help="metrics, separated by commas (default: win rate, or return)")
        command.add_argument("--out", type=Path, help="file to write")
        if name != "export":
            command.add_argument("--mix-engines", action="store_true", help="put different engines on one axis")
            command.add_argument(
                "--split", default="", help="configuration keys that make groups of their own: lr,gamma"
            )
            command.add_argument(
                "--estimate", choices=("mean", "iqm"), default="mean", help="mean or interquartile mean"
            )
        if name in ("table", "report"):
            command.add_argument("--threshold", type=float, default=0.9, help="level whose first crossing is shown")
        if name == "report":
            command.add_argument("--title", help="heading (default: the name of the first RUNS)")
    return parser.parse_args(argv)


def chosen_metrics(runs: Sequence[RunRecord], given: str | None, count: int) -> list[str]:
    """The metrics asked for, or the first `count` of `PREFERRED` that were logged.

    Raises:
        UserError: a metric that no run has.
    """
    if given is not None:
        names = [name.strip() for name in given.split(",") if name.strip()]
        if not names:
            raise UserError("--metric names no metric")
    else:
        known = metrics_of(runs)
        names = [name for name in PREFERRED if name in known][:count]
        if not names:
            raise UserError(
                f"no run has any of {', '.join(PREFERRED)}; give --metric, known: {', '.join(known) or 'none'}"
            )
    for name in names:
        check_metric(runs, name)
    return names


def tell(notes: Sequence[str]) -> None:
    """Print what was left out or cut short."""
    for note in notes:
        print(f"note: {note}", file=sys.stderr)


def comparable(args: argparse.Namespace, runs: list[RunRecord], metric: str) -> list[RunRecord]:
    """The runs that have more of the metric than a first value at step 0; says what is left out or mixed."""
    logged = [run for run in runs if len(run.series(metric)[0])]
    having = [run for run in logged if run.series(metric)[0][-1] > 0] or logged
    if len(having) < len(runs):
        tell([f"{len(runs) - len(having)} of {len(runs)} runs have no {metric} past step 0 yet: left out"])
    check_engines(having, args.mix_engines)
    if args.command != "plot":
        tell(cut_short(having, metric))
    mixed = mixed_settings(having, args.split).items()
    tell([f"the runs of {where} differ in {', '.join(keys)}: --split shows them apart" for where, keys in mixed])
    return having


def plot(args: argparse.Namespace, runs: list[RunRecord]) -> None:
    """Write the picture and print its path."""
    from analysis import curves

    (metric, *rest) = chosen_metrics(runs, args.metric, 1)
    if rest:
        raise UserError("plot shows one --metric; use report for several")
    path = args.out or CURVES
    if path.suffix not in (".png", ".svg", ".pdf"):
        raise UserError(f"--out must end in .png, .svg or .pdf, got {str(path)!r}")
    curves.save(curves.figure(comparable(args, runs, metric), metric, args.estimate, args.split), path)
    print(path.resolve())


def table(args: argparse.Namespace, runs: list[RunRecord]) -> None:
    """Print the table, and write it to --out."""
    from analysis import tables

    parts = []
    names = chosen_metrics(runs, args.metric, 1)
    written = tables.latex if args.out is not None and args.out.suffix == ".tex" else tables.markdown
    for metric in names:
        lines = tables.lines_of(comparable(args, runs, metric), metric, args.threshold, args.estimate, args.split)
        parts.append((f"{metric}\n\n" if len(names) > 1 else "") + written(lines, args.threshold, args.estimate))
    text = "\n".join(parts)
    if args.out is not None:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(text, encoding="utf-8")
    print(text, end="")


def export(args: argparse.Namespace, runs: list[RunRecord]) -> None:
    """Write the tidy file and print its path."""
    from analysis import tidy

    if args.out is None:
        raise UserError("export needs --out FILE.csv or FILE.parquet")
    count = tidy.write(runs, args.out, chosen_metrics(runs, args.metric, 0) if args.metric else ())
    print(f"{args.out.resolve()}: {count} lines of {len(runs)} runs")


def report(args: argparse.Namespace, runs: list[RunRecord]) -> None:
    """Write the page and print its path."""
    from analysis.page import Options, page
    from utils.mongoruns import without_password

    path = args.out or REPORT
    names = chosen_metrics(runs, args.metric, SHOWN)
    shown = {metric: comparable(args, runs, metric) for metric in names}
    roots = [without_password(root) if is_server(root) else root for root in args.runs]
    title = args.title or Path(roots[0]).name or Path(roots[0]).resolve().name
    command = " ".join(["python src/results.py report", *roots])
    notes = [*args.notes, *(note for metric, having in shown.items() for note in cut_short(having, metric))]
    text = page(title, runs, shown, Options(args.estimate, args.threshold, args.split, command, notes), path.parent)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    print(path.resolve())


COMMANDS: dict[str, Callable[[argparse.Namespace, list[RunRecord]], None]] = {
    "plot": plot,
    "table": table,
    "export": export,
    "report": report,
}


def run(args: argparse.Namespace) -> int:
    """Read the runs and do what is asked for."""
    args.split = [key for key in getattr(args, "split", "").split(",") if key]
    runs = find_runs(args.runs)
    args.notes = []
    if args.command != "export":
        runs, args.notes = seeds_of_curves(runs, args.split)
        tell(args.notes)
    try:
        COMMANDS[args.command](args, runs)
    except OSError as error:
        raise UserError(f"cannot write {error.filename!r}: {error.strerror}") from error
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    return exit_code(lambda: run(parse(argv)), "stopped")


if __name__ == "__main__":
    sys.exit(main())
