"""Seeds count once; runs that only test do not count; who cuts a comparison short is said."""

import json

import pytest

import results
from analysis.selection import cut_short, seeds_of_curves
from run_files import make_run
from utils.errors import UserError
from utils.runs import find_runs

METRIC = "test_battle_won_mean"


def names(runs):
    return [run.path.name for run in runs]


def test_a_run_below_several_roots_is_there_once(tmp_path, monkeypatch):
    """Also where one of them is relative."""
    make_run(tmp_path / "sweep" / "1")
    make_run(tmp_path / "sweep" / "2", seed=2)
    monkeypatch.chdir(tmp_path)
    assert names(find_runs([tmp_path, "sweep", tmp_path / "sweep" / "1"])) == ["1", "2"]
    with pytest.raises(UserError, match="does not exist"):
        find_runs([tmp_path, "other"])


def test_runs_that_only_test_are_no_seeds(tmp_path, capsys):
    """A checkpoint's test has the trained run's seed and one value; alone it can be shown."""
    make_run(tmp_path / "1")
    make_run(tmp_path / "2", seed=2, values=(0.0, 0.0, 0.5))
    make_run(tmp_path / "3", seed=3, values=(1.0,), evaluate=True)
    make_run(tmp_path / "4", seed=7, task="8m", values=(1.0,), evaluate=True)  # nobody trained there
    page = tmp_path / "report.html"
    assert results.main(["report", str(tmp_path), "--out", str(page)]) == 0
    said = "1 of 4 runs only test a checkpoint (evaluate): left out"
    assert said in page.read_text() and f"note: {said}" in capsys.readouterr().err
    assert results.main(["table", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "| 3m | vdn | 1 2 |" in out and "8m" not in out  # of 8m there is nothing past step 0
    assert results.main(["table", str(tmp_path / "3")]) == 0
    out, err = capsys.readouterr()
    assert "| 3 |" in out and err == ""


def test_a_repeated_seed_counts_once(tmp_path):
    """The longest run, the newest of equally long ones; other settings, maps, engines and split keys are no repeats."""
    make_run(tmp_path / "1", values=(0.0,))
    make_run(tmp_path / "2", label="again")
    make_run(tmp_path / "3", label="and again", torch_threads=7)
    for name, start in (("2", "2026-01-01"), ("3", "2026-01-02")):
        meta = json.loads((tmp_path / name / "run.json").read_text()) | {"start_time": start}
        (tmp_path / name / "run.json").write_text(json.dumps(meta))
    make_run(tmp_path / "4", seed=2)
    make_run(tmp_path / "5", lr=0.2)
    make_run(tmp_path / "6", task="8m")
    make_run(tmp_path / "7", engine="starcraft2")
    make_run(tmp_path / "8", alg="qmix")
    make_run(tmp_path / "9", batch_size_run=8, checkpoint_path="1")  # other episodes
    runs = find_runs([tmp_path])
    kept, notes = seeds_of_curves(runs)
    assert names(kept) == ["3", "4", "5", "6", "7", "8", "9"]
    assert notes == ["2 of 9 runs repeat settings and seed of a longer or newer one: left out"]
    assert names(seeds_of_curves(runs, ["torch_threads"])[0]) == ["2", "3", "4", "5", "6", "7", "8", "9"]
    for run in (tmp_path / "1", tmp_path / "2"):  # of which nothing is known but the seed
        (run / "config.json").unlink()
    assert len(seeds_of_curves(find_runs([tmp_path]))[0]) == 9


def test_a_run_that_has_only_begun_does_not_end_the_comparison(tmp_path, capsys):
    """Its test at step 0 is no curve; one that is far behind is named."""
    make_run(tmp_path / "1", values=(0.0, 0.5, 1.0, 1.0, 1.0))
    make_run(tmp_path / "2", alg="qmix", values=(0.0, 0.5, 0.5, 0.5, 0.5))
    make_run(tmp_path / "3", seed=2, values=(0.0,))
    assert results.main(["table", str(tmp_path)]) == 0
    out, err = capsys.readouterr()
    assert "| vdn | 1 | 40k | 1.00 |" in out and "0.6" in out
    assert "1 of 3 runs have no test_battle_won_mean past step 0 yet" in err and "compared" not in err

    make_run(tmp_path / "4", seed=3, values=(0.0, 0.0))
    page = tmp_path / "report.html"
    assert results.main(["report", str(tmp_path), "--out", str(page)]) == 0
    behind = f"areas of {METRIC} on 3m are compared over the first 10,000 of 40,000 env steps: {tmp_path / '4'} (vdn"
    assert behind in capsys.readouterr().err
    assert behind in page.read_text()
    assert cut_short(find_runs([tmp_path / "1", tmp_path / "2"]), METRIC) == []


def test_a_map_file_names_the_task(tmp_path):
    """Not the default map's name, which such a run records beside it."""
    make_run(tmp_path / "1")
    path = tmp_path / "1" / "metrics.jsonl"
    path.write_text(path.read_text().replace('"map_name": "3m"', '"map_name": "3m", "map_file": "maps/my_arena.yaml"'))
    assert find_runs([tmp_path])[0].task == "my_arena"
