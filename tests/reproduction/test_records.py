"""Records of finished runs: taken in place of runs elsewhere, not when settings, engine or the file are wrong."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib.metadata import version

import pytest
import yaml

from main import main as run
from reproduce import main
from reproduction.records import Records
from reproduction.report import command as page_command
from reproduction.report import settings as page_settings
from reproduction.report import versions
from reproduction.result import read_result
from reproduction.session import command as command_of
from reproduction.session import execute, folder, goes_on, is_finished, make_room
from reproduction.study import load
from study_helpers import STUDY
from utils.errors import UserError

OUTS = ("here", "there")


def command(tmp_path, out, *more):
    return main(["small", "--out", str(tmp_path / out), "--seeds", "1", "--records", str(tmp_path / "records"), *more])


def test_a_study_goes_on_from_records_on_another_machine(config_dir, tmp_path, capsys):
    """The other machine runs nothing, and its page shows the same numbers and where they come from."""
    assert command(tmp_path, "here") == 0
    lines = (tmp_path / "records" / "small.jsonl").read_text().splitlines()
    runs = [json.loads(line) for line in lines if '"run"' in line]
    assert sorted(run["header"]["alg"] for run in runs) == ["qmix", "vdn"]
    assert command(tmp_path, "there") == 0
    assert not (tmp_path / "there" / "runs").exists()
    assert (tmp_path / "there" / "small.csv").read_text() == (tmp_path / "here" / "small.csv").read_text()
    page = (tmp_path / "there" / "small.md").read_text()
    assert "Taken from records: 2 of these runs" in page
    assert "reproduce.py small --seeds 1 --records`" in page
    assert "records" not in (tmp_path / "here" / "small.md").read_text()
    assert (tmp_path / "records" / "small.jsonl").read_text().splitlines() == lines  # nothing is recorded twice
    assert command(tmp_path, "nowhere/yet", "--render") == 0  # the page alone, in a folder that does not exist
    assert (tmp_path / "nowhere" / "yet" / "small.md").exists()

    (tmp_path / "records" / "small.jsonl").write_text("".join(line + "\n" for line in lines[:3]))
    assert command(tmp_path, "there") == 0  # runs the other one, whose settings are there
    assert len(list((tmp_path / "there" / "runs").glob("*_s0"))) == 1
    again = (tmp_path / "records" / "small.jsonl").read_text().splitlines()
    assert len(again) == len(lines) == 4
    assert again[:3] == lines[:3]


class Quiet:
    """In place of the display."""

    def start(self, *_):
        pass

    advance = start


def test_runs_that_exist_are_recorded_and_other_settings_or_engines_are_not_taken(config_dir, tmp_path):
    study = load("small", 1)
    cell = study.cells()[0]
    execute([cell], tmp_path, 1, Quiet())
    records = Records(tmp_path / "records", "small")
    config = json.loads((folder(cell, tmp_path) / "config.json").read_text())
    records.add(read_result(cell, folder(cell, tmp_path)), config)
    found = Records(tmp_path / "records", "other").find(cell)
    run = read_result(cell, folder(cell, tmp_path))
    assert found.last("test_return_mean") == pytest.approx(run.last("test_return_mean"), rel=1e-4)
    shown = {key: run.values[key] for key in ("q_joint", "utilities", "greedy")}  # the exploration is on no page
    assert (found.values, found.commit, found.header["seed"]) == (shown, run.commit, 0)
    assert found.header["versions"] == run.header["versions"]
    assert versions([found, run, replace(run, header={})]) == (
        f"torch {version('torch')}, numpy {version('numpy')} (2 runs); not recorded (1 run)"
    )

    settings, line = map(json.loads, records.file.read_text().splitlines())
    line["settings"] = settings["settings"]
    for part, changed in (("settings", {"lr": 0.5}), ("header", {"engine_version": "0"})):
        records.file.write_text(json.dumps(line | {part: line[part] | changed}) + "\n")
        assert Records(tmp_path / "records", "small").find(cell) is None


@pytest.mark.parametrize("line", ['{"run": "a"}', '{"run": "a", "settings": "a run that is not above"}', "[]", "{"])
def test_a_damaged_record_is_named(tmp_path, line):
    (tmp_path / "small.jsonl").write_text(line + "\n")
    with pytest.raises(UserError, match=r"small.jsonl, line 1: not a record"):
        Records(tmp_path, "small")


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--records", "file/records"], "error: --records: cannot make "),
        (["--out", "file/out"], "error: "),
        (["--out", "file/out", "--render", "--records", "records"], "error: cannot write "),
        (["--seeds", "many"], "error: argument --seeds: invalid int value: 'many'; see --help"),
    ],
)
def test_what_cannot_be_written_or_read_is_one_line(config_dir, tmp_path, monkeypatch, capsys, argv, message):
    """Before anything is run."""
    monkeypatch.chdir(tmp_path)
    assert main(["small", "--seeds", "1", "--out", "made", "--records", "records"]) == 0
    (tmp_path / "file").write_text("")
    capsys.readouterr()
    assert main(["small", "--seeds", "1", "--out", "new", *argv]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith(message) and err.count("\n") == 1
    assert not (tmp_path / "new" / "runs").exists()


def test_seeds_share_their_settings(config_dir, tmp_path):
    """In one file a setting is written once, also by a later command; lines that hold their own are read as well."""
    for seeds in ("1", "2"):
        assert main(["small", "--out", str(tmp_path / "out"), "--seeds", seeds, "--records", str(tmp_path)]) == 0
    lines = [json.loads(line) for line in (tmp_path / "small.jsonl").read_text().splitlines()]
    assert ["digest" in line for line in lines] == [True, False, True, False, False, False]
    settings = {line["digest"]: line["settings"] for line in lines if "digest" in line}
    assert sorted(one["learner"] for one in settings.values()) == ["q_learner", "q_learner"]
    cells = load("small", 2).cells()
    assert all(Records(tmp_path, "small").find(cell) is not None for cell in cells)

    old = [line | {"settings": settings[line["settings"]]} for line in lines if "run" in line]
    (tmp_path / "small.jsonl").write_text("".join(json.dumps(line) + "\n" for line in old))
    assert all(Records(tmp_path, "small").find(cell) is not None for cell in cells)


@pytest.mark.parametrize("renderer", ["outcomes", "learning_paths"])
def test_pages_of_the_differential_game_are_made_from_records(config_dir, tmp_path, renderer):
    """They show alpha, the greedy actions of every test and the exploration."""
    keys = {"t_max": 60, "test_interval": 30, "log_interval": 30, "critic": "mlp", "n_critics": 1, "learning_starts": 8}
    mtq = STUDY | {"renderer": renderer, "env": "mtq", "seeds": 1, "shared": keys, "methods": {"FOP": "fop"}}
    (config_dir / "studies" / "small.yaml").write_text(yaml.safe_dump(mtq, sort_keys=False))
    for out in OUTS:
        assert command(tmp_path, out) == 0
    assert not (tmp_path / "there" / "runs").exists()
    here, there = (sorted(path.name for path in (tmp_path / at).glob("small*")) for at in OUTS)
    assert here == there
    pictures = ["small_curves.png", "small_paths_game.png"] if renderer == "learning_paths" else ["small.png"]
    assert here == ["small.csv", "small.md", *pictures]
    assert (tmp_path / "there" / "small.csv").read_text() == (tmp_path / "here" / "small.csv").read_text()


def test_a_run_that_was_cut_short_goes_on_from_its_checkpoint(config_dir, tmp_path):
    """With save_model=True: what was logged before stands in the finished run, with its times."""
    saved = STUDY | {"shared": STUDY["shared"] | {"save_model": True, "save_finished": True}}
    (config_dir / "studies" / "small.yaml").write_text(yaml.safe_dump(saved, sort_keys=False))
    cell = load("small", 1).cells()[0]
    assert command_of(cell, tmp_path)[0] == "--file_storage"
    assert run(command_of(cell, tmp_path)) == 0
    record, metrics = (folder(cell, tmp_path) / name for name in ("run.json", "metrics.jsonl"))
    rows = metrics.read_text().splitlines()
    assert not goes_on(cell, tmp_path)  # it is complete

    record.write_text(record.read_text().replace("COMPLETED", "RUNNING"))  # as kill -9 leaves it
    assert command_of(cell, tmp_path) == ["with", f"resume={folder(cell, tmp_path)}"]
    assert run(command_of(cell, tmp_path)) == 0
    assert is_finished(cell, tmp_path)
    assert metrics.read_text().splitlines()[:2] == rows[:2]

    record.write_text(record.read_text().replace("COMPLETED", "RUNNING"))
    config = folder(cell, tmp_path) / "config.json"
    with_key = config.read_text()
    config.write_text(json.dumps({key: value for key, value in json.loads(with_key).items() if key != "gamma"}))
    assert command_of(cell, tmp_path)[0] == "--file_storage"  # resume would refuse it: a key came later
    said = make_room(folder(cell, tmp_path), cell.settings())
    assert said.endswith(f"{tmp_path / 'put_aside' / cell.run_id}: gamma was 'not there', is 0.99")
    assert make_room(folder(cell, tmp_path), cell.settings()) == ""
    (tmp_path / "put_aside" / cell.run_id).rename(folder(cell, tmp_path))
    config.write_text(with_key)
    assert command_of(cell, tmp_path)[0] == "with"

    record.write_text(record.read_text().replace("COMPLETED", "RUNNING"))
    (config_dir / "studies" / "small.yaml").write_text(
        yaml.safe_dump(STUDY | {"shared": saved["shared"] | {"lr": 0.1}})
    )
    changed = load("small", 1).cells()[0]
    assert changed.run_id != cell.run_id
    assert command_of(changed, tmp_path)[0] == "--file_storage"


@pytest.mark.parametrize(
    ("seeds", "methods", "expected"),
    [
        (None, [], "python src/reproduce.py mtq_success"),  # its cases have 100, 20 and 5 seeds: --seeds would cut them
        (3, ["FOP, alpha learned"], "python src/reproduce.py mtq_success --method 'FOP, alpha learned' --seeds 3"),
    ],
)
def test_the_command_on_a_page_makes_that_page(seeds, methods, expected):
    study = load("mtq_success", seeds)
    assert page_command(study.only(methods) if methods else study) == expected
    assert page_command(study, records=True).endswith(" --records")


def test_a_page_says_when_runs_were_shortened():
    assert "no run longer than" not in page_settings(load("fig4", 1))
    assert ", but no run longer than 100,000 env steps\n" in page_settings(load("fig4", 1, t_max=100_000))
