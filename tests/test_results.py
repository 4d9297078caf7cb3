"""Curves and tables of runs: numbers, refusals, a picture that is a picture."""

import json

import pytest

import results


def make_run(folder, alg="vdn", seed=1, values=(0.0, 0.5, 1.0), engine="embedded", task="3m"):
    """A finished run with a test win rate every 10k steps."""
    folder.mkdir(parents=True)
    header = {"header": True, "alg": alg, "env": "sc2", "env_args": {"map_name": task}, "seed": seed, "engine": engine}
    rows = [{"t_env": 10000 * k, "time": k, "test_battle_won_mean": v} for k, v in enumerate(values)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in (header, *rows)))
    (folder / "run.json").write_text(json.dumps({"status": "COMPLETED"}))


@pytest.fixture
def runs(tmp_path):
    """Two seeds of vdn, one of qmix."""
    make_run(tmp_path / "1")
    make_run(tmp_path / "2", seed=2, values=(0.0, 0.0, 0.5))
    make_run(tmp_path / "3", alg="qmix")
    return tmp_path


def test_table_has_means_and_first_crossings(runs, capsys):
    """vdn: seeds 1 and 2, last values 1.00 and 0.50, mean .75; only seed 1 crosses .9, at 20k."""
    assert results.main(["table", str(runs)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    vdn = next(line for line in lines if "vdn" in line)
    assert "| 1 2 |" in vdn
    assert "| 1.00 0.50 |" in vdn
    assert "| 0.750 |" in vdn
    assert vdn.endswith("| 20k - |")


def test_plot_writes_a_png(runs, tmp_path):
    """One panel, two algorithms."""
    path = tmp_path / "new" / "curves.png"
    assert results.main(["plot", str(runs), "--out", str(path)]) == 0
    assert path.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "does not exist"),
        ([".", "--metric", "test_battle_wom_mean"], "did you mean 'test_battle_won_mean'"),
    ],
)
def test_bad_input_is_one_line(runs, capsys, monkeypatch, arguments, message):
    """Exit code 2 and the nearest match."""
    monkeypatch.chdir(runs)
    assert results.main(["table", *arguments]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert len(err.splitlines()) == 1


def test_no_runs(tmp_path, capsys):
    """An empty directory is named."""
    assert results.main(["table", str(tmp_path)]) == 2
    assert "no runs" in capsys.readouterr().err


def test_engines_are_not_mixed_unless_told(runs, capsys):
    """Embedded and StarCraft II results of one map are not put on one axis."""
    make_run(runs / "4", alg="qmix", engine="starcraft2")
    assert results.main(["table", str(runs)]) == 2
    assert "different engines" in capsys.readouterr().err
    assert results.main(["table", str(runs), "--mix-engines"]) == 0


def test_torn_last_line_is_left_out(runs):
    """A run that is being written can be plotted."""
    with (runs / "1" / "metrics.jsonl").open("a") as file:
        file.write('{"t_env": 30000, "ti')
    assert results.main(["table", str(runs)]) == 0
