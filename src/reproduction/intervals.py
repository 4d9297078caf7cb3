"""95 % intervals of means and of success rates."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import stats

CONFIDENCE = 0.95


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """Wilson's score interval of a success rate, in [0, 1].

    (p + z^2/2n -+ z sqrt(p (1 - p)/n + z^2/4n^2)) / (1 + z^2/n), with p = successes/n and z the normal quantile.

    Raises:
        ValueError: no trial, or a number of successes that is not between 0 and `trials`.
    """
    if trials < 1 or not 0 <= successes <= trials:
        raise ValueError(f"need 0 <= successes <= trials and a trial, got {successes} of {trials}")
    rate, z = successes / trials, float(stats.norm.ppf((1 + CONFIDENCE) / 2))
    centre = rate + z**2 / (2 * trials)
    spread = z * math.sqrt(rate * (1 - rate) / trials + z**2 / (4 * trials**2))
    scale = 1 + z**2 / trials
    return max((centre - spread) / scale, 0.0), min((centre + spread) / scale, 1.0)


def mean_interval(values: Sequence[float] | np.ndarray) -> tuple[float, float]:
    """Mean and half width of its interval by Student's t; the half width of a single value is nan."""
    numbers = np.asarray(values, np.float64)
    if len(numbers) < 2:  # noqa: PLR2004  (a spread needs two)
        return float(numbers.mean()), math.nan
    error = numbers.std(ddof=1) / math.sqrt(len(numbers))
    return float(numbers.mean()), float(error * stats.t.ppf((1 + CONFIDENCE) / 2, len(numbers) - 1))


def shown_rate(successes: int, trials: int) -> str:
    """A success rate with its interval, as tables show it: "19/20 (76-99 %)"."""
    low, high = wilson(successes, trials)
    return f"{successes}/{trials} ({100 * low:.0f}-{100 * high:.0f} %)"


def shown_mean(values: Sequence[float] | np.ndarray, digits: int = 2) -> str:
    """A mean with its interval: "7.20 ± 0.31"; without the interval for a single value."""
    mean, half = mean_interval(values)
    return f"{mean:.{digits}f}" + ("" if math.isnan(half) else f" ± {half:.{digits}f}")
