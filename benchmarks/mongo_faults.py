"""What a run does when its MongoDB server fails: `python benchmarks/mongo_faults.py [--repeats N] [--outage S] ...`.

Real runs (`src/main.py`, the matrix game) log to a server that asks for a password while faults are injected. After
each, every point of metrics.jsonl must be in the database exactly once, with the run's end. Prints a Markdown table.
The server is SecantusDB, which speaks MongoDB's wire protocol; it is not MongoDB.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests")]

from mirror_helpers import ServerProcess, local_points, same_points, stored_points  # noqa: E402
from utils.metricsfile import read_metrics  # noqa: E402

COMMAND = [sys.executable, str(ROOT / "src" / "main.py"), "--config=vdn", "--env-config=matrix_game", "with"]
COMMAND += ["batch_size=4", "hidden_dim=8", "updates_per_episode=0.01", "save_model=False", "torch_threads=1"]
COMMAND += ["log_interval=400", "test_interval=4000", "test_nepisode=4", "t_max=1e9", "mongo_interval=0.5"]


@dataclass
class Row:
    """One line of the table, added up over the repetitions."""

    fault: str
    did: str
    injected: int = 0
    points: int = 0
    wrong: int = 0
    longest: float = 0.0
    stops: list[float] = field(default_factory=list)


class Trial:
    """A server and a run that logs to it, in a folder of their own."""

    def __init__(self, folder: Path, server: ServerProcess) -> None:
        self.folder, self.server = folder, server
        folder.mkdir()
        self.out = (folder / "out.txt").open("w+")
        self.environment = os.environ | {"MONGO_URL": server.url, "OMP_NUM_THREADS": "1"}
        self.run_dir = folder / "results" / "sacred" / "1"

    def begin(self) -> None:
        """Start the run and wait for its first log entries."""
        self.process = subprocess.Popen(
            COMMAND, cwd=self.folder, env=self.environment, stdout=self.out, stderr=self.out
        )
        while self.rows() < 10:
            assert self.process.poll() is None, (self.folder / "out.txt").read_text()
            time.sleep(0.1)

    def rows(self) -> int:
        """Lines of metrics.jsonl so far."""
        path = self.run_dir / "metrics.jsonl"
        return path.read_bytes().count(b"\n") if path.exists() else 0

    def end(self) -> float:
        """Ctrl-C; return the seconds until the process has ended."""
        begin = time.monotonic()
        self.process.send_signal(2)
        assert self.process.wait(120) == 130, (self.folder / "out.txt").read_text()
        return time.monotonic() - begin

    def upload(self) -> None:
        """Run sync_mongo.py."""
        script = [sys.executable, str(ROOT / "src" / "sync_mongo.py"), "results"]
        subprocess.run(script, cwd=self.folder, env=self.environment, stdout=self.out, check=True)

    def check(self, row: Row, status: str = "INTERRUPTED") -> None:
        """Compare the database with the run's files and add the outcome to the table."""
        local = local_points(self.run_dir)
        with self.server.client() as client:
            runs = list(client["sacred"]["runs"].find({"mirror.directory": str(self.run_dir)}))
            good = len(runs) == 1 and runs[0]["status"] == status
            good = good and same_points(local, stored_points(client["sacred"], runs[0]["_id"]))
        row.injected += 1
        row.wrong += not good
        row.points += sum(map(len, local.values()))
        times = [entry["time"] for entry in read_metrics(self.run_dir / "metrics.jsonl")[1]]
        row.longest = max(row.longest, *(later - sooner for sooner, later in pairwise(times)))
        row.stops.append(getattr(self, "stopped", 0.0))


def killed_and_restarted(trial: Trial, outage: float) -> None:
    """SIGKILL to the server, restart after `outage` seconds, end of the run once it has caught up."""
    trial.begin()
    time.sleep(1.0)
    trial.server.kill()
    time.sleep(outage)
    trial.server.start()
    while "is back" not in (trial.folder / "out.txt").read_text():
        time.sleep(0.1)
    time.sleep(1.0)
    trial.stopped = trial.end()


def paused(trial: Trial, outage: float) -> None:
    """The server stops answering while its connections stay open (SIGSTOP), longer than a request waits."""
    trial.begin()
    time.sleep(1.0)
    trial.server.pause()
    time.sleep(outage)
    trial.server.go_on()
    while "is back" not in (trial.folder / "out.txt").read_text():
        time.sleep(0.1)
    trial.stopped = trial.end()


def absent_then_there(trial: Trial, outage: float) -> None:
    """No server at the start; it comes while the run goes on."""
    trial.server.kill()
    trial.begin()
    time.sleep(outage)
    trial.server.start()
    while "is back" not in (trial.folder / "out.txt").read_text():
        time.sleep(0.1)
    trial.stopped = trial.end()


def absent_throughout(trial: Trial, outage: float) -> None:
    """No server at all; sync_mongo.py later."""
    trial.server.kill()
    trial.begin()
    time.sleep(outage)
    trial.stopped = trial.end()
    assert "Send it with" in (trial.folder / "out.txt").read_text()
    trial.server.start()
    trial.upload()


def lost_at_the_end(trial: Trial, outage: float) -> None:
    """The server crashes shortly before the run ends; sync_mongo.py later."""
    trial.begin()
    time.sleep(outage)
    trial.server.kill()
    trial.stopped = trial.end()
    trial.server.start()
    trial.upload()


def run_killed(trial: Trial, outage: float) -> None:
    """SIGKILL to the run; sync_mongo.py later. Its status stays RUNNING, as in its files."""
    trial.begin()
    time.sleep(outage)
    trial.process.kill()
    trial.process.wait()
    trial.upload()


def together(folder: Path, server: ServerProcess, count: int) -> Row:
    """Start `count` runs at once in one folder of results, let them end, compare each."""
    row = Row(f"{count} runs started at once", f"{count} records of their own")
    folder.mkdir()
    first = Trial(folder / "first", server)
    command = [*COMMAND, "t_max=40000"]
    runs = [subprocess.Popen(command, cwd=folder, env=first.environment, stdout=first.out) for _ in range(count)]
    assert [run.wait(900) for run in runs] == [0] * count
    for k in range(1, count + 1):
        first.run_dir = folder / "results" / "sacred" / str(k)
        first.check(row, "COMPLETED")
    return row


def show(row: Row, exits: bool) -> None:
    """Print a line of the table."""
    seconds = f"{max(row.stops):.1f}" if exits else "-"
    cells = (row.fault, row.injected, row.did, row.points, row.wrong, f"{row.longest:.2f}", seconds)
    print("|", " | ".join(map(str, cells)), "|", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=10, help="of each short fault")
    parser.add_argument("--outage", type=float, default=150.0, help="seconds of the long outage, once")
    parser.add_argument("--parallel", type=int, default=20, help="runs that are started at once")
    arguments = parser.parse_args()
    plan: list[tuple[str, str, Callable[[Trial, float], None], float, int]] = [
        ("server killed, back after 5 s", "went on, caught up by itself", killed_and_restarted, 5.0, 0),
        (f"server killed, back after {arguments.outage:.0f} s", "the same", killed_and_restarted, arguments.outage, 1),
        ("server answers nothing for 25 s", "the same", paused, 25.0, 2),
        ("no server at the start, there after 5 s", "warning, went on, caught up", absent_then_there, 5.0, 0),
        ("no server at all", "warning, went on; `sync_mongo.py` sent it", absent_throughout, 2.0, 0),
        ("server killed just before the end", "named the command; `sync_mongo.py` sent it", lost_at_the_end, 2.0, 0),
        ("the run itself killed (SIGKILL)", "`sync_mongo.py` sent it, RUNNING as in its files", run_killed, 2.0, 0),
    ]
    print(
        "| fault | injected | what the run did | points | runs with any lost or doubled | longest pause, s | exit, s |"
    )
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        server = ServerProcess(Path(name) / "data", auth=True)
        for k, (fault, did, inject, outage, times) in enumerate(plan):
            row = Row(fault, did)
            for repeat in range(times or arguments.repeats):
                trial = Trial(Path(name).resolve() / f"{k}_{repeat}", server)
                inject(trial, outage)
                trial.check(row, "RUNNING" if inject is run_killed else "INTERRUPTED")
            show(row, exits=inject is not run_killed)
        show(together(Path(name).resolve() / "together", server, arguments.parallel), exits=False)
        server.stop()


if __name__ == "__main__":
    main()
