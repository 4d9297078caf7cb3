"""Learning curves of hand-made runs: first crossings, means, what has not been run, engines."""

from __future__ import annotations

from pathlib import Path

import pytest

from reproduction.learning_curves import _figure, _record, render
from reproduction.renderers import render as render_study
from reproduction.result import Result
from reproduction.study import from_mapping, load
from utils.errors import UserError


def study():
    return from_mapping(
        "s",
        {
            "title": "T",
            "about": "A",
            "renderer": "learning_curves",
            "env": "sc2",
            "seeds": 2,
            "methods": {"VDN": "vdn", "QMIX": "qmix", "IQL": "iql"},
            "cases": {"3m": {"title": "map 3m"}},
            "info": {"metric": "test_battle_won_mean", "level": 0.9, "panels": {"all": ["VDN", "QMIX", "IQL"]}},
        },
    )


def made(method, seed, rates, version="1"):
    cell = next(cell for cell in study().cells() if (cell.method.name, cell.seed) == (method, seed))
    rows = [{"t_env": 10_000 * k, "time": float(k), "test_battle_won_mean": rate} for k, rate in enumerate(rates)]
    header = {"engine": "embedded", "engine_version": version, "data_hash": "h"}
    return Result(cell, Path(), [*rows[:1], {"t_env": 5, "time": 0.1, "loss": 1.0}, *rows[1:]], {}, "abc", header)


def test_page_and_csv(tmp_path):
    results = [made("VDN", 0, [0.0, 0.5, 1.0]), made("VDN", 1, [0.0, 0.9, 0.8, 0.7]), made("QMIX", 0, [0.0, 0.2])]
    paths = render_study(study(), results, tmp_path)
    assert [path.name for path in paths] == ["s.md", "s.csv", "s.png"]
    page = (tmp_path / "s.md").read_text()
    assert "| VDN | 2 of 2 | 20k 10k | 20k 30k | 0.85 ± 1.91 |" in page  # t of one degree of freedom: 12.71 * 0.15
    assert "| QMIX | 1 of 2 | - | 10k | 0.20 |" in page
    assert "Not run: IQL." in page
    assert "Engine: embedded 1 h" in page
    lines = (tmp_path / "s.csv").read_text().splitlines()
    assert lines[0].startswith("method,case,seed,first_crossing,t_end,last")
    assert lines[1].startswith("VDN,3m,0,20000,20000,1.0,")
    assert lines[3].startswith("QMIX,3m,0,,10000,0.2,")


@pytest.mark.parametrize(("given", "limits"), [({}, (-0.03, 1.03)), ({"range": [0.0, 20.0]}, (-0.6, 20.6))])
def test_panels_are_as_high_as_the_measure(given, limits):
    """Win rates end at 1, another measure where the study says."""
    found = study()
    found.file.info.update(given)
    (axis,) = _figure(found, {found.cases[0]: {"VDN": [_record(made("VDN", 0, [0.0, 1.0]))]}}).axes
    assert axis.get_ylim() == pytest.approx(limits)


def test_engines_do_not_mix():
    with pytest.raises(UserError, match="map 3m: runs of different engines"):
        render(study(), [made("VDN", 0, [0.0]), made("VDN", 1, [0.0], version="2")], None)


@pytest.mark.parametrize(("name", "runs"), [("smac3m", 26 * 2), ("smac_maps", 7 * 2), ("fig4", 5 * 4 * 5)])
def test_the_studies_hold_what_they_announce(name, runs):
    """Number of runs; a shorter t_max cuts all, a longer one none."""
    found = load(name)
    assert len(found.cells()) == runs
    assert not found.missing
    own = {cell.overrides["t_max"] for cell in found.cells()}
    assert {cell.overrides["t_max"] for cell in load(name, 1, 7000).cells()} == {7000}
    assert {cell.overrides["t_max"] for cell in load(name, 1, 10**7).cells()} == own


def test_single_methods():
    """Only their runs; a wrong name is answered with the nearest one."""
    assert {cell.method.name for cell in study().only(["QMIX"]).cells()} == {"QMIX"}
    with pytest.raises(UserError, match="s: unknown method 'QMX'; did you mean 'QMIX'"):
        study().only(["QMX"])
