"""Whole runs with MongoDB, as a user starts them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pymongo.database import Database

import main as program
import run as run_module
from mirror_helpers import ESCAPED, PASSWORD, ServerProcess, free_port, local_points, same_points, stored_points
from utils.errors import UserError

GAME = ["--config=vdn", "--env-config=matrix_game"]
SHORT = ["t_max=60", "batch_size=4", "hidden_dim=8", "test_interval=20", "test_nepisode=4", "log_interval=20", "seed=1"]


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MONGO_URL", raising=False)
    return tmp_path


def only_run(database: Database[dict[str, Any]], run_dir: Path) -> dict[str, Any]:
    (run,) = database["runs"].find({"mirror.directory": str(run_dir.resolve())})
    assert same_points(local_points(run_dir), stored_points(database, run["_id"]))
    return run


@pytest.mark.parametrize("by_key", [True, False])
def test_a_run_and_no_word_of_the_password(
    workplace: Path,
    secured: ServerProcess,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    by_key: bool,
) -> None:
    if not by_key:
        monkeypatch.setenv("MONGO_URL", secured.url)
    extra = [f"mongo_url={secured.url}"] if by_key else ["mongo_checkpoint=True"]
    assert program.main([*GAME, "with", *SHORT, *extra]) == 0
    run_dir = workplace / "results" / "sacred" / "1"
    with secured.client() as client:
        run = only_run(client["sacred"], run_dir)
    assert run["status"] == "COMPLETED"
    assert run["config"] == json.loads((run_dir / "config.json").read_text())
    assert run["config"]["mongo_url"] == ""
    assert run["captured_out"] == (run_dir / "cout.txt").read_text()
    names = [one["name"] for one in run["artifacts"]]
    assert names[:2] == ["config.json", "joint_values.json"]
    assert any(name.endswith("checkpoint.th") for name in names) != by_key
    out, err = capfd.readouterr()
    assert "is complete\n" in out
    written = [path.read_bytes() for path in workplace.rglob("*") if path.is_file()]
    for secret in (PASSWORD, ESCAPED):
        assert secret not in out + err + str(run)
        assert not any(secret.encode() in content for content in written)


def test_three_runs_together(workplace: Path, secured: ServerProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MONGO_URL", secured.url)
    command = [sys.executable, program.__file__, *GAME, "-l", "ERROR", "with", *SHORT, "mongo_interval=0.2"]
    for process in [subprocess.Popen(command) for _ in range(3)]:
        assert process.wait(280) == 0
    with secured.client() as client:
        runs = [only_run(client["sacred"], path) for path in (workplace / "results" / "sacred").glob("[0-9]*")]
    assert len({run["_id"] for run in runs}) == 3
    assert {run["status"] for run in runs} == {"COMPLETED"}


def test_a_wrong_password_starts_no_run(
    workplace: Path, secured: ServerProcess, capfd: pytest.CaptureFixture[str]
) -> None:
    url = secured.url.replace(ESCAPED, "wrong")
    assert program.main([*GAME, "-l", "WARNING", "with", *SHORT, f"mongo_url={url}"]) == 2
    _, err = capfd.readouterr()
    assert err.startswith("error: MongoDB at 127.0.0.1:")
    assert err.count("\n") == 1
    assert "wrong" not in err
    assert not list(workplace.glob("results/sacred/[0-9]*"))


@pytest.mark.parametrize("argument", ["mongo_url=localhost", "mongo_interval=0", "mongo_checkpoint=maybe"])
def test_bad_values(workplace: Path, capfd: pytest.CaptureFixture[str], argument: str) -> None:
    assert program.main([*GAME, "with", *SHORT, argument]) == 2
    assert argument.split("=")[0] in capfd.readouterr().err
    assert list(workplace.iterdir()) == []


def test_messages_hide_passwords_that_other_parts_repeat(workplace: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert program.main([*GAME, "with", *SHORT, "mongo_url='mongodb://u:secret@host"]) == 2
    err = capfd.readouterr().err
    assert "mongodb://u:***@host" in err
    assert "secret" not in err


def test_sacreds_own_observer_is_refused(workplace: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert program.main([*GAME, "-m", "host:1:db", "with", *SHORT]) == 2
    assert "use mongo_url=mongodb://..." in capfd.readouterr().err


def test_a_refused_run_leaves_nothing_there(
    workplace: Path, secured: ServerProcess, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def refuse(*arguments: object) -> None:
        raise UserError("the buffer does not fit")

    monkeypatch.setattr(run_module, "run", refuse)
    assert program.main([*GAME, "with", *SHORT, f"mongo_url={secured.url}"]) == 2
    assert capfd.readouterr().err == "error: the buffer does not fit\n"
    with secured.client() as client:
        assert client["sacred"]["runs"].count_documents({"mirror.directory": {"$regex": str(workplace)}}) == 0


def test_a_run_that_fails_before_its_first_result_is_there(
    workplace: Path, secured: ServerProcess, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def fail(*arguments: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(run_module, "run", fail)
    assert program.main([*GAME, "with", *SHORT, f"mongo_url={secured.url}"]) == 1
    with secured.client() as client:
        run = only_run(client["sacred"], workplace / "results" / "sacred" / "1")
    assert run["status"] == "FAILED"
    assert "ZeroDivisionError: a bug" in "".join(run["fail_trace"])


def test_a_run_without_the_server(workplace: Path, capfd: pytest.CaptureFixture[str]) -> None:
    url = f"mongodb://u:secret@127.0.0.1:{free_port()}"
    assert program.main([*GAME, "with", *SHORT, f"mongo_url={url}"]) == 0
    _, err = capfd.readouterr()
    assert "cannot be written to" in err
    assert "not everything was sent" in err
    assert "secret" not in err
    run_dir = workplace / "results" / "sacred" / "1"
    assert json.loads((run_dir / "run.json").read_text())["status"] == "COMPLETED"
    assert local_points(run_dir)
