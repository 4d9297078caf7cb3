"""Best fits of a payoff by the function classes of VDN (additive) and QMIX (monotonic), under uniform data.

Shape legend: N agents, A actions; payoffs have N axes of length A.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise, permutations, product

import numpy as np
from scipy.optimize import nnls

PAIR = 2  # agents of games that `monotone_fit` can treat


def squared_error(fit: np.ndarray, payoff: np.ndarray) -> float:
    """Sum over joint actions of the squared differences."""
    return float(np.square(fit - payoff).sum())


def additive_fit(payoff: np.ndarray) -> np.ndarray:
    """VDN's least-squares fit: sum_i mean over the others' actions, minus (N - 1) times the grand mean."""
    axes = range(payoff.ndim)
    means = [payoff.mean(axis=tuple(j for j in axes if j != i), keepdims=True) for i in axes]
    return sum(means, start=np.zeros_like(payoff)) - (payoff.ndim - 1) * payoff.mean()


@dataclass(frozen=True)
class MonotoneFit:
    """A least-squares fit that is non-decreasing in both agents' orders of their actions.

    Args:
        fit: `[A,A]`.
        orders: each agent's actions from lowest to highest individual value.
        error: sum of squared differences.
    """

    fit: np.ndarray
    orders: tuple[tuple[int, ...], tuple[int, ...]]
    error: float


def monotone_fits(payoff: np.ndarray) -> Iterator[MonotoneFit]:
    """The best monotonic fit of a two-agent game for each of the (A!)^2 pairs of action orders.

    For given orders these functions are a constant plus non-negative multiples of the indicators of upper sets,
    so the exact isotonic regression is a non-negative least-squares problem; the constant is projected out.
    """
    if payoff.ndim != PAIR:
        raise ValueError(f"two agents expected, got {payoff.ndim}")
    basis = np.array([upper.ravel() for upper in _upper_sets(payoff.shape[0])], dtype=np.float64).T  # [A*A, sets]
    means = basis.mean(axis=0)
    for rows, columns in product(permutations(range(payoff.shape[0])), repeat=PAIR):
        ordered = payoff[np.ix_(rows, columns)]
        weights, _ = nnls(basis - means, ordered.ravel() - ordered.mean())
        fit = np.empty_like(payoff, dtype=np.float64)
        fit[np.ix_(rows, columns)] = ordered.mean() + ((basis - means) @ weights).reshape(payoff.shape)
        yield MonotoneFit(fit, (rows, columns), squared_error(fit, payoff))


def monotone_fit(payoff: np.ndarray) -> MonotoneFit:
    """QMIX's best possible fit under uniform data: the best over all pairs of action orders."""
    return min(monotone_fits(payoff), key=lambda fit: fit.error)


def _upper_sets(size: int) -> Iterator[np.ndarray]:
    """Subsets of the size x size grid that contain, with a cell, every cell at or beyond it on both axes."""
    for starts in product(range(size + 1), repeat=size):  # row r holds the columns from starts[r] on
        if all(a >= b for a, b in pairwise(starts)):
            yield np.arange(size)[None, :] >= np.array(starts)[:, None]
