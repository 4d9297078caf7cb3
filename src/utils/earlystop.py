"""Ends training before `t_max` once tests in a row have reached a level, if the configuration asks for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from utils.errors import UserError, nearest


class EarlyStop:
    """Counts tests in a row that reached a level.

    Args:
        metric: name among the metrics of a test.
        level: value it must reach.
        tests: how many in a row end the training; 0: none do.
    """

    def __init__(self, metric: str, level: float, tests: int) -> None:
        self.metric, self.level, self.tests = metric, level, tests
        self.in_a_row = 0

    @property
    def reached(self) -> bool:
        """Whether training is over."""
        return 0 < self.tests <= self.in_a_row

    @property
    def rule(self) -> list[Any]:
        """What a test must do to count."""
        return [self.metric, self.level]

    def restore(self, in_a_row: int, rule: Sequence[Any] | None) -> None:
        """Go on counting; tests that were judged by another rule do not count (None: by this one)."""
        self.in_a_row = in_a_row if rule is None or list(rule) == self.rule else 0

    def add(self, metrics: Mapping[str, float]) -> None:
        """Take in the means of one test.

        Raises:
            UserError: they do not have the metric.
        """
        if self.tests == 0:
            return
        if self.metric not in metrics:
            known = ", ".join(sorted(metrics))
            raise UserError(
                f"stop_metric={self.metric!r} is not measured by tests{nearest(self.metric, metrics)}; known: {known}"
            )
        self.in_a_row = self.in_a_row + 1 if metrics[self.metric] >= self.level else 0
