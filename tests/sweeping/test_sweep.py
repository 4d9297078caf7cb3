"""Sweeps: what they consist of, retries, the board, the audit, bad input; once for real, with a node that is killed."""

from __future__ import annotations

import io
import json
import math
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

import ray_helpers
import sweep
from sweep import RAY_PARTS, cpus_of
from sweeping import audit, plan
from sweeping.board import Board, last_values, rows_of
from sweeping.pool import COMPLETED, DIED, FAILED, WAITING, Job, Pool, Share, arguments, jobs_of
from sweeping.work import BUSY, Answer, Tail, execute, make_ready
from utils import raycluster
from utils.errors import UserError
from utils.folderlock import FolderLock


def matrix_cells(algs=("vdn",), seeds=(0, 1), **overrides):
    """Cells on the matrix game."""
    return plan.cells_of(algs, "matrix_game", [], seeds, {"t_max": 100, **overrides})


def finish(cell, out, status="COMPLETED", steps=(50, 100)):
    """Leave the files of a run."""
    path = out / "runs" / cell.run_id
    path.mkdir(parents=True)
    config = cell.settings() | {"seed": cell.seed, "name": cell.method.alg}
    (path / "config.json").write_text(json.dumps(config))
    (path / "run.json").write_text(json.dumps({"status": status}))
    rows = [{"header": True}, *({"t_env": t, "time": 1.0, "test_return_mean": t / 100} for t in steps)]
    (path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_cells_are_algorithms_times_maps_times_seeds():
    """Each under its own name; the map is set where the environment has it."""
    cells = plan.cells_of(["fop", "qmix"], "sc2", ["3m", "MMM2"], [4, 7], {"lr": 0.1})
    assert len({cell.run_id for cell in cells}) == len(cells) == 8
    assert [cell.seed for cell in cells] == [4] * 4 + [7] * 4
    assert "env_args.map_name='MMM2'" in cells[-1].arguments() and "lr=0.1" in cells[-1].arguments()
    (key,) = plan.cells_of(["fop"], "gymma", ["CartPole-v1"], [0], {})
    assert key.overrides == {"env_args": {"key": "CartPole-v1"}}


@pytest.mark.parametrize(("text", "seeds"), [("3", [0, 1, 2]), ("4,9", [4, 9]), ("5-7,6", [5, 6, 7]), ("4-4", [4])])
def test_seeds(text, seeds):
    assert plan.read_seeds(text) == seeds


class RayError(Exception):
    """Stands for Ray's."""


class FakeRay:
    """Ray as far as `Pool` uses it; every task is answered by `answer(run_id, attempt)`, with an answer or an error."""

    exceptions = SimpleNamespace(RayError=RayError)

    def __init__(self, answer):
        self.answer, self.calls, self.cancelled = answer, [], []

    def remote(self, **options):
        self.options = options

        def submit(command, run_dir, settings, folder):
            self.calls.append(Path(run_dir).name)
            return (Path(run_dir).name, self.calls.count(Path(run_dir).name), tuple(command))

        return lambda function: SimpleNamespace(remote=submit)

    def wait(self, references, num_returns=1, timeout=None):
        return references[:1], references[1:]

    def get(self, reference):
        found = self.answer(*reference[:2])
        if isinstance(found, Exception):
            raise found
        return found

    def cancel(self, reference):
        self.cancelled.append(reference)


def pool_of(monkeypatch, jobs, out, answer, retries=2):
    """A pool over the fake."""
    fake = FakeRay(answer)
    monkeypatch.setattr(raycluster, "load", lambda: fake)
    return Pool(jobs, out, Share(0.5, 0.25, retries), lambda jobs: None), fake


def test_what_fails_is_tried_again_bad_input_is_not(tmp_path, monkeypatch):
    """s0 loses its machine once and then completes; s1 fails every time; s2 is refused; s3 was complete before."""
    cells = matrix_cells(seeds=(0, 1, 2, 3))
    finish(cells[3], tmp_path)

    def answer(run, attempt):
        if run.endswith("s0"):
            if attempt == 1:
                return RayError("node\ndied")
            finish(cells[0], tmp_path)
            return Answer(0)
        return Answer(1, "ZeroDivisionError") if run.endswith("s1") else Answer(2, "error: no")

    jobs = jobs_of(cells, tmp_path)
    pool, fake = pool_of(monkeypatch, jobs, tmp_path, answer)
    pool.run()
    assert [(job.state, job.attempts) for job in jobs] == [(COMPLETED, 2), (FAILED, 3), (FAILED, 1), (COMPLETED, 0)]
    assert jobs[0].notes == [f"attempt 1: exit code {DIED}, RayError: node died"]
    assert jobs[1].notes[2] == "attempt 3: exit code 1, ZeroDivisionError"
    assert fake.options["num_cpus"] == 0.5 and fake.options["num_gpus"] == 0.25 and fake.options["max_retries"] == 0


def test_exit_code_0_of_a_run_that_is_not_complete_is_a_failure(tmp_path, monkeypatch):
    """What counts are the files."""
    jobs = jobs_of(matrix_cells(seeds=(0,)), tmp_path)
    pool_of(monkeypatch, jobs, tmp_path, lambda run, attempt: Answer(0), retries=0)[0].run()
    assert jobs[0].state == FAILED


def test_ctrl_c_cancels_what_is_pending(tmp_path, monkeypatch):
    jobs = jobs_of(matrix_cells(), tmp_path)
    pool, fake = pool_of(monkeypatch, jobs, tmp_path, lambda run, attempt: Answer(130))
    monkeypatch.setattr("sweeping.pool.requested", lambda: True)
    with pytest.raises(KeyboardInterrupt):
        pool.run()
    assert len(fake.cancelled) == 2 and [job.state for job in jobs] == [WAITING, WAITING]


def test_runs_continue_by_their_name():
    """The arguments of main.py: one folder per run, resume=auto within it."""
    (cell,) = matrix_cells(seeds=(3,))
    given = arguments(cell, Path("/out"))
    assert given[:4] == ["--file_storage", "/out/runs", "--id", cell.run_id]
    assert given[-2:] == ["seed=3", "resume=auto"]


def test_an_attempt_without_checkpoint_is_removed_one_with_is_kept(tmp_path):
    cells = matrix_cells()
    empty, kept = (finish(cell, tmp_path, "RUNNING") for cell in cells)
    (kept / "resume").mkdir()
    (kept / "resume" / "60.th").write_bytes(b"x")
    for cell, run_dir in zip(cells, (empty, kept), strict=True):
        (run_dir / "config.json").write_text(json.dumps(cell.settings() | {"seed": cell.seed, "env_info": {}}))
        assert make_ready(run_dir, cell.settings()) == ""
    assert not empty.exists() and kept.exists()
    later = {"a_key_that_came_later": 1}
    said = make_ready(kept, cells[1].settings() | later)  # resume=auto would not take it
    aside = tmp_path / "put_aside" / kept.name
    assert said.endswith(f"what it had is in {aside}: a_key_that_came_later was 'not there', is 1")
    assert not kept.exists() and (aside / "resume" / "60.th").exists()


def test_an_attempt_whose_record_cannot_be_read_is_left_alone(tmp_path):
    cell = matrix_cells()[0]
    run_dir = finish(cell, tmp_path, "RUNNING")
    (run_dir / "resume").mkdir()
    (run_dir / "resume" / "60.th").write_bytes(b"x")
    (run_dir / "config.json").write_text("{")
    answer = execute([], str(run_dir), cell.settings(), str(tmp_path))
    assert answer.code == BUSY and "cannot read" in answer.words and run_dir.exists()


@pytest.mark.parametrize(("jobs", "cpus"), [(1, 1.0), (3, 0.5), (1, 0.5), (7, 0.3), (2, 1.5), (4, 2.0)])
def test_as_many_runs_fit_as_jobs_were_asked_for(jobs, cpus):
    """Ray counts whole CPUs of a machine and ten thousandths of a run's."""
    whole, share = cpus_of(jobs, cpus)
    assert share >= cpus
    assert math.floor(round(whole * RAY_PARTS) / round(share * RAY_PARTS)) == jobs


def test_the_end_of_what_a_run_prints_is_kept():
    tail = Tail()
    tail.write("a\n" * 9000)
    tail.write("error: last\n\n")
    assert tail.last_line() == "error: last" and len(tail.text) <= 4000


def test_the_board_counts_and_shows_results(tmp_path):
    """One complete, one in progress at 50 of 100 steps with its last line torn, one waiting for its second attempt."""
    cells = matrix_cells(seeds=(0, 1, 2))
    finish(cells[0], tmp_path)
    half = finish(cells[1], tmp_path, "RUNNING", steps=(50,))
    with (half / "metrics.jsonl").open("a") as file:
        file.write('{"t_env": 9')
    jobs = [Job(cells[0], COMPLETED), Job(cells[1], attempts=1), Job(cells[2], attempts=2)]
    (row,) = rows_of(jobs, tmp_path).values()
    assert row.counts == {"completed": 1, "running": 1, "waiting": 1, "failed": 0}
    assert row.share == pytest.approx(0.5) and row.results == [1.0, 0.5] and row.retried == 1
    assert last_values(half / "metrics.jsonl")["t_env"] == 50 and last_values(tmp_path / "none") == {}
    stream = io.StringIO()
    with Board(tmp_path, stream) as board:
        board.show(jobs, last=True)
        board.show(jobs)  # not yet due again
    assert stream.getvalue().startswith("3 runs: 1 completed, 1 running, 1 waiting; 50% of all env steps")
    assert len(stream.getvalue().splitlines()) == 1


def test_the_live_table_has_a_row_per_algorithm_and_map(tmp_path, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "150")
    stream = Terminal()
    cells = matrix_cells(("vdn", "qmix"), seeds=(0,))
    finish(cells[0], tmp_path)
    with Board(tmp_path, stream) as board:
        board.show([Job(cells[0], COMPLETED), Job(cells[1], FAILED)], last=True)
    assert all(word in stream.getvalue() for word in ("vdn", "qmix", "matrix_game", "completed", "failed"))


def test_the_audit_finds_what_is_missing_or_double(tmp_path):
    cells = matrix_cells(seeds=(0, 1, 2))
    finish(cells[0], tmp_path)
    doubled = finish(cells[1], tmp_path, steps=(50, 100, 50))
    assert audit.problems(cells, tmp_path) == [
        f"{cells[2].run_id}: not complete",
        f"{cells[1].run_id}: env step 50 comes after 100",
        f"{cells[1].run_id}: the test at env step 50 is there twice",
    ]
    copy = tmp_path / "runs" / "copy"
    copy.mkdir()
    for name in ("config.json", "metrics.jsonl"):
        (copy / name).write_text((doubled / name).read_text())
    assert any("in another folder, too" in text for text in audit.problems(cells, tmp_path))


BAD = [
    (["--config", "fopp", "--env-config", "sc2"], "unknown algorithm 'fopp'; did you mean 'fop'"),
    (["--config", "fop", "--env-config", "sc3"], "unknown environment 'sc3'"),
    (["--config", "vdn", "--env-config", "sc2", "--maps", "3x"], "vdn on 3x: unknown map '3x'"),
    (["--config", "vdn", "--env-config", "mtq", "--maps", "3m"], "--maps: mtq has no maps"),
    (["--config", "vdn", "--env-config", "mtq"], "vdn on mtq: vdn needs discrete actions"),
    (["--config", ",", "--env-config", "sc2"], "--config names nothing: the sweep is empty"),
    (["--config", "vdn", "--env-config", "sc2", "--maps", ""], "--maps names nothing: the sweep is empty"),
    (["--config", "vdn", "--env-config", "matrix_game", "--seeds", "0"], "no seed, the sweep is empty"),
    (["--config", "vdn", "--env-config", "matrix_game", "--seeds", "few"], "--seeds must be a number of seeds"),
    (["--config", "vdn", "--env-config", "matrix_game", "--seeds", "9-5"], "no seed, the sweep is empty"),
    (["--config", "vdn", "--env-config", "matrix_game", "with", "tmax=3"], "unknown key 'tmax'; did you mean 't_max'"),
    (["--config", "vdn", "--env-config", "matrix_game", "with", "seed=3"], "a sweep sets seed itself"),
    (["--config", "vdn", "--env-config", "matrix_game", "t_max=3"], "write `with` before the first assignment"),
    (["--config", "vdn", "--env-config", "matrix_game", "--cpus", "0"], "--cpus must be > 0.0, got 0"),
    (
        ["--config", "vdn", "--env-config", "matrix_game", "--address", "auto", "--jobs", "3"],
        "--jobs is for this machine",
    ),
    (["--config", "vdn"], "required: --env-config"),
]


@pytest.mark.parametrize(("command", "message"), BAD)
def test_bad_input_is_one_line_before_ray_is_started(tmp_path, capsys, monkeypatch, command, message):
    monkeypatch.setattr(raycluster, "connect", lambda *_: pytest.fail("Ray was started"))
    at = command.index("--config") + 4 if len(command) > 3 else 2
    assert sweep.main([*command[:at], "--out", str(tmp_path / "out"), *command[at:]]) == 2
    err = capsys.readouterr().err
    assert message in err and len(err.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_two_sweeps_do_not_share_a_folder_and_ray_may_be_missing(tmp_path, capsys, monkeypatch):
    pytest.importorskip("ray")
    command = ["--config", "vdn", "--env-config", "matrix_game", "--out", str(tmp_path)]
    with FolderLock(tmp_path, "sweep.py"):
        assert sweep.main(command) == 2
    assert "another sweep.py is working in" in capsys.readouterr().err

    def missing(name):
        raise ModuleNotFoundError(name)

    monkeypatch.setattr("utils.raycluster.import_module", missing)
    assert sweep.main(command) == 2
    assert "pip install -r requirements-cluster.txt" in capsys.readouterr().err


def test_shares_no_machine_has_are_refused(monkeypatch):
    nodes = [{"Alive": True, "Resources": {"CPU": 4.0}}, {"Alive": False, "Resources": {"CPU": 64.0}}]
    monkeypatch.setattr(raycluster, "load", lambda: SimpleNamespace(nodes=lambda: nodes))
    raycluster.require_share(4, 0, "a run")
    with pytest.raises(UserError, match="a run asks for 8 CPUs, but the largest machine of the cluster has 4"):
        raycluster.require_share(8, 0, "a run")
    with pytest.raises(UserError, match="a run asks for 1 GPUs"):
        raycluster.require_share(1, 1, "a run")


def test_a_node_killed_in_the_middle_costs_no_run(tmp_path, capsys):
    """Four runs on two nodes; one is killed while it has a run in progress. The same command then does nothing."""
    pytest.importorskip("ray")
    cluster, nodes = ray_helpers.start(0, [1, 1])
    command = ["--config", "vdn,iql", "--env-config", "matrix_game", "--seeds", "2", "--address", cluster.address]
    command += ["--out", str(tmp_path), "with", "t_max=800", "batch_size=16", "hidden_dim=16", "test_nepisode=2"]
    command += ["save_every=100", "save_model_interval=100000"]

    def kill():
        while len(list(tmp_path.glob("runs/*_s[0-9]/resume/*.th"))) < 2:
            time.sleep(0.05)
        cluster.remove_node(nodes[0], allow_graceful=False)

    threading.Thread(target=kill, daemon=True).start()
    try:
        assert sweep.main(command) == 0
    finally:
        cluster.shutdown()
    out, err = capsys.readouterr()
    assert "4 of 4 runs complete" in out
    assert "attempt 1: exit code -1" in err  # a run was on that node
    assert len(list(tmp_path.glob("runs/*_s[0-9]"))) == 4
    assert sweep.main(command) == 0  # the cluster is gone: finished runs need none
    assert "4 of 4 runs complete" in capsys.readouterr().out
