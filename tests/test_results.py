"""Curves, tables, tidy files and the page of runs: numbers, refusals, a picture that is a picture."""

import csv
import json
import re

import pytest

import results
from run_files import make_run


@pytest.fixture
def runs(tmp_path):
    """Two seeds of vdn, one of qmix."""
    make_run(tmp_path / "1")
    make_run(tmp_path / "2", seed=2, values=(0.0, 0.0, 0.5))
    make_run(tmp_path / "3", alg="qmix")
    return tmp_path


def test_table_has_means_and_first_crossings(runs, capsys):
    """vdn: seeds 1 and 2, last values 1.00 and 0.50, mean .75; only seed 1 crosses .9, at 20k. qmix has more area."""
    assert results.main(["table", str(runs)]) == 0
    lines = capsys.readouterr().out.splitlines()
    qmix, vdn = lines[2:4]
    assert "| 1 2 | 20k | 1.00 0.50 | 0.750 [0.500, 1.000] | " in vdn
    assert vdn.endswith(" | - | 20k - |")  # one run of the best: nothing to compare with
    assert "| qmix | 1 | 20k | 1.00 | 1.000 | " in qmix and "| best |" in qmix
    assert lines[4] == "" and lines[5].startswith("Mean over seeds with 95 % stratified bootstrap")


def test_latex_is_chosen_by_the_suffix(runs, tmp_path, capsys):
    """Special characters are escaped, the best is bold."""
    make_run(runs / "4", task="3s_vs_3z")
    assert results.main(["table", str(runs), "--out", str(tmp_path / "t.tex"), "--estimate", "iqm"]) == 0
    text = (tmp_path / "t.tex").read_text()
    assert r"3s\_vs\_3z & \textbf{vdn} & 1 & 1.000" in text and r"\midrule" in text and r"$\geq$ 0.9" in text
    assert text == capsys.readouterr().out and text.startswith("% Interquartile mean")


def test_plot_writes_a_png(runs, tmp_path):
    """One panel, two algorithms."""
    path = tmp_path / "new" / "curves.png"
    assert results.main(["plot", str(runs), "--out", str(path)]) == 0
    assert path.read_bytes().startswith(b"\x89PNG")


def test_export_is_tidy(runs, tmp_path, capsys):
    """One line per run, step and metric, the same numbers as the files, as CSV and as Parquet."""
    assert results.main(["export", str(runs), "--out", str(tmp_path / "all.csv")]) == 0
    assert "9 lines of 3 runs" in capsys.readouterr().out
    with (tmp_path / "all.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["value"] for row in rows if row["run"].endswith("2")] == ["0.0", "0.0", "0.5"]
    assert {row["commit"] for row in rows} == {"01234567+"} and {row["task"] for row in rows} == {"3m"}
    parquet = pytest.importorskip("pyarrow.parquet")
    assert results.main(["export", str(runs), "--out", str(tmp_path / "all.parquet")]) == 0
    table = parquet.read_table(tmp_path / "all.parquet").to_pylist()
    assert [(row["t_env"], row["value"]) for row in table[:3]] == [(0, 0.0), (10000, 0.5), (20000, 1.0)]
    assert list(tmp_path.glob(".*.part")) == []


def test_report_is_one_page_that_needs_nothing_else(runs, capsys):
    """Figures inside, links that exist, configurations, versions; text from runs is escaped."""
    (runs / "1" / "battles").mkdir()
    (runs / "1" / "battles" / "won 1.gif").write_bytes(b"GIF89a")
    make_run(runs / "4", alg="<b>&", lr=0.2)
    page = runs / "report.html"
    assert results.main(["report", str(runs), "--out", str(page), "--title", "A sweep"]) == 0
    text = page.read_text()
    assert text.count("data:image/png;base64,") == 1 and "<h1>A sweep</h1>" in text
    links = re.findall(r'(?:src|href)="(?!data:)([^"]*)"', text)
    assert "1/battles/won%201.gif" in links
    assert all((runs / link.replace("%20", " ")).exists() for link in links)
    assert "<b>&" not in text and "&lt;b&gt;&amp;" in text
    assert "Z80" in text and "2.13.0" in text and "4 COMPLETED" in text and "01234567+" in text
    assert "<code>lr</code></td><td>0.2" in text and "http" not in text.split("</style>")[1].split("<h2>Runs")[0]


def test_runs_that_differ_in_settings_are_said_and_can_be_split(runs, capsys):
    """Two learning rates under one name."""
    make_run(runs / "4", seed=3, lr=0.2, torch_threads=7)
    assert results.main(["table", str(runs)]) == 0
    out, err = capsys.readouterr()
    assert "vdn on 3m differ in lr: --split" in err and "torch_threads" not in err
    assert results.main(["table", str(runs), "--split", "lr"]) == 0
    out, err = capsys.readouterr()
    assert err == "" and "| vdn (lr=0.1) | 1 2 |" in out and "| vdn (lr=0.2) | 3 |" in out


BAD = [
    (["table", "nowhere"], "does not exist"),
    (["table", ".", "--metric", "test_battle_wom_mean"], "did you mean 'test_battle_won_mean'"),
    (["plot", ".", "--metric", "a,b"], "no run has the metric 'a'"),
    (["plot", ".", "--metric", ","], "--metric names no metric"),
    (["plot", ".", "--out", "curves.txt"], "--out must end in .png"),
    (["export", "."], "export needs --out"),
    (["export", ".", "--out", "runs.xls"], "--out must end in .csv or .parquet"),
    (["table", ".", "--estimate", "median"], "invalid choice: 'median'"),
    (["tabel", "."], "invalid choice: 'tabel'"),
    (["table"], "required: runs"),
    (["report", ".", "--out", "1/run.json/x/report.html"], "cannot write"),
    (["table", "mongodb://user:secret@127.0.0.1:9/sacred"], "cannot read runs from mongodb://127.0.0.1:9/sacred: "),
    (["table", "mongodb://:bad:@@/"], "cannot read runs"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD)
def test_bad_input_is_one_line(runs, capsys, monkeypatch, arguments, message):
    """Exit code 2, what is wrong, the nearest match, no password."""
    monkeypatch.chdir(runs)
    monkeypatch.setattr("utils.mongoruns.TIMEOUT_MS", 200)
    assert results.main(arguments) == 2
    err = capsys.readouterr().err
    assert message in err and "secret" not in err
    assert len(err.splitlines()) == 1


def test_no_runs(tmp_path, capsys):
    """An empty directory is named; so is a sweep in which nothing has been written yet."""
    assert results.main(["report", str(tmp_path)]) == 2
    assert "no runs" in capsys.readouterr().err
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "metrics.jsonl").write_text('{"header": tr')
    assert results.main(["report", str(tmp_path)]) == 2
    assert "no runs" in capsys.readouterr().err


def test_runs_without_the_metric_are_left_out_and_counted(runs, capsys):
    """A run that has only begun does not hide the others."""
    make_run(runs / "4", seed=3, values=())
    assert results.main(["table", str(runs)]) == 0
    out, err = capsys.readouterr()
    assert "1 of 4 runs have no test_battle_won_mean past step 0 yet: left out" in err and "| 1 2 |" in out


def test_engines_are_not_mixed_unless_told(runs, capsys):
    """Embedded and StarCraft II results of one map are not put on one axis."""
    make_run(runs / "4", alg="qmix", engine="starcraft2")
    for command in ("table", "plot", "report"):
        assert results.main([command, str(runs)]) == 2
        err = capsys.readouterr().err
        assert "different engines" in err and len(err.splitlines()) == 1
    assert results.main(["table", str(runs), "--mix-engines"]) == 0


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("metrics.jsonl", '{"header": true}\n{"t_env": 1, "x"\n{"t_env": 2}\n', "line 2 is damaged"),
        ("metrics.jsonl", '{"header": true}\n{"x": 1}\n', "metrics.jsonl is damaged: a line has no t_env"),
        ("metrics.jsonl", "[1]\n", "metrics.jsonl is damaged"),
        ("run.json", '{"status": "COMPL', "run.json is damaged"),
        ("config.json", "[]", "config.json is damaged: not a JSON object"),
        ("config.json", None, "cannot read"),
        ("metrics.jsonl", None, "cannot read"),
    ],
)
def test_damaged_files_are_named(runs, capsys, name, text, message):
    """One line with the path."""
    (runs / "2" / name).unlink()
    (runs / "2" / name).mkdir() if text is None else (runs / "2" / name).write_text(text)
    assert results.main(["table", str(runs)]) == 2
    err = capsys.readouterr().err
    assert message in err and str(runs / "2") in err and len(err.splitlines()) == 1


def test_torn_last_line_is_left_out(runs):
    """A run that is being written can be plotted."""
    with (runs / "1" / "metrics.jsonl").open("a") as file:
        file.write('{"t_env": 30000, "ti')
    assert results.main(["table", str(runs)]) == 0


def test_default_metric_is_the_first_that_was_logged(tmp_path, capsys):
    """Games without a win rate: the return."""
    make_run(tmp_path / "1")
    path = tmp_path / "1" / "metrics.jsonl"
    path.write_text(path.read_text().replace("test_battle_won_mean", "test_return_mean"))
    assert results.main(["table", str(tmp_path)]) == 0
    path.write_text(path.read_text().replace("test_return_mean", "q"))
    assert results.main(["table", str(tmp_path)]) == 2
    assert "give --metric, known: q" in capsys.readouterr().err
    assert json.loads(path.read_text().splitlines()[1])["q"] == 0.0
