"""Areas to the common end, the best algorithm, several tasks."""

import math

from analysis.tables import latex, lines_of
from run_files import make_run
from utils.runs import find_runs

METRIC = "test_battle_won_mean"


def test_areas_end_where_the_shortest_run_of_the_task_ends(tmp_path):
    """A longer run does not gain area by what others could not show; another task does not matter."""
    make_run(tmp_path / "1", values=(0.0, 0.0, 1.0, 1.0, 1.0))
    make_run(tmp_path / "2", alg="qmix", values=(0.5, 0.5, 0.5))
    make_run(tmp_path / "3", task="8m", values=(0.0, 1.0))
    vdn, qmix = sorted(
        (x for x in lines_of(find_runs([tmp_path]), METRIC, 0.9) if x.task == "3m"),
        key=lambda x: x.alg == "qmix",
    )
    assert qmix.best and float(qmix.area.value) == 0.5
    assert not vdn.best and float(vdn.area.value) < 0.01 and vdn.last == [1.0] and vdn.firsts == [20000.0]


def test_all_tasks_needs_equally_many_runs_of_each(tmp_path):
    """vdn has both maps twice; qmix lacks one run, so it has no line there."""
    both = [(task, seed) for task in ("3m", "8m") for seed in (1, 2)]
    cells = [*(("vdn", *one) for one in both), *(("qmix", *one) for one in both[1:])]
    for k, (alg, task, seed) in enumerate(cells):
        make_run(tmp_path / str(k), alg=alg, task=task, seed=seed, values=(0.0, 0.1 * seed, 0.2 * seed))
    lines = [line for line in lines_of(find_runs([tmp_path]), METRIC, 0.9) if line.task == "all tasks"]
    assert [(line.alg, line.seeds, line.best) for line in lines] == [("vdn", ["2 each"], True)]
    assert math.isclose(float(lines[0].final.value), 0.3)


def test_bold_is_what_no_other_is_significantly_better_than(tmp_path):
    """One run each: no test can say so, so both are bold; with four that differ by far only the better one is."""
    make_run(tmp_path / "one" / "1", values=(0.0, 1.0))
    make_run(tmp_path / "one" / "2", alg="qmix", values=(0.0, 0.9))
    for seed in range(4):
        make_run(tmp_path / "four" / f"a{seed}", seed=seed, values=(0.9, 0.9 + 0.01 * seed))
        make_run(tmp_path / "four" / f"b{seed}", alg="qmix", seed=seed, values=(0.0, 0.01 * seed))
    bold = [
        [
            alg
            for alg in ("vdn", "qmix")
            if f"textbf{{{alg}}}" in latex(lines_of(find_runs([tmp_path / k]), METRIC, 0.9), 0.9)
        ]
        for k in ("one", "four")
    ]
    assert bold == [["vdn", "qmix"], ["vdn"]]
