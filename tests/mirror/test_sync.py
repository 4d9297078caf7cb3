"""One run and its documents: complete, in Sacred's form, and the same however often and however badly it is sent."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

import bson
import gridfs
import pytest
from pymongo.database import Database
from pymongo.errors import AutoReconnect

from mirror import documents, points
from mirror.sync import RunSync
from mirror_helpers import (
    append,
    dump,
    finish,
    local_points,
    make_run,
    normal,
    rows,
    same_points,
    stored_points,
    write,
)
from utils.metricsfile import FILE_NAME

Store = Database[dict[str, Any]]


def check(database: Store, run_dir: Path, run_id: int = 1) -> None:
    """Every point of the file is in the database once, nothing else."""
    assert same_points(local_points(run_dir), stored_points(database, run_id))


def send(database: Store, run_dir: Path, checkpoint: bool = False) -> dict[str, Any]:
    sync = RunSync(database, run_dir, checkpoint)
    sync.sync()
    found = database["runs"].find_one({"_id": sync.run_id})
    assert found is not None
    return found


def test_a_finished_run_in_sacreds_form(database: Store, tmp_path: Path) -> None:
    run_dir = make_run(tmp_path)
    append(run_dir, rows(0, 9))
    finish(run_dir)
    run = send(database, run_dir)
    check(database, run_dir)
    assert (run["_id"], run["status"], run["command"]) == (1, "COMPLETED", "main")
    assert (run["start_time"], run["stop_time"]) == (
        datetime(2026, 1, 2, 3, 4, 5),
        datetime(2026, 1, 2, 4),
    )  # milliseconds are cut
    assert run["config"] == json.loads((run_dir / "config.json").read_text())
    assert run["captured_out"] == "begun\n"
    assert run["meta"]["a,b"] == {"@c": str(2**70)}
    assert run["info"]["loss"] == [row["loss"] for row in rows(0, 9)]
    metrics = {str(one["_id"]): one for one in database["metrics"].find()}
    assert {one["id"]: one["name"] for one in run["info"]["metrics"]} == {
        key: one["name"] for key, one in metrics.items()
    }
    (loss,) = (one for one in metrics.values() if one["name"] == "loss")
    assert loss["timestamps"][5] == datetime(2026, 1, 2, 3, 4, 5, 500000)
    files = gridfs.GridFS(database)
    ((name, source),) = run["experiment"]["sources"]
    assert (name, files.get(source).read(), files.get(source).filename) == (
        "main.py",
        b"print('hello')\n",
        "/src/main.py",
    )
    (artifact,) = run["artifacts"]
    assert artifact["name"] == "config.json"
    assert files.get(artifact["file_id"]).read() == (run_dir / "config.json").read_bytes()
    assert files.get(artifact["file_id"]).filename == "artifact://runs/1/config.json"


def test_bit_by_bit_is_the_same_as_at_once(client: Any, database: Store, tmp_path: Path) -> None:
    run_dir = make_run(tmp_path)
    sync = RunSync(database, run_dir)
    for k in range(0, 40, 4):
        append(run_dir, rows(k, k + 4))
        sync.sync()
        check(database, run_dir)
        assert database["runs"].find_one({})["status"] == "RUNNING"  # type: ignore[index]
    finish(run_dir)
    sync.sync()
    other = client[f"{database.name}_at_once"]
    send(other, run_dir)
    assert dump(database) == dump(other)


def test_sending_again_changes_nothing(database: Store, tmp_path: Path) -> None:
    run_dir = make_run(tmp_path)
    append(run_dir, rows(0, 20))
    (run_dir / "curve.png").write_bytes(b"\x89PNG" * 200_000)
    finish(run_dir)
    send(database, run_dir)
    before = dump(database)
    for _ in range(3):
        send(database, run_dir)
    copy = tmp_path / "elsewhere" / "1"
    copy.parent.mkdir()
    run_dir.rename(copy)  # a run keeps its identity when its directory moves
    again = send(database, copy)
    after = dump(database)
    assert again["mirror"].pop("directory") == str(copy)
    before["runs"][0]["mirror"].pop("directory")
    after["runs"][0]["mirror"].pop("directory")
    for one in (before, after):  # the sources are beside the old place
        one["runs"][0]["experiment"].pop("sources")
    assert before == after


def test_long_metrics_continue_in_further_documents(
    database: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(points, "PIECE_POINTS", 7)
    monkeypatch.setattr(points, "BATCH_BYTES", 200)
    run_dir = make_run(tmp_path)
    sync = RunSync(database, run_dir)
    for begin, end in ((0, 3), (3, 30), (30, 31), (31, 50)):
        append(run_dir, rows(begin, end))
        sync.sync()
        check(database, run_dir)
    pieces = list(database["metrics"].find({"metric": "loss"}).sort("part", 1))
    assert [piece["count"] for piece in pieces] == [7] * 7 + [1]
    assert [piece["name"] for piece in pieces] == ["loss", *(f"loss ({part})" for part in range(2, 9))]
    names = [one["name"] for one in database["runs"].find_one({})["info"]["metrics"]]  # type: ignore[index]
    assert len(set(names)) == len(names) == database["metrics"].count_documents({})


def test_a_full_document_stays_below_16_megabytes() -> None:
    size = points.PIECE_POINTS
    steps, when = list(range(2**40, 2**40 + size)), [datetime(2026, 1, 1)] * size
    document = {"name": "x" * 100, "steps": steps, "values": [0.1] * size, "timestamps": when}
    assert len(bson.encode(document)) < 6 << 20
    assert documents.INFO_BYTES + documents.OUTPUT_BYTES < 8 << 20


class Faulty:
    """A collection or database some of whose requests fail, before or after the server carried them out."""

    def __init__(self, database: Store, fails: Callable[[], str]) -> None:
        self.database, self.fails = database, fails

    def __getitem__(self, name: str) -> Any:
        collection, fails = self.database[name], self.fails

        class Requests:
            def __getattr__(self, method: str) -> Any:
                def request(*args: Any, **kwargs: Any) -> Any:
                    when = fails()
                    if when == "before":
                        raise AutoReconnect("connection closed")
                    answer = getattr(collection, method)(*args, **kwargs)
                    if when == "after":
                        raise AutoReconnect("connection closed")
                    return answer

                return request

        return Requests()


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_connection_lost_at_any_request_loses_and_doubles_nothing(
    database: Store, tmp_path: Path, when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(points, "PIECE_POINTS", 5)
    run_dir = make_run(tmp_path)
    requests = lost = 0
    target = 0

    def fails() -> str:
        nonlocal requests, lost
        requests += 1
        if requests != target:
            return ""
        lost += 1
        return when

    for target in range(1, 25):  # the number of the request that fails, of a process that has just begun
        requests = 0
        sync = RunSync(Faulty(database, fails), run_dir)  # type: ignore[arg-type]
        append(run_dir, rows(3 * target, 3 * target + 3))
        try:
            sync.sync()
        except AutoReconnect:
            sync.sync()
        check(database, run_dir)
    assert lost >= 10
    assert database["runs"].count_documents({}) == 1
    assert database["fs.files"].count_documents({}) == 2


def test_a_request_that_is_carried_out_late_changes_nothing(database: Store, tmp_path: Path) -> None:
    run_dir = make_run(tmp_path)
    append(run_dir, rows(0, 10))
    slow, quick = RunSync(database, run_dir), RunSync(database, run_dir)
    slow.sync()
    append(run_dir, rows(10, 20))
    quick.sync()  # as if the server had carried out `slow`'s request after `slow` had given it up
    append(run_dir, rows(20, 25))
    slow.sync()
    check(database, run_dir)


def test_a_file_that_was_cut_back_and_continued(database: Store, tmp_path: Path) -> None:
    run_dir = make_run(tmp_path)
    append(run_dir, rows(0, 10))
    size = (run_dir / FILE_NAME).stat().st_size
    append(run_dir, rows(10, 40))
    sync = RunSync(database, run_dir)
    sync.sync()
    with (run_dir / FILE_NAME).open("r+b") as opened:
        opened.truncate(size)
    append(run_dir, [row | {"loss": -1.0, "time": row["t_env"] * 7.0, "new": 1} for row in rows(10, 90)])
    sync.sync()
    check(database, run_dir)
    with (run_dir / FILE_NAME).open("r+b") as opened:
        opened.truncate(size)
    assert send(database, run_dir)["mirror"]["rows"] == 10  # by a process that did not see it longer
    check(database, run_dir)


def test_runs_that_start_together_get_numbers_of_their_own(database: Store, tmp_path: Path) -> None:
    run_dirs = [make_run(tmp_path / str(k), seed=k + 1) for k in range(8)]  # all of them are called 1
    with ThreadPoolExecutor(8) as pool:
        numbers = list(pool.map(lambda run_dir: send(database, run_dir)["_id"], run_dirs))
    assert sorted(numbers) == list(range(1, 9))
    for number, run_dir in zip(numbers, run_dirs, strict=True):
        found = database["runs"].find_one({"_id": number})
        assert found is not None
        assert found["mirror"]["directory"] == str(run_dir.resolve())
    assert database["fs.files"].count_documents({"filename": "/src/main.py"}) == 1


def test_numbers_follow_those_that_are_there(database: Store, tmp_path: Path) -> None:
    database["runs"].insert_many([{"_id": 41, "info": {}}, {"_id": "a name", "info": {}}])
    assert send(database, make_run(tmp_path))["_id"] == 42


def test_a_run_that_was_deleted_meanwhile_is_sent_anew(database: Store, tmp_path: Path) -> None:
    run_dir = make_run(tmp_path)
    append(run_dir, rows(0, 10))
    sync = RunSync(database, run_dir)
    sync.sync()
    database["runs"].insert_one({"_id": 7})
    database["runs"].delete_one({"_id": 1})
    append(run_dir, rows(10, 12))
    sync.sync()
    assert sync.run_id == 8
    check(database, run_dir, 8)


def test_what_is_too_long_is_left_out(database: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "INFO_BYTES", 2000)
    monkeypatch.setattr(documents, "OUTPUT_BYTES", 10)
    run_dir = make_run(tmp_path)
    append(run_dir, rows(0, 200))
    (run_dir / "cout.txt").write_text("0123456789abcdef")
    finish(run_dir)
    run = send(database, run_dir)
    assert run["info"].keys() == {"metrics"}
    assert run["captured_out"] == "[the first 6 bytes are left out]\n6789abcdef"
    check(database, run_dir)


def test_artifacts_are_those_of_the_run_as_it_is_now(database: Store, tmp_path: Path) -> None:
    run_dir = make_run(tmp_path)
    sync = RunSync(database, run_dir)
    for content in (b"a" * 600_000, b"b" * 300_000):
        (run_dir / "curve.png").write_bytes(content)
        sync.sync()
    run = database["runs"].find_one({})
    assert run is not None
    assert [one["name"] for one in run["artifacts"]] == ["config.json", "curve.png"]
    files = gridfs.GridFS(database)
    assert files.get(run["artifacts"][1]["file_id"]).read() == b"b" * 300_000
    kept = {one["_id"] for one in database["fs.files"].find()}
    assert len(kept) == 3  # with the source
    assert {one["files_id"] for one in database["fs.chunks"].find()} == kept


def test_networks_are_stored_at_the_end_if_asked_for(database: Store, tmp_path: Path) -> None:
    run_dir = make_run(tmp_path)
    for step in ("900", "1000"):
        (run_dir / "models" / step).mkdir(parents=True)
        (run_dir / "models" / step / "checkpoint.th").write_bytes(step.encode())
    assert [one["name"] for one in send(database, run_dir, checkpoint=True)["artifacts"]] == ["config.json"]
    finish(run_dir)
    assert [one["name"] for one in send(database, run_dir)["artifacts"]] == ["config.json"]
    artifacts = send(database, run_dir, checkpoint=True)["artifacts"]
    assert [one["name"] for one in artifacts] == ["config.json", "models/1000/checkpoint.th"]
    assert gridfs.GridFS(database).get(artifacts[1]["file_id"]).read() == b"1000"


def test_the_identity_outlives_a_new_beginning(tmp_path: Path) -> None:
    run_dir = make_run(tmp_path)
    first = documents.identity(run_dir)
    record = json.loads((run_dir / "run.json").read_text())
    write(run_dir / "run.json", record | {"start_time": "2027-01-01T00:00:00"})
    assert documents.identity(run_dir) == first
    (run_dir / documents.IDENTITY).unlink()
    assert documents.identity(run_dir) != first


def test_documents_are_plain(tmp_path: Path) -> None:
    assert normal(documents.safe({"a": [1, {"b.c": None}], "$d": -(2**63)})) == {
        "a": [1, {"b,c": None}],
        "@d": -(2**63),
    }
