"""resume=auto and resume=RUN: what is found, what is refused and how, through the program as a user meets it."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import main as program
import run as run_module
from utils import checkpoint
from utils.metricsfile import read_metrics
from utils.resume import checkpoints_in
from utils.runfolder import RunFolder
from utils.runlock import RunLock, is_alive

MAIN = Path(program.__file__)
GAME = ["--config=vdn", "--env-config=matrix_game", "-l", "WARNING", "with"]
SHORT = ["t_max=64", "batch_size=4", "hidden_dim=8", "test_interval=24", "test_nepisode=2", "log_interval=16"]
SHORT += ["seed=1", "torch_threads=1", "save_every=16"]


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


class Died(BaseException):
    """The process ends without a word."""


def train(*argv: str) -> int:
    return program.main([*GAME, *SHORT, *argv])


def die(monkeypatch: pytest.MonkeyPatch, *argv: str, updates: int = 29, error: type[BaseException] = Died) -> None:
    """A run that ends suddenly at its last update but a few, its status as a killed process leaves it."""
    original = run_module.TrainingLoop._update

    def update(loop: run_module.TrainingLoop) -> None:
        if loop.learner.n_updates >= updates:
            raise error("sudden death")
        original(loop)

    with monkeypatch.context() as patch:
        patch.setattr(run_module.TrainingLoop, "_update", update)
        if error is Died:
            with pytest.raises(Died):
                train(*argv)
        else:
            train(*argv)


def mark(run_dir: Path, **changes: Any) -> None:
    record = json.loads((run_dir / "run.json").read_text())
    (run_dir / "run.json").write_text(json.dumps(record | changes))


def run_of(number: int) -> Path:
    return Path("results") / "sacred" / str(number)


def status(number: int) -> str:
    return str(json.loads((run_of(number) / "run.json").read_text())["status"])


def lines(run_dir: Path) -> list[dict[str, Any]]:
    return [{**row, "time": 0} for row in read_metrics(run_dir / "metrics.jsonl")[1]]


@pytest.fixture
def error(capfd: pytest.CaptureFixture[str]) -> Iterator[Any]:
    """A command line that must be refused with one line; returns the line."""

    def refused(*argv: str) -> str:
        capfd.readouterr()
        assert program.main(list(argv)) == 2
        out, err = capfd.readouterr()
        assert (out, err.count("\n"), err[:7]) == ("", 1, "error: ")
        return err

    yield refused


def test_a_resumed_run_is_the_same_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Same directory, metrics, info, networks, TensorBoard; record of the interruption; nothing left behind."""
    assert train("use_tensorboard=True") == 0
    die(monkeypatch, "use_tensorboard=True", "label=again")
    assert status(2) == "FAILED"
    assert len(checkpoints_in(run_of(2))) == 2
    dropped = len(lines(run_of(2)))
    assert train("use_tensorboard=True", "label=again", "resume=auto") == 0
    assert sorted(path.name for path in Path("results/sacred").iterdir() if path.name.isdigit()) == ["1", "2"]
    assert lines(run_of(2)) == lines(run_of(1))
    assert dropped < len(lines(run_of(1)))
    assert json.loads((run_of(2) / "info.json").read_text()) == json.loads((run_of(1) / "info.json").read_text())
    networks = [checkpoint.load(checkpoint.find(run_of(k))) for k in (1, 2)]
    assert checkpoint.digest(networks[0]) == checkpoint.digest(networks[1])
    record = json.loads((run_of(2) / "run.json").read_text())
    assert record["status"] == "COMPLETED"
    assert [entry["status"] for entry in record["interruptions"]] == ["FAILED"]
    assert record["start_time"] < record["interruptions"][0]["heartbeat"] <= record["heartbeat"]
    config = json.loads((run_of(2) / "config.json").read_text())
    assert config["resume"] == ""
    points = []
    for k in (1, 2):
        assert not (run_of(k) / "resume").exists()
        (events,) = (run_of(k) / "tb_logs").iterdir()
        points.append(events.read_bytes().count(b"return_mean"))
    assert points[0] == points[1] > 0


def test_resume_by_directory_needs_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """The run's own configuration, its seed included; t_max may grow."""
    assert train("t_max=96") == 0
    die(monkeypatch)
    assert program.main(["-l", "ERROR", "with", f"resume={run_of(2)}", "t_max=96"]) == 0
    assert lines(run_of(2)) == lines(run_of(1))
    assert json.loads((run_of(2) / "config.json").read_text())["t_max"] == 96


def test_auto_without_a_run_starts_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert program.main([*GAME[:2], "with", *SHORT, "resume=auto"]) == 0
    assert "resume=auto: no unfinished run of this configuration, a new one starts" in capsys.readouterr().out
    assert program.main([*GAME[:2], "with", *SHORT, "resume=auto"]) == 0
    assert "a new one starts" in capsys.readouterr().out, "a complete run is none to go on with"
    assert [status(k) for k in (1, 2)] == ["COMPLETED"] * 2


def test_auto_takes_the_newest_of_the_same_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    for changes in (["lr=0.001"], ["label=one"], ["label=two"], ["lr=0.002"], ["seed=2"]):
        die(monkeypatch, *changes)
    assert train("resume=auto", "torch_threads=1", "save_keep=3") == 0
    assert [status(k) for k in range(1, 6)] == ["FAILED", "FAILED", "COMPLETED", "FAILED", "FAILED"]


def test_auto_without_a_seed_goes_on_with_the_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The seed was drawn when the run started."""
    argv = [part for part in SHORT if not part.startswith("seed")]
    die(monkeypatch)
    drawn = json.loads((run_of(1) / "config.json").read_text())["seed"]
    assert program.main([*GAME, *argv, "resume=auto"]) == 0
    assert status(1) == "COMPLETED"
    assert json.loads((run_of(1) / "config.json").read_text())["seed"] == drawn


def test_auto_by_id(monkeypatch: pytest.MonkeyPatch, error: Any) -> None:
    """-i names the run to start or to go on with."""
    assert program.main([*GAME[:4], "-i", "mine", "with", *SHORT, "t_max=8"]) == 0
    message = error(*GAME[:4], "-i", "mine", "with", *SHORT, "resume=auto")
    assert "mine exists already" in message
    mark(Path("results/sacred/mine"), status="INTERRUPTED")
    die(monkeypatch)
    assert "mine exists already" in error(*GAME[:4], "-i", "mine", "with", *SHORT, "resume=auto")
    assert program.main([*GAME[:4], "-i", "other", "with", *SHORT, "resume=auto"]) == 0
    assert status(1) == "FAILED"


def test_a_death_after_the_last_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last episodes went beyond t_max; only the end of the run is repeated."""
    with monkeypatch.context() as patch:
        patch.setattr(run_module.TrainingLoop, "greedy_actions", lambda _: (_ for _ in ()).throw(Died))
        with pytest.raises(Died):
            train("t_max=60")
    assert max(checkpoints_in(run_of(1))) == 64
    assert train("t_max=60", "resume=auto") == 0
    assert status(1) == "COMPLETED"
    assert not run_of(2).exists()


def test_what_cannot_be_resumed(monkeypatch: pytest.MonkeyPatch, error: Any) -> None:
    die(monkeypatch)
    here = f"resume={run_of(1)}"
    assert "does not exist; can be resumed: results/sacred/1" in error("with", "resume=results/sacred/7")
    assert "is not a run directory: it has no config.json" in error("with", "resume=results")
    assert "key 'resume' must be a str, got 7" in error("--config=vdn", "--env-config=mtq", "with", "resume=7")
    assert "name an environment" in error("--config=vdn", "with", here)
    assert "set one of them" in error(*GAME, "resume=auto", "evaluate=True", f"checkpoint_path={run_of(1)}")
    for flag, name in (("-u", "--unobserved"), ("-q", "--queue")):
        assert f"resume needs the run's directory, {name} leaves it out" in error(flag, "with", here)
    assert "--id names a new run" in error("-i", "x", "with", here)
    message = error(*GAME, *SHORT, here, "lr=0.5", "env_args.payoff=[[1,2],[3,4]]", "t_max=100")
    assert "has another configuration: " in message
    assert "lr was 0.0005, is 0.5" in message
    assert "env_args.payoff was 'paper', is [[1, 2], [3, 4]]" in message
    assert "env_info.data_hash was" in message
    assert "t_max" not in message
    assert "has 32 env steps already, t_max is 20" in error("with", here, "t_max=20")
    assert status(1) == "FAILED"


def test_a_complete_run_says_so(error: Any) -> None:
    assert train() == 0
    assert "is complete, nothing to resume; checkpoint_path= starts" in error("with", f"resume={run_of(1)}")
    assert "has nothing to resume from" in error("with", f"resume={run_of(1)}", "t_max=80")


def test_a_complete_run_that_kept_its_checkpoint_trains_on(error: Any) -> None:
    assert train("t_max=96") == 0
    assert train("save_finished=True") == 0
    assert "is complete, nothing to resume; a larger t_max trains on" in error("with", f"resume={run_of(2)}")
    assert program.main(["-l", "ERROR", "with", f"resume={run_of(2)}", "t_max=96"]) == 0
    assert lines(run_of(2)) == lines(run_of(1))


def test_a_run_that_stopped_early_trains_on_without_the_stop(error: Any) -> None:
    """A larger t_max alone would let it end again at once."""
    stop = ["stop_tests=2", "stop_level=-100", "stop_metric=test_return_mean", "save_finished=True"]
    assert train("t_max=96") == 0
    assert train("t_max=96", *stop) == 0
    assert lines(run_of(2))[-1]["t_env"] < 64
    for more in ([], ["t_max=200"], ["stop_tests=1"]):
        assert "is complete, nothing to resume; stop_tests=0 trains on" in error("with", f"resume={run_of(2)}", *more)
    raised = ["stop_level=1000", "stop_tests=1"]  # tests before were judged by another level
    shutil.copytree(run_of(2), run_of(3))
    for number, change in ((2, ["stop_tests=0"]), (3, raised)):
        assert program.main(["-l", "ERROR", "with", f"resume={run_of(number)}", *change]) == 0
        assert lines(run_of(number)) == lines(run_of(1))


def test_shorter_intervals_between_checkpoints_hold_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not after the step that was due before the run was stopped."""
    die(monkeypatch, "save_model_interval=1000", updates=10)
    assert program.main(["-l", "ERROR", "with", f"resume={run_of(1)}", "save_model_interval=16"]) == 0
    steps = sorted(int(path.name) for path in (run_of(1) / "models").iterdir())
    assert steps == [32, 48, 64] or steps == [16, 32, 48, 64], steps


FULL = """
import resource, sys
import main, run

update = run.TrainingLoop._update

def full(loop):
    if loop.t_env >= 40:  # no file grows any more, as on a full disk
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
    update(loop)

run.TrainingLoop._update = full
sys.exit(main.main(sys.argv[1:]))
"""


def test_a_disk_on_which_nothing_can_be_written_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the checkpoint of the end nor Sacred's record: one line, and the checkpoint before is as good."""
    assert train() == 0
    environment = os.environ | {"PYTHONPATH": str(MAIN.parent)}
    ended = subprocess.run(
        [sys.executable, "-c", FULL, *GAME, *SHORT], env=environment, capture_output=True, text=True, timeout=300
    )
    assert ended.returncode == 2
    assert ended.stderr.splitlines()[-1].startswith("error: cannot write ")
    assert "Traceback" not in ended.stderr
    assert program.main(["-l", "ERROR", "with", f"resume={run_of(2)}"]) == 0
    assert lines(run_of(2)) == lines(run_of(1))


def test_a_full_disk_is_one_line(monkeypatch: pytest.MonkeyPatch, error: Any) -> None:
    """What was logged stays, and with space again the run goes on to the same end."""
    assert train() == 0
    write, logged = os.write, []

    def full(descriptor: int, data: bytes) -> int:
        if os.readlink(f"/proc/self/fd/{descriptor}").endswith("metrics.jsonl"):
            logged.append(data)
            if len(logged) > 4:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(descriptor, data)

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        assert "metrics.jsonl: No space left on device" in error(*GAME, *SHORT)
    assert status(2) == "FAILED"
    assert len(lines(run_of(2))) == 3  # and the header
    assert program.main(["-l", "ERROR", "with", f"resume={run_of(2)}"]) == 0
    assert lines(run_of(2)) == lines(run_of(1))


def test_an_end_that_was_not_recorded_keeps_the_checkpoint(monkeypatch: pytest.MonkeyPatch, error: Any) -> None:
    """Sacred passes over observers that fail."""

    def fail(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "completed_event", fail)
        assert train() == 2
    assert checkpoints_in(run_of(1))
    assert program.main(["-l", "ERROR", "with", f"resume={run_of(1)}"]) == 0
    assert status(1) == "COMPLETED"
    assert not checkpoints_in(run_of(1))


def test_a_run_that_is_alive_is_left_alone(monkeypatch: pytest.MonkeyPatch, error: Any) -> None:
    die(monkeypatch)
    assert not is_alive(run_of(1))
    code = f"import sys, time; sys.path.insert(0, {str(MAIN.parent)!r}); from pathlib import Path\n"
    code += f"from utils.runlock import RunLock; lock = RunLock(Path({str(run_of(1))!r})); print(1, flush=True)\n"
    holder = subprocess.Popen([sys.executable, "-c", code + "time.sleep(600)"], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    holder.stdout.readline()
    try:
        assert is_alive(run_of(1))
        assert "is still alive; stop it first" in error("with", f"resume={run_of(1)}")
        assert "a run of this configuration, is still alive" in error(*GAME, *SHORT, "resume=auto")
    finally:
        holder.kill()
        holder.wait()
    assert not is_alive(run_of(1)), "the lock ends with the process, however that ends"


def test_a_lock_is_held_once(tmp_path: Path) -> None:
    with RunLock(tmp_path), pytest.raises(BlockingIOError):
        RunLock(tmp_path)
    RunLock(tmp_path).release()
    assert not is_alive(tmp_path / "nothing")


@pytest.mark.parametrize(
    ("name", "damage", "message"),
    [
        ("config.json", '{"seed": ', "cannot read results/sacred/1/config.json"),
        ("run.json", "[]", "results/sacred/1/run.json does not hold what a run records"),
        ("metrics.jsonl", '{"header": true}\n', "metrics.jsonl was changed: the checkpoint needs"),
    ],
)
def test_half_written_files(name: str, damage: str, message: str, monkeypatch: pytest.MonkeyPatch, error: Any) -> None:
    die(monkeypatch)
    (run_of(1) / name).write_text(damage)
    assert message in error("-l", "CRITICAL", "with", f"resume={run_of(1)}")


def test_a_damaged_line_of_metrics_is_named(monkeypatch: pytest.MonkeyPatch, error: Any) -> None:
    die(monkeypatch)
    path = run_of(1) / "metrics.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole[:-20].replace(b'"t_env"', b'"t_env', 1) + whole[-20:] + b" " * 9)
    assert "metrics.jsonl, line 2 is damaged" in error("-l", "CRITICAL", "with", f"resume={run_of(1)}")


def test_a_damaged_checkpoint_costs_one_line(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert train() == 0
    die(monkeypatch)
    newest = list(checkpoints_in(run_of(2)).values())[-1]
    os.truncate(newest, newest.stat().st_size - 1000)
    capfd.readouterr()
    assert train("resume=auto") == 0
    told = [line for line in capfd.readouterr().err.splitlines() if "; the checkpoint before it is used" in line]
    assert len(told) == 1
    assert newest.name in told[0]
    assert lines(run_of(2)) == lines(run_of(1))


def test_other_rounding_is_announced(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    die(monkeypatch)
    assert train("resume=auto", "torch_threads=2") == 0
    assert "not bit for bit as without the interruption: torch_threads was 1, is 2" in capfd.readouterr().err


def test_warm_start_is_not_repeated(monkeypatch: pytest.MonkeyPatch, error: Any) -> None:
    """checkpoint_path of a run that is resumed is where it came from; the files may be gone."""
    assert train() == 0
    start = f"checkpoint_path={run_of(1)}"
    assert train(start, "t_max=128", "save_finished=True") == 0
    die(monkeypatch, start, "t_max=128", updates=100)
    run_of(1).rename("moved")
    assert "does not exist" in error(*GAME, *SHORT, start)
    assert program.main(["-l", "ERROR", "with", f"resume={run_of(3)}"]) == 0
    assert lines(run_of(3)) == lines(run_of(2))


def test_kill_9_and_on(workplace: Path) -> None:
    """A real process, a real signal; many of them at random moments: benchmarks/kills.py."""
    long = [*GAME, *SHORT, "t_max=400", "save_every=40", "test_interval=100", "resume=auto", "save_finished=True"]
    assert program.main([*long, "local_results_path=whole"]) == 0
    process = subprocess.Popen([sys.executable, str(MAIN), *long], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 120.0
    while max(checkpoints_in(run_of(1)), default=0) < 80:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.kill()
    process.communicate(timeout=60)
    assert status(1) == "RUNNING"
    stopped_at = max(checkpoints_in(run_of(1)))
    assert program.main(long) == 0
    assert status(1) == "COMPLETED"
    assert stopped_at < 400
    assert lines(run_of(1)) == lines(Path("whole/sacred/1"))
