"""Outcomes, errors and pages of hand-made runs of Max of Two Quadratics."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from envs.differential_game import NARROW, WIDE, grid_actions, max_of_two_quadratics
from reproduction.mtq import GRID, Climb, counts, grouped, typical
from reproduction.renderers import render
from reproduction.session import Result
from reproduction.study import from_mapping, load

TRUE = 0.1 * max_of_two_quadratics(grid_actions(GRID)[..., 0])  # Q_jt of a perfect critic, learning reward


def study(renderer="outcomes", n_agents=2):
    return from_mapping(
        "s",
        {
            "title": "T",
            "about": "A",
            "renderer": renderer,
            "env": "mtq",
            "seeds": 3,
            "methods": {"FOP": "fop", "MADDPG": "maddpg"},
            "cases": {
                "A": {"title": "narrow", "with": {"env_args": {"n_agents": n_agents}}, "info": {"about": "Why."}}
            },
        },
    )


def made(cell, greedy, q_joint=TRUE):
    """A run whose greedy policies went from (0, 0) to `greedy` in two tests."""
    tests = [(0, [0.0] * len(greedy)), (100, greedy)]
    rows = [
        {"t_env": t, "time": 6.0, "test_return_mean": float(max_of_two_quadratics(np.array(u))), "alpha": 0.25}
        | {f"test_u_{i + 1}_mean": action for i, action in enumerate(u)}
        for t, u in tests
    ]
    values = {
        "q_joint": np.asarray(q_joint).tolist(),
        "greedy": [[u] for u in greedy],
        "explored": {"first": 0, "every": 1, "actions": [[[u] for u in greedy]] * 5},
    }
    return Result(cell, Path(), rows, values, "abc")


def test_what_a_run_learnt():
    cell = study().cells()[0]
    one = Climb(made(cell, [5.4, 4.9]))
    assert (one.outcome, one.success, one.close) == ("optimum", True, True)
    assert one.path.tolist() == [[0.0, 0.0], [5.4, 4.9]]
    assert one.curve[0].tolist() == [0, 100]
    assert one.trail.shape == (5, 2)
    assert [one.error(hill) for hill in (NARROW, WIDE, None)] == pytest.approx([0.0, 0.0, 0.0], abs=1e-5)
    assert not Climb(made(cell, [5.6, 5.0])).close
    assert Climb(made(cell, [-5.0, -4.0])).outcome == "suboptimum"


def test_errors_are_local_and_in_game_units():
    """A critic that is wrong by 0.1 (1 in the game's units) where u_1 > 0 is right at the sub-optimum."""
    wrong = TRUE + 0.1 * (grid_actions(GRID)[:, 0, 0] > 0)
    one = Climb(made(study().cells()[0], [5.0, 5.0], wrong))
    assert [one.error(hill) for hill in (NARROW, WIDE)] == pytest.approx([1.0, 0.0], abs=1e-5)
    assert one.error() == pytest.approx(50 / 101, abs=1e-5)


def test_the_grid_is_read_row_by_row():
    one = Climb(made(study().cells()[0], [5.0, 5.0], grid_actions(GRID)[:, 0, 0]))
    assert one.q_joint[:, 0] == pytest.approx(10 * np.linspace(-10, 10, GRID), abs=1e-4)  # u_1 changes along axis 0


def test_counts_and_the_median_run():
    cells = study().cells()
    climbs = [Climb(made(cells[0], u)) for u in ([5.0, 5.0], [-5.0, -5.0], [0.0, 0.0], [5.0, 4.8])]
    assert counts(climbs) == "2/1/1"
    assert typical(climbs).gained == pytest.approx(0.0)
    assert typical(climbs[:3]).gained == pytest.approx(0.0)


def test_pages_of_both_renderers(tmp_path):
    for name in ("outcomes", "learning_paths"):
        one = study(name)
        found = [made(cell, [5.0, 5.0] if cell.method.name == "FOP" else [-5.0, -5.0]) for cell in one.cells()]
        page, data, *figures = render(one, found, tmp_path / name if (tmp_path / name).mkdir() is None else tmp_path)
        text = page.read_text()
        assert "3/0/0 | 3/3 (44-100 %)" in text
        assert "0/3/0 | 0/3 (0-56 %)" in text
        assert data.read_text().count("\n") == 7
        assert [figure.name for figure in figures] == {
            "outcomes": ["s.png"],
            "learning_paths": ["s_curves.png", "s_paths_A.png"],
        }[name]
    assert "Why." in text
    assert "| A | FOP | 3/0/0 | 3/3 (44-100 %) | 10.00 ± 0.00 | 3/3 | 0.00 | 0.00 | 0.00 |" in text


def test_more_agents_have_no_grid(tmp_path):
    one = study(n_agents=3)
    found = [made(cell, [5.0, 5.0, 5.0], [0.0] * GRID) for cell in one.cells()]
    page, data = render(one, found, tmp_path)[:2]
    assert "3/0/0" in page.read_text()
    assert "q_error" not in data.read_text()


@pytest.mark.parametrize("name", ["fig2", "fig3", "mtq_success"])
def test_protocols_are_the_same_for_all_methods(name):
    """Within a case, whoever plays starts at (0, 0) and sees the same number of uniform steps, steps and updates."""
    one = load(name, 1)
    same = ("t_max", "uniform_steps", "epsilon_start", "epsilon_finish", "updates_per_episode", "batch_size", "lr")
    for case in one.cases:
        found = {
            tuple(cell.settings()[key] for key in same) for cell in one.cells() if cell.case is case and cell.seed == 0
        }
        assert len(found) == 1
        assert next(iter(found))[1] == (1000 if case.name == "B" else 0)
    assert grouped(one, []) == {}
