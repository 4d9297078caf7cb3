"""Tables, errors and success of hand-made runs of matrix games."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from envs.matrix_game import enumerate_joint_actions
from reproduction import success_rates
from reproduction.payoffs import Learnt, beside, median, ours
from reproduction.renderers import render
from reproduction.session import Result
from reproduction.study import Case, from_mapping
from utils.errors import UserError

PAYOFF = [[8, -12], [-12, 0]]


@pytest.mark.parametrize(("cases", "rows", "columns"), [(1, 1, 1), (4, 1, 4), (5, 2, 3), (6, 2, 3), (9, 3, 3)])
def test_panels_of_success_rates_wrap(cases, rows, columns):
    """At most four side by side, and none that is empty."""
    made = [Case(str(k), f"case {k}", {}, {}) for k in range(cases)]
    figure = success_rates._figure({case: {} for case in made})
    grid = figure.axes[0].get_gridspec()
    assert (len(figure.axes), grid.nrows, grid.ncols) == (cases, rows, columns)
    success_rates.plt.close(figure)


def study(renderer="success_rates", **case):
    return from_mapping(
        "s",
        {
            "title": "T",
            "about": "A",
            "renderer": renderer,
            "env": "matrix_game",
            "seeds": 3,
            "methods": {"FOP": "fop", "VDN": "vdn"},
            "cases": {"game": {"title": "the game", "with": {"env_args": {"payoff": PAYOFF}}} | case},
            "info": {"tables": True},
        },
    )


def made(cell, q_joint, greedy, payoff=PAYOFF):
    shape = np.shape(payoff)
    joint = enumerate_joint_actions(shape)
    values = {
        "q_joint": np.ravel(q_joint).tolist(),
        "utilities": (joint[..., 0] * 10.0 + np.arange(len(shape))).tolist(),  # Q_i(a) = 10 a + i
        "greedy": [[a] for a in greedy],
    }
    return Result(cell, Path(), [{"t_env": 1, "time": 6.0}], values, "abc")


def test_without_individual_values_a_table_shows_the_letters():
    """Records made from a page's CSV file do not have them."""
    run = made(study().cells()[0], PAYOFF, (0, 1))
    del run.values["utilities"]
    assert ours(Learnt(run)) == [["Q_1 \\ Q_2", "A", "**B**"], ["**A**", "8.0", "**-12.0**"], ["B", "-12.0", "0.0"]]


def test_what_a_run_learnt():
    one = Learnt(made(study().cells()[0], [[8, -12.5], [-12, 0.2]], (0, 1)))
    assert one.error == pytest.approx(0.5)
    assert one.q_all.tolist() == [[0.0, 10.0], [1.0, 11.0]]
    assert (one.gained, one.success) == (-12.0, False)
    line = one.line()
    assert (line["greedy"], line["q_jt AB"], line["optimum"], line["seconds"]) == ("AB", -12.5, 8.0, 6.0)


def test_every_optimum_counts():
    cell = study(**{"with": {"env_args": {"payoff": [[1, 0], [0, 1]]}}}).cells()[0]
    assert [Learnt(made(cell, [[0, 0], [0, 0]], greedy)).success for greedy in ((0, 0), (1, 1), (0, 1))] == [
        True,
        True,
        False,
    ]


def test_the_table_is_the_papers():
    one = Learnt(made(study().cells()[0], [[8, -12.5], [-12, -0.0]], (0, 1)))
    rows = ours(one)
    assert rows == [
        ["Q_1 \\ Q_2", "1.0 (A)", "**11.0 (B)**"],
        ["**0.0 (A)**", "8.0", "**-12.5**"],
        ["10.0 (B)", "-12.0", "0.0"],
    ]
    assert beside(rows, rows, "paper")[0][3] == "paper"
    assert beside(rows, rows, "paper")[1][3:] == ["", *rows[1]]


def test_median_is_the_lower_middle_by_error():
    cells = study().cells()
    runs = [Learnt(made(cells[0], [[8 + e, -12], [-12, 0]], (0, 0))) for e in (4, 1, 3, 2)]
    assert median(runs).error == 2.0
    assert median(runs[:3]).error == 3.0


def test_rates_of_each_method_are_in_page_and_csv(tmp_path):
    one = study()
    found = [
        made(cell, [[8, -12], [-12, 0]], (0, 0) if cell.method.name == "FOP" or cell.seed == 0 else (1, 1))
        for cell in one.cells()
    ]
    page, data, figure = render(one, found, tmp_path)
    text = page.read_text()
    assert "| FOP | 3/3 (44-100 %) | 8.00 ± 0.00 | 1.00 ± 0.00 |" in text
    assert "| VDN | 1/3 (6-79 %) | 2.67 ± 11.47 | 0.33 ± 1.43 |" in text
    assert "Commit: abc" in text
    assert data.read_text().count("\n") == 7
    assert figure.read_bytes().startswith(b"\x89PNG")


def test_a_changed_tree_is_told_where_there_was_one(tmp_path):
    one = study("payoff_tables")
    clean = made(one.cells()[0], PAYOFF, (0, 0))
    for commit, line in (("abc", "Commit: abc\n"), ("abc+", "Commit: abc+ (+: with uncommitted changes)\n")):
        page, *_ = render(one, [replace(clean, commit=commit)], tmp_path)
        assert line in page.read_text()


def test_missing_runs_are_told(tmp_path):
    one = study("payoff_tables")
    found = [made(one.cells()[0], PAYOFF, (0, 0))]
    page, *_ = render(one, found, tmp_path)
    assert "Runs: 1 of 6 **(incomplete)**" in page.read_text()


def test_an_unknown_renderer_is_named(tmp_path):
    with pytest.raises(UserError, match="unknown renderer 'payoff_table'; did you mean 'payoff_tables'"):
        render(study("payoff_table"), [], tmp_path)
