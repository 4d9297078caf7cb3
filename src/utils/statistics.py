"""Means of what is logged, kept on the device until they are read."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import torch as th


class RunningMeans:
    """Collects named scalars (numbers or 0-d tensors) and returns their means when asked."""

    def __init__(self) -> None:
        self._sums: dict[str, Any] = defaultdict(float)
        self._counts: dict[str, int] = defaultdict(int)

    def add(self, metrics: Mapping[str, Any]) -> None:
        """Add one observation of each metric. Tensors are summed where they are, without synchronising."""
        for name, value in metrics.items():
            self._sums[name] = self._sums[name] + (value.detach() if isinstance(value, th.Tensor) else value)
            self._counts[name] += 1

    def pop(self) -> dict[str, float]:
        """Means since the last call, as Python floats; empties the collection."""
        means = {name: float(total) / self._counts[name] for name, total in self._sums.items()}
        self._sums.clear()
        self._counts.clear()
        return means

    def state(self) -> dict[str, Any]:
        """Sums and counts since the last `pop`."""
        return {"sums": dict(self._sums), "counts": dict(self._counts)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state`."""
        self._sums.clear()
        self._counts.clear()
        self._sums.update(state["sums"])
        self._counts.update(state["counts"])


def episode_means(stats: list[dict[str, float]], prefix: str = "") -> dict[str, float]:
    """PyMARL's names: each statistic's mean as `<prefix><name>_mean`, the return's spread as `return_std`."""
    if not stats:
        return {}
    names = sorted({name for episode in stats for name in episode})
    columns = {name: [episode.get(name, 0.0) for episode in stats] for name in names}
    means = {f"{prefix}{name}_mean": sum(values) / len(values) for name, values in columns.items()}
    returns = th.tensor(columns["return"], dtype=th.float64)
    means[f"{prefix}return_std"] = float(returns.std(correction=0))
    means[f"{prefix}episodes"] = float(len(stats))
    return means
