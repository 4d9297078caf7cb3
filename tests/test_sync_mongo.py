"""The command that uploads runs."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.errors import AutoReconnect
from secantus import SecantusDBServer

import sync_mongo
from mirror import points
from mirror.sync import RunSync
from mirror_helpers import append, dump, finish, free_port, make_run, rows
from utils.runs import find_runs


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with SecantusDBServer(storage_path=str(tmp_path_factory.mktemp("server"))) as server:
        yield f"mongodb://127.0.0.1:{server.port}"


@pytest.fixture
def results(tmp_path: Path) -> Path:
    for name in ("1", "2", "10"):
        run_dir = make_run(tmp_path / "results" / "sacred", name, seed=int(name))
        append(run_dir, rows(0, int(name)))
        finish(run_dir)
    (tmp_path / "results" / "sacred" / "3").mkdir()
    (tmp_path / "results" / "sacred" / "3" / "run.json").write_text("{}")  # a queued run: nothing to upload
    return tmp_path / "results"


def test_uploads_all_runs_once(
    url: str, results: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MONGO_URL", f"{url}/all")
    assert sync_mongo.main([str(results)]) == 0
    base = results / "sacred"
    assert capsys.readouterr().out.splitlines() == [
        f"{base / name}: run {number}, {name} log entries ({name} new)"
        for number, name in enumerate(("1", "2", "10"), 1)
    ]
    with MongoClient[dict[str, Any]](url) as client:
        before = dump(client["all"])
        append(base / "2", rows(2, 5))
        assert sync_mongo.main([str(base / "10"), str(base / "2"), str(base / "2")]) == 0
        assert capsys.readouterr().out.splitlines() == [
            f"{base / '10'}: run 3, 10 log entries (was there)",
            f"{base / '2'}: run 2, 5 log entries (3 new)",
            f"{base / '2'}: run 2, 5 log entries (was there)",
        ]
        after = dump(client["all"])
    assert [run for run in after["runs"] if run["_id"] != 2] == [run for run in before["runs"] if run["_id"] != 2]
    assert len(after["metrics"]) == len(before["metrics"])


def test_results_are_the_same_from_both(
    url: str, results: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(points, "PIECE_POINTS", 4)
    assert sync_mongo.main(["--mongo-url", f"{url}/both", str(results)]) == 0
    files, server = find_runs([results]), find_runs([f"{url}/both"])
    assert [run.header["seed"] for run in files] == [run.header["seed"] for run in server]
    assert [run.rows for run in files] == [run.rows for run in server]
    assert [run.status for run in server] == ["COMPLETED"] * 3


def test_runs_of_two_machines_do_not_meet(url: str, results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = results.parent / "other"
    shutil.copytree(results / "sacred" / "1", other / "1")  # the same run, copied
    make_run(other, "2", seed=99)  # another one of the same number
    assert sync_mongo.main(["--mongo-url", f"{url}/two", str(results), str(other)]) == 0
    numbers = [line.split(": run ")[1].split(",")[0] for line in capsys.readouterr().out.splitlines()]
    assert numbers == ["1", "2", "3", "1", "4"]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["RESULTS"], "name the server: MONGO_URL=mongodb://... or --mongo-url mongodb://..."),
        (["--mongo-url", "localhost", "RESULTS"], "mongo_url must begin with mongodb://"),
        (["--mongo-url", "mongodb://u:secret@127.0.0.1:PORT", "nowhere"], "'nowhere' does not exist"),
        (["--mongo-url", "mongodb://u:secret@127.0.0.1:PORT", "EMPTY"], "no runs (no run.json beside a metrics.jsonl)"),
        (["--mongo-url", "mongodb://u:secret@127.0.0.1:PORT", "RESULTS"], "MongoDB at 127.0.0.1:PORT does not answer"),
    ],
)
def test_bad_input(
    argv: list[str],
    message: str,
    results: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("MONGO_URL", raising=False)
    (tmp_path / "empty").mkdir()
    port = str(free_port())
    words = {"RESULTS": str(results), "EMPTY": str(tmp_path / "empty")}
    assert sync_mongo.main([words.get(word, word).replace("PORT", port) for word in argv]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith("error: ")
    assert message.replace("PORT", port) in err
    assert "secret" not in err


def test_a_server_that_is_lost_says_what_is_left(
    url: str, results: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    sync = RunSync.sync

    def fails(self: RunSync) -> None:
        if self.run_dir.name == "2":
            raise AutoReconnect("connection closed")
        sync(self)

    monkeypatch.setattr(RunSync, "sync", fails)
    assert sync_mongo.main(["--mongo-url", f"{url}/lost", str(results)]) == 1
    out, err = capsys.readouterr()
    assert out.count("\n") == 1
    assert err.endswith("connection closed; 2 runs left\n")
