"""The command as a user meets it: runs, resuming after kill -9, stopping, results, bad input."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time

import pytest
import yaml

from reproduce import main
from study_helpers import SRC, STUDY


def statuses(out):
    return {path.parent.name: json.loads(path.read_text())["status"] for path in out.glob("runs/*/run.json")}


def test_a_study_from_command_to_files_and_again(config_dir, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["small", "--out", str(out), "--jobs", "2"]) == 0
    assert sorted(statuses(out).values()) == ["COMPLETED"] * 4
    assert capsys.readouterr().out.split() == [str(out / f"small.{kind}") for kind in ("md", "csv", "png")]
    rows = list(csv.DictReader((out / "small.csv").open()))
    assert [(row["method"], row["seed"]) for row in rows] == [("VDN", "0"), ("VDN", "1"), ("QMIX", "0"), ("QMIX", "1")]
    page = (out / "small.md").read_text()
    for text in (
        "# A small study",
        "Runs: 4 of 4",
        "reproduce.py small`",
        "| 3.0 (C) |",
        "**6.0 (C)**",
        "## QMIX, as given",
    ):
        assert text in page

    times = {path: path.stat().st_mtime_ns for path in out.glob("runs/*/run.json")}
    victim = min(times)
    victim.write_text(victim.read_text().replace("COMPLETED", "RUNNING"))  # as kill -9 leaves it
    assert main(["small", "--out", str(out)]) == 0
    assert {path for path in times if path.stat().st_mtime_ns != times[path]} == {victim}
    assert set(statuses(out).values()) == {"COMPLETED"}
    assert next(csv.DictReader((out / "small.csv").open()))["q_jt AA"] == rows[0]["q_jt AA"]  # the same run again


def test_other_settings_are_other_runs_and_damage_is_repaired(config_dir, tmp_path):
    out = tmp_path / "out"
    assert main(["small", "--out", str(out), "--seeds", "1"]) == 0
    before = set(statuses(out))
    changed = STUDY | {"shared": STUDY["shared"] | {"t_max": 64}}
    (config_dir / "studies" / "small.yaml").write_text(yaml.safe_dump(changed, sort_keys=False))
    assert main(["small", "--out", str(out), "--seeds", "1"]) == 0
    assert len(before & set(statuses(out))) == 2
    assert len(statuses(out)) == 4


def test_seeds_can_be_shared_between_machines(config_dir, tmp_path):
    """Each runs its part, and the page is made from the records of both."""
    records, pages = tmp_path / "records", []
    for out, part in (("one", ["--seeds", "1"]), ("other", ["--first-seed", "1"])):
        assert main(["small", "--out", str(tmp_path / out), "--records", str(records), *part]) == 0
        assert {name[-3:] for name in statuses(tmp_path / out)} == {"_s" + str(len(pages))}
        pages.append((tmp_path / out / "small.md").read_text())
    assert "Runs: 2 of 2" in pages[0]
    assert "Runs: 4 of 4" in pages[1]


def start_command(config_dir, out):
    code = (
        "import sys, pathlib; from utils import configfile; import reproduce; "
        "configfile.CONFIG_DIR = pathlib.Path(sys.argv[1]); sys.exit(reproduce.main(sys.argv[2:]))"
    )
    environment = os.environ | {"PYTHONPATH": str(SRC)}
    command = [sys.executable, "-c", code, str(config_dir), "small", "--out", str(out), "--jobs", "1"]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


def wait_for_run(out, process):
    for _ in range(1800):
        if list(out.glob("runs/*/metrics.jsonl")):
            return
        assert process.poll() is None
        time.sleep(0.1)
    raise AssertionError("no run has begun")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 130), (signal.SIGKILL, -signal.SIGKILL)])
def test_stopped_and_killed_commands_leave_no_worker_and_go_on(config_dir, tmp_path, number, code):
    out = tmp_path / "out"
    long = STUDY | {"shared": STUDY["shared"] | {"t_max": 2_000_000}}
    (config_dir / "studies" / "small.yaml").write_text(yaml.safe_dump(long, sort_keys=False))
    process = start_command(config_dir, out)
    wait_for_run(out, process)
    process.send_signal(number)
    _, told = process.communicate(timeout=60)
    assert process.returncode == code
    if number == signal.SIGTERM:
        assert "goes on from here" in told
        assert set(statuses(out).values()) == {"INTERRUPTED"}
    sizes = [
        {path: path.stat().st_size for path in out.glob("runs/*/cout.txt")} for _ in (time.sleep(1), time.sleep(2))
    ]
    assert sizes[0] == sizes[1]  # nobody works there any more
    (config_dir / "studies" / "small.yaml").write_text(yaml.safe_dump(STUDY, sort_keys=False))
    assert main(["small", "--out", str(out), "--seeds", "1"]) == 0  # the lock is free


def test_a_failed_run_is_named_and_the_rest_is_written(config_dir, tmp_path, capsys):
    broken = STUDY | {"cases": {"game": {"per_method": {"QMIX": {"checkpoint_path": str(tmp_path / "nowhere")}}}}}
    (config_dir / "studies" / "small.yaml").write_text(yaml.safe_dump(broken, sort_keys=False))
    assert main(["small", "--out", str(tmp_path / "out"), "--seeds", "1"]) == 1
    assert "failed: qmix_matrix_game_" in capsys.readouterr().err
    assert "Runs: 1 of 2 **(incomplete)**" in (tmp_path / "out" / "small.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["smal"], "unknown study 'smal'; did you mean 'small'?"),
        (["small", "--seeds", "0"], "--seeds must be at least 1, got 0"),
        (["small", "--first-seed", "-1"], "--first-seed must not be negative, got -1"),
        (["small", "--first-seed", "2"], "--first-seed 2: small has no run with such a seed"),
        (["small", "--jobs", "0"], "--jobs must be at least 1, got 0"),
        (["small", "--out", "/proc/nowhere"], "cannot write to"),
        (["small", "--render", "--out", "{tmp}/empty"], "no finished run of small"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(config_dir, tmp_path, capsys, arguments, message):
    assert main([argument.replace("{tmp}", str(tmp_path)) for argument in arguments]) == 2
    told = capsys.readouterr().err
    assert message in told
    assert told.count("\n") == 1
