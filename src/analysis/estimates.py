"""Means and interquartile means over seeds with 95 % intervals by stratified bootstrap (rliable), and comparisons.

Scores are arrays `[R,M,...]`: R runs (seeds) of each of M tasks, the strata. Resampling draws runs within tasks.
Agarwal et al., Deep Reinforcement Learning at the Edge of the Statistical Precipice, NeurIPS 2021.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from utils.seeding import derive_seed

RESAMPLES = 2000
LEVEL = 0.05  # of significance, after Holm's correction
TRIM = 0.25  # IQM: share of runs left out at each end
ESTIMATES = {"mean": "mean", "iqm": "interquartile mean"}


@dataclass(frozen=True)
class Estimate:
    """A number (or an array of them) and its 95 % interval; the ends are nan where one run gives none."""

    value: Any
    low: Any
    high: Any

    def shown(self, digits: int = 2) -> str:
        """For example "0.94 [0.91, 0.97]"."""
        if math.isnan(float(self.low)):
            return f"{float(self.value):.{digits}f}"
        return f"{float(self.value):.{digits}f} [{float(self.low):.{digits}f}, {float(self.high):.{digits}f}]"


def aggregate(scores: np.ndarray, estimate: str) -> np.ndarray:
    """Mean, or mean of the middle half, over runs and tasks together: `[R,M,...]` -> `[...]`."""
    flat = scores.reshape(-1, *scores.shape[2:])
    if estimate == "iqm":
        out = int(TRIM * len(flat))
        flat = np.sort(flat, axis=0)[out : len(flat) - out]
    return np.asarray(flat.mean(0))


def estimated(scores: np.ndarray, estimate: str, resamples: int = RESAMPLES) -> Estimate:
    """The estimate of `scores [R,M,...]` with its interval.

    rliable resamples by NumPy's global generator whatever it is told, so that is seeded here and put back after.
    """
    value = aggregate(scores, estimate)
    if scores.shape[0] == 1:
        nothing = np.full_like(value, np.nan, dtype=np.float64)
        return Estimate(value, nothing, nothing)
    from rliable import library  # here: it imports statsmodels and seaborn, which takes seconds

    before = np.random.get_state()
    np.random.seed(derive_seed(0, "bootstrap") % 2**32)
    try:
        _, intervals = library.get_interval_estimates(
            {"scores": scores}, lambda drawn: np.atleast_1d(aggregate(drawn, estimate)), reps=resamples
        )
    finally:
        np.random.set_state(before)
    low, high = (bound.reshape(value.shape) for bound in intervals["scores"])
    return Estimate(value, low, high)


def compare(scores: Mapping[str, Sequence[float]], reference: str) -> dict[str, float]:
    """Two-sided p-values of Welch's t-test of each other group against `reference`, Holm-corrected.

    nan where a group or the reference has fewer than two runs; 1 where neither varies and the means are equal.
    """
    raw = {name: _welch(scores[reference], values) for name, values in scores.items() if name != reference}
    order = sorted((name for name in raw if not math.isnan(raw[name])), key=lambda name: raw[name])
    corrected, largest = dict(raw), 0.0
    for rank, name in enumerate(order):
        largest = max(largest, min(raw[name] * (len(order) - rank), 1.0))
        corrected[name] = largest
    return corrected


def _welch(left: Sequence[float], right: Sequence[float]) -> float:
    if min(len(left), len(right)) < 2:  # noqa: PLR2004  (a spread needs two)
        return math.nan
    if np.ptp(left) == np.ptp(right) == 0.0:
        return 1.0 if left[0] == right[0] else 0.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # nearly no spread in one group: p is then near 0 or 1, rightly
        return float(stats.ttest_ind(left, right, equal_var=False).pvalue)
