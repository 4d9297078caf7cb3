"""What a sweep consists of: one cell (one run) per algorithm, map and seed, checked before anything starts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from reproduction.study import Case, Cell, Method, nested
from utils.config import layers, merge, overlay
from utils.errors import UserError

MAP_KEYS = ("map_name", "key", "payoff")  # of env_args, in this order: what --maps chooses


def cells_of(
    algs: Sequence[str], env: str, maps: Sequence[str], seeds: Sequence[int], overrides: Mapping[str, Any]
) -> list[Cell]:
    """All runs, seed by seed, so that an interrupted sweep has something of everything.

    Raises:
        UserError: an unknown name, or maps where the environment has none.
    """
    for key in ("seed", "name", "learner", "env", "resume"):
        if key in overrides:
            raise UserError(f"a sweep sets {key} itself; it cannot be given after `with`")
    layer = layers(None, env)
    places = [key for key in MAP_KEYS if key in layer["env_args"]]
    if maps and not places:
        raise UserError(f"--maps: {env} has no maps; leave it out")
    cases = [Case(name, name, overlay(overrides, nested(f"env_args.{places[0]}", name)), {}) for name in maps] or [
        Case(env, env, overrides, {})
    ]
    methods = [Method(alg, alg, {}) for alg in algs]
    return [Cell(method, case, env, seed, case.overrides) for seed in seeds for case in cases for method in methods]


def check_cells(cells: Sequence[Cell]) -> None:
    """Build every algorithm on every map once, as main.py does before a run; `UserError` for the first that fails."""
    from utils.experiment import check_parts  # here: names are checked before PyTorch is imported

    seen = set()
    for cell in cells:
        key = (cell.method.name, cell.case.name)
        if key not in seen:
            seen.add(key)
            try:
                check_parts(merge(cell.method.alg, cell.env, {**cell.overrides, "seed": cell.seed}))
            except UserError as error:
                raise UserError(f"{cell.method.name} on {cell.case.name}: {error}") from error


def read_list(text: str, flag: str) -> list[str]:
    """Names separated by commas, without repetition.

    Raises:
        UserError: there is none.
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise UserError(f"{flag} names nothing: the sweep is empty")
    return list(dict.fromkeys(names))


def read_seeds(text: str) -> list[int]:
    """A number N for the seeds 0 to N - 1, or the seeds themselves: 3,7,9 or 5-9.

    Raises:
        UserError: it cannot be read, or there is no seed.
    """
    parts = [part.strip() for part in text.split(",") if part.strip()]
    try:
        if len(parts) == 1 and parts[0].isdigit():
            seeds = list(range(int(parts[0])))
        else:
            seeds = [seed for part in parts for seed in _span(part)]
    except ValueError as error:
        raise UserError(f"--seeds must be a number of seeds, or seeds as 3,7 or 5-9, got {text!r}") from error
    if not seeds:
        raise UserError(f"--seeds {text}: no seed, the sweep is empty")
    return list(dict.fromkeys(seeds))


def _span(text: str) -> range:
    first, dash, last = text.partition("-")
    return range(int(first), int(last if dash else first) + 1)
