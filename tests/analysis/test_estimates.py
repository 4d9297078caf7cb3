"""Intervals and comparisons against known distributions and SciPy."""

import math

import numpy as np
import pytest
from scipy import stats

from analysis.estimates import aggregate, compare, estimated


def test_iqm_is_scipy_s_trimmed_mean_over_runs_and_tasks():
    """Also per step of a curve."""
    scores = np.random.default_rng(0).normal(size=(5, 3, 4))
    np.testing.assert_allclose(aggregate(scores, "iqm"), stats.trim_mean(scores.reshape(15, 4), 0.25, axis=0))
    np.testing.assert_allclose(aggregate(scores, "mean"), scores.mean((0, 1)))
    assert aggregate(np.array([[0.0], [1.0], [2.0], [100.0]]), "iqm") == 1.5


@pytest.mark.parametrize("estimate", ["mean", "iqm"])
def test_intervals_cover_the_truth_about_as_often_as_they_say(estimate):
    """20 normal runs with mean 0: the 95 % bootstrap interval (a little short for few runs) holds 0 in 85 to 99 %."""
    rng = np.random.default_rng(1)
    found = [estimated(rng.normal(size=(20, 1)), estimate, resamples=200) for _ in range(100)]
    covered = np.mean([float(one.low) <= 0.0 <= float(one.high) for one in found])
    assert 0.85 <= covered <= 0.99
    assert np.mean([float(one.high - one.low) for one in found]) == pytest.approx(2 * 1.96 / math.sqrt(20), rel=0.2)


def test_tasks_are_strata():
    """Runs are drawn within tasks: two tasks without spread have no interval, however far apart they are."""
    scores = np.array([[0.0, 10.0]] * 6)
    found = estimated(scores, "mean")
    assert (found.value, found.low, found.high) == (5.0, 5.0, 5.0)
    assert estimated(np.array([[0.0], [10.0]] * 6), "mean").low < 4.0


def test_intervals_repeat_and_leave_the_global_generator_alone():
    np.random.seed(3)
    before = np.random.get_state()[1].copy()
    scores = np.random.default_rng(0).normal(size=(5, 1, 7))
    one, two = (estimated(scores, "mean", 300) for _ in range(2))
    np.testing.assert_array_equal(one.low, two.low)
    np.testing.assert_array_equal(before, np.random.get_state()[1])
    assert one.low.shape == (7,) and (one.low < one.value).all() and (one.value < one.high).all()


def test_a_single_run_has_no_interval():
    found = estimated(np.array([[0.25]]), "mean")
    assert math.isnan(found.low) and found.shown() == "0.25"


def test_comparisons_are_welch_s_with_holm_s_correction():
    rng = np.random.default_rng(0)
    groups = {"best": rng.normal(5, 1, 6), "near": rng.normal(4, 1, 6), "far": rng.normal(0, 1, 6), "one": [1.0]}
    found = compare({k: list(v) for k, v in groups.items()}, "best")
    raw = {name: stats.ttest_ind(groups["best"], groups[name], equal_var=False).pvalue for name in ("near", "far")}
    assert found["far"] == pytest.approx(2 * raw["far"]) and found["near"] == pytest.approx(raw["near"])
    assert math.isnan(found["one"]) and "best" not in found
    assert compare({"a": [1.0, 1.0], "b": [1.0, 1.0], "c": [0.0, 0.0]}, "a") == {"b": 1.0, "c": 0.0}
