"""Runs out of documents as Sacred's MongoObserver writes them; over the wire protocol where a server is installed."""

from datetime import datetime, timedelta

import pytest
from pymongo import MongoClient

import mirror_helpers
import results
from mirror.sync import RunSync
from utils.mongoruns import record, rows, without_password
from utils.runs import find_runs

START = datetime(2026, 1, 1)


def piece(name, steps, values):
    """A document of the collection `metrics`."""
    when = [START + timedelta(seconds=step / 100) for step in steps]
    return {"run_id": 7, "name": name, "steps": steps, "values": values, "timestamps": when}


PIECES = [piece("loss", [100, 300], [1.0, 2.0]), piece("test_return_mean", [100], [3.0]), piece("loss", [200], [5.0])]
CONFIG = {"name": "fop", "env": "sc2", "env_args": {"map_name": "3m"}, "seed": 4, "env_info": {"engine": "embedded"}}
DOCUMENT = {"_id": 7, "config": CONFIG, "status": "COMPLETED", "start_time": START, "experiment": {}, "host": {}}


def test_rows_are_those_of_the_metrics_file():
    """All metrics of a step in one line, in order, pieces of one metric together."""
    assert rows(PIECES, START) == [
        {"t_env": 100, "time": 1.0, "loss": 1.0, "test_return_mean": 3.0},
        {"t_env": 200, "time": 2.0, "loss": 5.0},
        {"t_env": 300, "time": 3.0, "loss": 2.0},
    ]


def test_a_run_knows_what_its_files_would_say():
    run = record(DOCUMENT, PIECES, "mongodb://host/db#7")
    assert (run.alg, run.task, run.seed, run.status, run.commit) == ("fop", "3m", 4, "COMPLETED", "")
    assert run.start == "2026-01-01 00:00:00"
    assert run.engine == "embedded ? ?" and run.series("loss")[1].tolist() == [1.0, 5.0, 2.0]


def test_addresses_are_shown_without_password():
    assert without_password("mongodb://u:secret@h:1,h2:2/db?ssl=true") == "mongodb://h:1,h2:2/db"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server that speaks MongoDB's wire protocol."""
    secantus = pytest.importorskip("secantus")
    with secantus.SecantusDBServer(storage_path=str(tmp_path_factory.mktemp("db"))) as made:
        yield made.uri.rstrip("/")


def test_export_and_table_read_a_server(server, tmp_path, capsys):
    """The same commands as for folders."""
    with MongoClient(server) as client:
        client["sweep"]["runs"].insert_many([DOCUMENT, {**DOCUMENT, "_id": 8, "config": {**CONFIG, "seed": 5}}])
        client["sweep"]["metrics"].insert_many(PIECES)
    assert results.main(["export", f"{server}/sweep", "--out", str(tmp_path / "runs.csv")]) == 0
    assert "4 lines of 2 runs" in capsys.readouterr().out
    assert results.main(["table", f"{server}/sweep"]) == 0
    out, err = capsys.readouterr()
    assert "| 3m | fop | 4 |" in out and "1 of 2 runs have no test_return_mean past step 0 yet" in err


def test_a_mirrored_run_reads_back_as_its_files_do(server, tmp_path):
    """What our own mirror has stored: configuration, status, every metric at every step."""
    run_dir = mirror_helpers.make_run(tmp_path)
    mirror_helpers.write(run_dir / "config.json", CONFIG)
    mirror_helpers.append(run_dir, mirror_helpers.rows(0, 30))
    mirror_helpers.finish(run_dir)
    with MongoClient(server) as client:
        RunSync(client["mirrored"], run_dir, False).sync()
    (stored,), (kept,) = find_runs([f"{server}/mirrored"]), find_runs([run_dir])
    assert (stored.status, stored.config, stored.seed, stored.task) == (kept.status, CONFIG, 4, "3m")
    for metric in ("loss", "win"):
        for ours, theirs in zip(kept.series(metric), stored.series(metric), strict=True):
            assert ours.tolist() == theirs.tolist()
