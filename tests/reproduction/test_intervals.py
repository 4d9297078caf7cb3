"""Intervals against numbers from the literature and by hand."""

from __future__ import annotations

import math

import pytest

from reproduction.intervals import mean_interval, shown_mean, shown_rate, wilson


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [(0, 20, 0.0, 0.16113), (20, 20, 0.83887, 1.0), (81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605)],
)
def test_wilson(successes, trials, low, high):
    # Newcombe (1998), table I: 81/263 and 15/148; the others: z^2 / (n + z^2) with z = 1.95996
    assert wilson(successes, trials) == pytest.approx((low, high), abs=6e-5)


@pytest.mark.parametrize(("successes", "trials"), [(0, 0), (3, 2), (-1, 4)])
def test_wilson_refuses_what_is_no_rate(successes, trials):
    with pytest.raises(ValueError, match="successes"):
        wilson(successes, trials)


def test_mean_interval_by_hand():
    # 1..5: std sqrt(2.5), t(0.975, 4) = 2.776445
    mean, half = mean_interval([1, 2, 3, 4, 5])
    assert mean == 3.0
    assert half == pytest.approx(2.776445 * math.sqrt(2.5 / 5), abs=1e-6)
    assert math.isnan(mean_interval([7.0])[1])


def test_shown():
    assert shown_rate(20, 20) == "20/20 (84-100 %)"
    assert shown_mean([2.0]) == "2.00"
    assert shown_mean([1.0, 3.0], 1) == "2.0 ± 12.7"
