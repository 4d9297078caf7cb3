"""Draw the pictures of docs/games.md: `python src/plot_games.py [--out docs/images]`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np

from envs.differential_game import HIGH, LOW, grid_actions, max_of_two_quadratics

mpl.use("Agg")  # writes files, needs no display
from matplotlib import pyplot as plt

GRID = 201  # points per axis
DIAGONAL = 801  # points of the section
DPI = 150
BOX = {"boxstyle": "round,pad=0.2", "facecolor": "white", "edgecolor": "none", "alpha": 0.8}  # behind labels


def surface(axes: Any) -> None:
    """The reward over the box as contours, with both summits and the start of the learners."""
    axis = np.linspace(LOW, HIGH, GRID)
    rewards = max_of_two_quadratics(grid_actions(GRID)[..., 0]).reshape(GRID, GRID)
    filled = axes.contourf(axis, axis, rewards.T, levels=np.arange(-40, 11, 2.5), cmap="viridis")
    axes.figure.colorbar(filled, ax=axes, label="reward r")
    axes.contour(axis, axis, rewards.T, levels=[0.0, 9.0], colors="white", linewidths=0.8)
    for point, label in (((5, 5), "optimum 10"), ((-5, -5), "sub-optimum 0"), ((0, 0), "start -4.4")):
        axes.plot(*point, "o", color="tab:red", markersize=5)
        axes.annotate(label, point, xytext=(6, 7), textcoords="offset points", fontsize=8, bbox=BOX)
    axes.set(xlabel="$u_1$", ylabel="$u_2$", title="reward surface", aspect="equal")


def section(axes: Any) -> None:
    """The reward along u1 = u2, and what one agent gets on average while the other explores."""
    u = np.linspace(LOW, HIGH, DIAGONAL)
    axes.plot(u, max_of_two_quadratics(np.stack((u, u), axis=-1)), label="both play u")
    rng = np.random.default_rng(0)
    for label, other in (
        ("partner ~ N(0, 1)", rng.normal(0.0, 1.0, GRID)),
        ("partner uniform in the box", np.linspace(LOW, HIGH, GRID)),
    ):
        pairs = np.stack(np.broadcast_arrays(u[:, None], other[None, :]), axis=-1)
        axes.plot(u, max_of_two_quadratics(pairs).mean(-1), "--", label=label)
    axes.set(xlabel="own action u", ylabel="mean reward", ylim=(-32, 12), title="why exploration decides")
    axes.legend(fontsize=8)
    axes.grid(alpha=0.3)


def main() -> None:
    """Write mtq.png."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs/images"), help="folder for the pictures")
    out: Path = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.4), layout="constrained")
    surface(left)
    section(right)
    figure.savefig(out / "mtq.png", dpi=DPI)
    print(out / "mtq.png")


if __name__ == "__main__":
    main()
