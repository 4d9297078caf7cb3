"""Path-finding around terrain, computed once per map: for every pair of cells, where to head in a straight line.

The shortest way over the 8-neighbour grid (no corners cut) is pulled tight: the waypoint of (here, there) is the
farthest cell on the way from here to there that can be reached in a straight line with some clearance.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from envs.skirmish.kernel import kernel

CLEAR = 0.45  # cells kept free on both sides of a straight line: more than the clearance of most walkers
SAMPLE = 0.25  # cells between tests on a line
DIAGONAL = math.sqrt(2.0)
FAR = 1e9
STEPS = ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, -1), (1, -1), (-1, 1))


@kernel
def sees(walk: np.ndarray, ax: int, ay: int, bx: int, by: int) -> bool:
    """Whether the straight line between two cell centres stays on walkable cells, with clearance."""
    dx, dy = float(bx - ax), float(by - ay)
    length = math.hypot(dx, dy)
    if length == 0.0:
        return True
    nx, ny = -dy / length * CLEAR, dx / length * CLEAR
    steps = int(length / SAMPLE) + 1
    for i in range(steps + 1):
        x, y = ax + 0.5 + dx * i / steps, ay + 0.5 + dy * i / steps
        if not (walk[int(x + nx), int(y + ny)] and walk[int(x - nx), int(y - ny)]):
            return False
    return True


@kernel
def linked(walk: np.ndarray, x: int, y: int, i: int) -> bool:
    """Whether the i-th neighbour of a cell can be stepped to; diagonals only if both sides are walkable."""
    dx, dy = STEPS[i]
    nx, ny = x + dx, y + dy
    if nx < 0 or ny < 0 or nx >= walk.shape[0] or ny >= walk.shape[1] or not walk[nx, ny]:
        return False
    return dx == 0 or dy == 0 or (walk[nx, y] and walk[x, ny])


@kernel
def spread(walk: np.ndarray, far: np.ndarray, x: int, y: int) -> bool:
    """Improve one cell's distance from its neighbours; whether it changed."""
    best = far[x, y]
    for i in range(len(STEPS)):
        if linked(walk, x, y, i):
            dx, dy = STEPS[i]
            best = min(best, far[x + dx, y + dy] + (DIAGONAL if dx != 0 and dy != 0 else 1.0))
    changed = best < far[x, y]
    far[x, y] = best
    return changed


@kernel
def distances(walk: np.ndarray, gx: int, gy: int, far: np.ndarray) -> None:
    """Grid distance of every cell to (gx, gy), into `far`, by sweeps until nothing changes."""
    width, height = walk.shape
    far[:] = FAR
    far[gx, gy] = 0.0
    changed = True
    while changed:
        changed = False
        for sweep in range(4):
            for i in range(width):
                x = i if sweep % 2 == 0 else width - 1 - i
                for j in range(height):
                    y = j if sweep < 2 else height - 1 - j  # noqa: PLR2004 (two of four sweeps)
                    if walk[x, y] and spread(walk, far, x, y):
                        changed = True


@kernel
def downhill(walk: np.ndarray, far: np.ndarray, x: int, y: int) -> tuple[int, int]:
    """The neighbour on the shortest way."""
    best, bx, by = FAR, x, y
    for i in range(len(STEPS)):
        if linked(walk, x, y, i):
            dx, dy = STEPS[i]
            length = far[x + dx, y + dy] + (DIAGONAL if dx != 0 and dy != 0 else 1.0)
            if length < best:
                best, bx, by = length, x + dx, y + dy
    return bx, by


@kernel
def pull(walk: np.ndarray, far: np.ndarray, x: int, y: int) -> int:
    """The farthest cell on the way from (x, y) that can be reached in a straight line."""
    cx, cy = downhill(walk, far, x, y)
    while far[cx, cy] > 0.0:
        nx, ny = downhill(walk, far, cx, cy)
        if not sees(walk, x, y, nx, ny):
            break
        cx, cy = nx, ny
    return cx * walk.shape[1] + cy


@njit(cache=True, nogil=True)
def all_visible(walk: np.ndarray) -> bool:
    """Whether every walkable cell sees every other."""
    width, height = walk.shape
    for a in range(width * height):
        for b in range(a):
            both = walk[a // height, a % height] and walk[b // height, b % height]
            if both and not sees(walk, a // height, a % height, b // height, b % height):
                return False
    return True


@njit(cache=True, nogil=True)
def waypoints(walk: np.ndarray) -> np.ndarray:
    """`[C,C]` int16: the cell to head for from the first to the second; -1 where there is no way."""
    width, height = walk.shape
    table = np.full((width * height, width * height), -1, np.int16)
    far = np.empty((width, height))
    for goal in range(width * height):
        if not walk[goal // height, goal % height]:
            continue
        distances(walk, goal // height, goal % height, far)
        for here in range(width * height):
            if 0.0 < far[here // height, here % height] < FAR:
                table[here, goal] = pull(walk, far, here // height, here % height)
    return table


def nearest_walkable(walk: np.ndarray) -> np.ndarray:
    """`[C]` int16: the walkable cell nearest to each cell, itself if walkable."""
    height = walk.shape[1]
    cells = np.argwhere(walk)  # [walkable,2]
    every = np.stack(np.meshgrid(*map(np.arange, walk.shape), indexing="ij"), -1).reshape(-1, 2)  # [C,2]
    gaps = ((every[:, None] - cells[None]) ** 2).sum(-1)  # [C,walkable]
    best = cells[gaps.argmin(1)]
    return (best[:, 0] * height + best[:, 1]).astype(np.int16)
