"""A run goes on, in time, whatever becomes of the server, and what the server missed reaches it later."""

from __future__ import annotations

import logging
import socket
import time
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.errors import ConfigurationError

import sync_mongo
from mirror.background import Mirror
from mirror.server import Server, find_server
from mirror_helpers import (
    PASSWORD,
    ServerProcess,
    append,
    finish,
    free_port,
    local_points,
    make_run,
    rows,
    same_points,
    stored_points,
)
from utils.errors import UserError


def at(url: str) -> Server:
    server = find_server(url)
    assert server is not None
    return server


def complete(server: ServerProcess, run_dir: Path) -> bool:
    """Whether the server has exactly the run's points, and its end."""
    with server.client() as client:
        database = client["sacred"]
        (run,) = database["runs"].find({"mirror.directory": str(run_dir.resolve())})
        return run["status"] == "COMPLETED" and same_points(local_points(run_dir), stored_points(database, run["_id"]))


def train(mirror: Mirror, seconds: float) -> float:
    """Log as a run does for `seconds`; return the longest time between two log entries."""
    begin = last = time.monotonic()
    longest, step = 0.0, len(next(iter(local_points(mirror.run_dir).values()), []))
    while (now := time.monotonic()) - begin < seconds:
        longest, last = max(longest, now - last), now
        append(mirror.run_dir, rows(step, step + 1))
        step += 1
        time.sleep(0.01)
    return longest


def train_until(mirror: Mirror, away: bool) -> None:
    """Log until the server is found to be away, or back."""
    deadline = time.monotonic() + 120
    while mirror.away != away:
        assert time.monotonic() < deadline
        train(mirror, 0.2)


def test_a_crash_of_the_server_in_mid_run(
    secured: ServerProcess, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "harness")
    mirror = Mirror(at(secured.url), make_run(tmp_path), interval=0.1)
    mirror.start()
    train(mirror, 1.0)
    secured.kill()
    try:
        train_until(mirror, away=True)
    finally:
        secured.start()
    train_until(mirror, away=False)  # it catches up while the run goes on
    finish(mirror.run_dir)
    assert mirror.close()
    assert complete(secured, mirror.run_dir)
    texts = [record.getMessage() for record in caplog.records if record.name == "harness"]
    assert sum("cannot be written to" in text for text in texts) == 1
    assert sum("is back" in text for text in texts) == 1
    assert PASSWORD not in caplog.text


def test_a_server_that_stops_answering(secured: ServerProcess, tmp_path: Path) -> None:
    mirror = Mirror(at(secured.url), make_run(tmp_path), interval=0.1)
    mirror.start()
    train(mirror, 0.5)
    secured.pause()
    longest = train(mirror, 6.0)
    begin = time.monotonic()
    secured.go_on()
    finish(mirror.run_dir)
    assert mirror.close()
    assert longest < 4.0, "a run that waited would have stood still for six seconds"
    assert time.monotonic() - begin < 30
    assert complete(secured, mirror.run_dir)


def test_absent_at_the_start_and_at_the_end(
    tmp_path: Path,
    secured: ServerProcess,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mirror = Mirror(at(f"mongodb://u:{'secret'}@127.0.0.1:{free_port()}"), make_run(tmp_path / "a run", "7"), 0.1)
    begin = time.monotonic()
    mirror.start()
    assert time.monotonic() - begin < 3.5
    train(mirror, 0.3)
    finish(mirror.run_dir)
    begin = time.monotonic()
    assert not mirror.close()
    assert time.monotonic() - begin < 10
    (last,) = (record.getMessage() for record in caplog.records if "not everything was sent" in record.getMessage())
    assert "secret" not in caplog.text
    command = last.split("MONGO_URL=... python ")[1]
    assert command.endswith(f"sync_mongo.py '{mirror.run_dir}'")
    monkeypatch.setenv("MONGO_URL", secured.url)
    assert sync_mongo.main([str(mirror.run_dir)]) == 0
    assert "log entries" in capsys.readouterr().out
    assert complete(secured, mirror.run_dir)


def test_names_that_cannot_be_looked_up_at_first(
    tmp_path: Path, secured: ServerProcess, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """mongodb+srv:// asks the network when the client is made, which may fail as any request may."""
    connect, left = Server.connect, [3]

    def without_names(server: Server) -> MongoClient[dict[str, Any]]:
        if left[0] > 0:
            left[0] -= 1
            raise ConfigurationError("The resolution lifetime expired")
        return connect(server)

    monkeypatch.setattr(Server, "connect", without_names)
    mirror = Mirror(at(secured.url), make_run(tmp_path), 0.1)
    mirror.start()
    assert mirror.away
    train_until(mirror, away=False)
    finish(mirror.run_dir)
    assert mirror.close()
    assert complete(secured, mirror.run_dir)

    left[0] = 1
    monkeypatch.setenv("MONGO_URL", secured.url)
    assert sync_mongo.main([str(mirror.run_dir)]) == 2
    assert "does not answer: The resolution lifetime expired" in capsys.readouterr().err


def test_a_host_that_swallows_everything(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # connections are made and never answered
        mirror = Mirror(at(f"mongodb://127.0.0.1:{silent.getsockname()[1]}"), make_run(tmp_path), 0.1)
        begin = time.monotonic()
        mirror.start()
        assert time.monotonic() - begin < 3.5
        assert mirror.away
        begin = time.monotonic()
        assert not mirror.close(stopped=True)
        assert time.monotonic() - begin < 4.0


@pytest.mark.parametrize("user", ["trainer:wrong@", ""])
def test_a_wrong_password_is_bad_input(secured: ServerProcess, tmp_path: Path, user: str) -> None:
    url = f"mongodb://{user}127.0.0.1:{secured.port}/sacred" + ("?authSource=admin" if user else "")
    mirror = Mirror(at(url), make_run(tmp_path))
    with pytest.raises(UserError, match=f"MongoDB at 127.0.0.1:{secured.port} refuses") as caught:
        mirror.start()
    assert "wrong" not in str(caught.value)


def test_a_run_that_did_not_take_place_leaves_nothing(secured: ServerProcess, tmp_path: Path) -> None:
    run_dir = make_run(tmp_path)
    (run_dir / "metrics.jsonl").unlink()
    mirror = Mirror(at(secured.url), run_dir, 0.05)
    mirror.start()
    time.sleep(0.3)
    mirror.cancel()
    mirror._thread.join(5)
    with secured.client() as client:
        assert client["sacred"]["runs"].count_documents({"mirror.directory": str(run_dir)}) == 0


def test_a_surprise_in_the_thread_does_not_reach_the_run(
    secured: ServerProcess, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "harness")
    run_dir = make_run(tmp_path)
    record = (run_dir / "run.json").read_text()
    (run_dir / "run.json").write_text("{")
    mirror = Mirror(at(secured.url), run_dir, 0.05)
    mirror.start()
    train_until(mirror, away=True)
    (run_dir / "run.json").write_text(record)
    finish(run_dir)
    assert mirror.close()
    assert complete(secured, run_dir)
    assert "is complete" in caplog.text
