"""Uploads runs to MongoDB: `MONGO_URL=mongodb://USER:PASSWORD@HOST/sacred python src/sync_mongo.py RUNS...`.

RUNS are run directories or directories above them, for example results/sacred. What is there already is not sent
again, so the command can be repeated, and cut off at any time.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mirror.server import VARIABLE, Server, find_server, is_refusal, reason
from utils.errors import UserError
from utils.exitcodes import exit_code
from utils.lineparser import LineParser

if TYPE_CHECKING:
    from pymongo.database import Database


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Command line to arguments; `UserError` for a bad one."""
    parser = LineParser(prog="sync_mongo.py", description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path, help="run directories or directories above them")
    parser.add_argument("--mongo-url", default="", help=f"the server; default: {VARIABLE}, which others cannot see")
    parser.add_argument("--checkpoint", action="store_true", help="also store each run's last networks")
    return parser.parse_args(argv)


def find(roots: Iterable[Path]) -> list[Path]:
    """Directories of all runs that began, below `roots`.

    Raises:
        UserError: a root does not exist, or there is no run.
    """
    from utils.metricsfile import FILE_NAME

    found: list[Path] = []
    for root in roots:
        if not root.exists():
            raise UserError(f"{str(root)!r} does not exist")
        files = [path for path in root.rglob("run.json") if path.with_name(FILE_NAME).exists()]
        found += [path.parent for path in sorted(files, key=lambda path: (len(str(path)), str(path)))]
    if not found:
        raise UserError(f"no runs (no run.json beside a {FILE_NAME}) below {', '.join(map(str, roots))}")
    return found


def open_database(server: Server) -> Database[dict[str, Any]]:
    """The database, if the server answers and lets us in; `UserError` if not."""
    from pymongo.errors import PyMongoError

    try:
        database = server.connect()[server.database]
        database["runs"].find_one({}, {"_id": 1})
    except PyMongoError as error:
        what = "refuses" if is_refusal(error) else "does not answer"
        raise UserError(f"MongoDB at {server.place} {what}: {reason(error)}") from None
    return database


def upload(database: Database[dict[str, Any]], run_dir: Path, checkpoint: bool) -> str:
    """Send one run; return what there is to say about it."""
    from mirror.sync import RunSync

    sync = RunSync(database, run_dir, checkpoint)
    known, before = sync.look_up()
    sync.sync()
    assert sync.points is not None
    state = "was there" if known and before == sync.points.rows else f"{sync.points.rows - before} new"
    return f"{run_dir}: run {sync.run_id}, {sync.points.rows} log entries ({state})"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code: 0 all sent, 1 the server was lost, 2 bad input, 130 interrupted."""
    return exit_code(lambda: send(parse(argv)), "stopped; the same command sends the rest")


def send(arguments: argparse.Namespace) -> int:
    """Send what is missing; returns the exit code."""
    server = find_server(arguments.mongo_url)
    if server is None:
        raise UserError(f"name the server: {VARIABLE}=mongodb://... or --mongo-url mongodb://...")
    run_dirs = find(arguments.runs)
    return _upload_all(open_database(server), server, run_dirs, arguments.checkpoint)


def _upload_all(database: Database[dict[str, Any]], server: Server, run_dirs: Sequence[Path], checkpoint: bool) -> int:
    from pymongo.errors import PyMongoError

    for number, run_dir in enumerate(run_dirs):
        try:
            print(upload(database, run_dir, checkpoint), flush=True)
        except PyMongoError as error:
            left = len(run_dirs) - number
            print(f"error: MongoDB at {server.place}: {reason(error)}; {left} runs left", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
