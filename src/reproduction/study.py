"""A study: methods, cases and seeds whose product is a list of runs, read from `config/studies/<name>.yaml`.

The keys of a run are merged in this order, later ones win: the study's `with`, the method's `with`, the case's `with`,
the case's `per_method` entry of the method. How to add a study: docs/reproduce.md.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Annotated, Any

from utils.config import DERIVED, layers, overlay
from utils.configfile import available, read_named
from utils.errors import Range, UserError, check_keys, nearest, typed

DIGEST_CHARS = 8  # of a run's settings in the name of its folder
# may differ between runs that count as the same
NOT_SETTINGS = ("seed", "label", "local_results_path", "name", "mongo_url")


@dataclass(frozen=True)
class Method:
    """One row: an algorithm with its settings.

    Args:
        name: as tables show it.
        alg: name of a file in config/algs.
        overrides: its keys, nested as on the command line.
    """

    name: str
    alg: str
    overrides: Mapping[str, Any]


@dataclass(frozen=True, eq=False)  # a key of dictionaries: equal only to itself
class Case:
    """One column: a game, protocol or schedule that every method meets.

    Args:
        name: short, for file names.
        title: as tables show it.
        overrides: keys for all methods.
        per_method: keys for single methods, by their names.
        methods: names of the methods that meet this case; all if empty.
        seeds: number of seeds, where it is not the study's.
        seed_keys: dotted keys that take the run's seed as value, such as env_args.random_seed: one game per seed.
        info: free data for the renderer.
    """

    name: str
    title: str
    overrides: Mapping[str, Any]
    per_method: Mapping[str, Mapping[str, Any]]
    methods: tuple[str, ...] = ()
    seeds: int | None = None
    seed_keys: tuple[str, ...] = ()
    info: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Cell:
    """One method in one case with one seed: one run."""

    method: Method
    case: Case
    env: str
    seed: int
    overrides: Mapping[str, Any]

    @property
    def run_id(self) -> str:
        """Name of the run's folder: the same settings have the same name, whichever study asks for them."""
        text = json.dumps([self.method.alg, self.env, self.overrides], sort_keys=True)
        digest = hashlib.sha256(text.encode()).hexdigest()[:DIGEST_CHARS]
        return f"{self.method.alg}_{self.env}_{digest}_s{self.seed}"

    def arguments(self) -> list[str]:
        """The command line after `main.py`, without where results go."""
        assignments = [f"{key}={value!r}" for key, value in flat(self.overrides)]
        return [f"--config={self.method.alg}", f"--env-config={self.env}", "with", *assignments, f"seed={self.seed}"]

    def settings(self) -> dict[str, Any]:
        """The complete configuration as recorded, without what may differ between equal runs."""
        merged = overlay(_below(self.method.alg, self.env), self.overrides)
        merged["env_args"] = json.loads(_settled(self.env, json.dumps(merged["env_args"])))
        return {key: value for key, value in merged.items() if key not in NOT_SETTINGS}


@dataclass(frozen=True)
class StudyFile:
    """Keys of a study's yaml. With `base: STUDY`, `shared` and `methods` of that study come first."""

    title: str  # heading of the report
    about: str  # one paragraph below it
    renderer: str  # name in reproduction.renderers
    env: str  # name of a file in config/envs
    seeds: Annotated[int, Range(1)]  # number of seeds if --seeds is not given
    methods: Mapping[str, Any]  # name -> algorithm, or {alg: ..., with: {...}}
    cases: Mapping[str, Any]  # name -> {title, with, per_method, methods, seeds, seed_keys, info}
    shared: Mapping[str, Any] = field(default_factory=dict)  # keys for every run
    info: Mapping[str, Any] = field(default_factory=dict)  # free data for the renderer, such as the paper's numbers


@dataclass(frozen=True)
class Study:
    """A study that has been read and checked.

    Args:
        name: of its file.
        file: the keys.
        methods: those whose algorithm exists.
        cases: in the file's order.
        seeds: number of seeds; cases may set their own.
        limit: no case has more seeds than this.
        t_max: no run has more env steps than this; None: as many as its own keys say.
        missing: names of the methods whose algorithm does not exist in this version.
        chosen: names of the methods it was cut down to; none: it was not.
    """

    name: str
    file: StudyFile
    methods: tuple[Method, ...]
    cases: tuple[Case, ...]
    seeds: int
    missing: tuple[str, ...] = ()
    limit: int | None = None
    t_max: int | None = None
    chosen: tuple[str, ...] = ()

    def cells(self) -> list[Cell]:
        """All runs: case by case and seed by seed, so that an interrupted study has something of everything."""
        return [
            self._cell(method, case, seed)
            for seed in range(max(self.seeds_of(case) for case in self.cases))
            for case in self.cases
            for method in self.methods_of(case)
            if seed < self.seeds_of(case)
        ]

    def only(self, names: Sequence[str]) -> Study:
        """The study with these methods alone; `UserError` for a name it does not have."""
        known = [method.name for method in self.methods]
        for name in names:
            if name not in known:
                raise UserError(
                    f"{self.name}: unknown method {name!r}{nearest(name, known)}; known: {'; '.join(known)}"
                )
        methods = tuple(method for method in self.methods if method.name in names)
        return replace(self, methods=methods, chosen=tuple(method.name for method in methods))

    def seeds_of(self, case: Case) -> int:
        """Number of seeds of a case; they are 0, 1, ..."""
        own = self.seeds if case.seeds is None else case.seeds
        return own if self.limit is None else min(own, self.limit)

    def methods_of(self, case: Case) -> list[Method]:
        """The methods that meet a case."""
        return [method for method in self.methods if not case.methods or method.name in case.methods]

    def _cell(self, method: Method, case: Case, seed: int) -> Cell:
        keys = overlay(self.file.shared, method.overrides)
        for layer in (case.overrides, case.per_method.get(method.name, {})):
            keys = overlay(keys, layer)
        for key in case.seed_keys:
            keys = overlay(keys, nested(key, seed))
        if self.t_max is not None:
            own = keys.get("t_max", _below(method.alg, self.file.env)["t_max"])
            keys = overlay(keys, {"t_max": min(own, self.t_max)})
        return Cell(method, case, self.file.env, seed, keys)


def settings_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """A recorded configuration without what may differ between equal runs or is found out rather than set."""
    return {key: value for key, value in config.items() if key not in (*NOT_SETTINGS, *DERIVED)}


def studies() -> dict[str, str]:
    """Return name -> one-line meaning of each study."""
    return available("studies")


def load(name: str, seeds: int | None = None, t_max: int | None = None) -> Study:
    """Read the study `name`; with `seeds`, that many of every case, or a case's own number where that is smaller.

    With `t_max`, no run is longer than that many env steps.

    Raises:
        UserError: there is no such study, or its file is wrong.
    """
    data = read_named("studies", name)
    if (base := data.pop("base", None)) is not None:
        below = read_named("studies", str(base))
        data = overlay({key: below.get(key, {}) for key in ("shared", "methods")}, data)
    return replace(from_mapping(name, data, seeds), t_max=t_max)


def from_mapping(name: str, data: Mapping[str, Any], seeds: int | None = None) -> Study:
    """The study of an already read file; see `load`."""
    where = f"studies/{name}.yaml"
    file = typed(StudyFile, data, f"{where} key")
    methods = [_method(key, value, where) for key, value in file.methods.items()]
    known = available("algs")
    present = tuple(method for method in methods if method.alg in known)
    cases = tuple(_case(key, value, set(file.methods), where) for key, value in file.cases.items())
    missing = tuple(method.name for method in methods if method.alg not in known)
    return Study(name, file, present, cases, seeds or file.seeds, missing, seeds)


@cache
def _below(alg: str, env: str) -> dict[str, Any]:
    return layers(alg, env)


@cache
def _settled(env: str, env_args: str) -> str:
    """Arguments as a run records them, `engine: auto` and numbers in place of words decided, as JSON."""
    import envs  # here: studies are listed before PyTorch is imported

    given = json.loads(env_args)
    try:
        return json.dumps({**given, **envs.resolve(env, given).args})
    except UserError:  # StarCraft II, where it is not installed: nothing can be decided; `check` tells what is wrong
        return env_args


def _method(name: str, value: Any, where: str) -> Method:
    given: Mapping[str, Any] = {"alg": value} if isinstance(value, str) else value
    _check_mapping(given, ("alg", "with"), f"{where}: method {name!r}")
    if not isinstance(given.get("alg"), str):
        raise UserError(f"{where}: method {name!r} names no algorithm (alg: NAME)")
    return Method(name, given["alg"], given.get("with", {}))


def _case(name: str, value: Any, methods: set[str], where: str) -> Case:
    given = {} if value is None else value
    what = f"{where}: case {name!r}"
    _check_mapping(given, ("title", "with", "per_method", "methods", "seeds", "seed_keys", "info"), what)
    per_method, only = given.get("per_method", {}), given.get("methods", [])
    for method in (*per_method, *only):
        if method not in methods:
            raise UserError(f"{what}: unknown method {method!r}{nearest(method, methods)}")
    return Case(
        name,
        given.get("title", name),
        given.get("with", {}),
        per_method,
        tuple(only),
        given.get("seeds"),
        tuple(given.get("seed_keys", ())),
        given.get("info", {}),
    )


def _check_mapping(given: Any, keys: tuple[str, ...], what: str) -> None:
    if not isinstance(given, Mapping):
        raise UserError(f"{what} must be a mapping with the keys {', '.join(keys)}")
    check_keys(given, keys, f"{what}: key")


def flat(nested: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Dotted keys and values of a nested mapping: `{"a": {"b": 1}}` -> `[("a.b", 1)]`."""
    pairs: list[tuple[str, Any]] = []
    for key, value in nested.items():
        pairs += flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else [(prefix + key, value)]
    return pairs


def nested(key: str, value: Any) -> dict[str, Any]:
    """The inverse of `flat` for one key: `"a.b", 1` -> `{"a": {"b": 1}}`."""
    first, _, rest = key.partition(".")
    return {first: nested(rest, value) if rest else value}
