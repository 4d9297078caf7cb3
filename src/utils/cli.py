"""The command line: PyMARL's `--config=ALG --env-config=ENV [command] [with key=value ...]` and Sacred's options."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any

from utils.config import DERIVED
from utils.configfile import read_yaml
from utils.errors import UserError, nearest, shown
from utils.lineparser import LineParser

COMMANDS = ("main", "print_config", "print_dependencies", "save_config", "print_named_configs")
ARGUMENTS = {"save_config": ("config_filename",)}
LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
WORDS = {"true": True, "false": False, "null": None, "none": None}  # as yaml spells them
BRACKETS = {"[": "]", "(": ")", "{": "}"}


@dataclass
class Request:
    """What the user asked for.

    Args:
        alg: name given by --config, or None.
        env: name given by --env-config, or None.
        command: one of `COMMANDS`, or "help".
        overrides: nested configuration of the command line.
        options: Sacred's options, flag -> value.
        arguments: arguments of the command, which Sacred takes from the configuration.
        list_maps: whether --list-maps was given.
    """

    alg: str | None
    env: str | None
    command: str
    overrides: dict[str, Any]
    options: dict[str, Any] = field(default_factory=dict)
    arguments: dict[str, Any] = field(default_factory=dict)
    list_maps: bool = False


def parse(argv: Sequence[str]) -> Request:
    """Read the command line, without the program's name.

    Raises:
        UserError: an unknown option or command, an assignment that cannot be read.
    """
    parser, sacred_options = _parser()
    known, unknown = parser.parse_known_intermixed_args(list(argv))
    if unknown:
        flags = [text for action in parser._actions for text in action.option_strings]
        raise UserError(f"unknown option {unknown[0]!r}{nearest(unknown[0].split('=')[0], flags)}; see --help")
    options = {flag: value for flag, value in vars(known).items() if flag in sacred_options}
    if options["--help"] or known.tokens[:1] == ["help"]:
        return Request(None, None, "help", {}, options)
    command, updates = _split(known.tokens)
    _check_options(options)
    alg, env = (_only(name, getattr(known, name)) for name in ("config", "env-config"))
    overrides = read_updates(updates)
    arguments = {key: overrides.pop(key) for key in ARGUMENTS.get(command, ()) if key in overrides}
    return Request(alg, env, command, overrides, options, arguments, known.list_maps)


def _parser() -> tuple[LineParser, list[str]]:
    """A parser of our options and Sacred's, and the long flags of the latter."""
    from sacred.experiment import gather_command_line_options  # here: `utils.cli` can be imported without Sacred

    parser = LineParser(prog="main.py", add_help=False)
    parser.add_argument("--config", dest="config", action="append", default=[])
    parser.add_argument("--env-config", dest="env-config", action="append", default=[])
    parser.add_argument("--list-maps", action="store_true")
    parser.add_argument("tokens", nargs="*")
    flags = []
    for option in gather_command_line_options():
        short, long = option.get_flags()
        takes: dict[str, Any] = {"action": "store_true"} if option.arg is None else {"default": None}
        parser.add_argument(short, long, dest=long, **takes)
        flags.append(long)
    return parser, flags


def _only(name: str, values: Sequence[str]) -> str | None:
    if len(set(values)) > 1:
        raise UserError(f"--{name} is given more than once: {', '.join(values)}")
    return values[0] if values else None


def _split(tokens: Sequence[str]) -> tuple[str, Sequence[str]]:
    """Split `[COMMAND] [with UPDATE...]` into command and updates."""
    before, updates = tokens, tokens[:0]
    if "with" in tokens:
        at = tokens.index("with")
        before, updates = tokens[:at], tokens[at + 1 :]
    if not before:
        return "main", updates
    if "=" in before[0]:
        raise UserError(f"write `with` before the first assignment: ... with {before[0]}")
    if before[0] not in COMMANDS:
        raise UserError(f"unknown command {before[0]!r}{nearest(before[0], COMMANDS)}; known: {', '.join(COMMANDS)}")
    if len(before) > 1:
        raise UserError(f"unexpected {before[1]!r} after the command {before[0]!r}; assignments follow `with`")
    return before[0], updates


def read_updates(updates: Sequence[str]) -> dict[str, Any]:
    """Return the nested mapping of assignments `a.b=value` and of configuration files (json, yaml), in order.

    A value is a Python literal, true, false, null, or else text.
    """
    nested: dict[str, Any] = {}
    for update in updates:
        path, equals, value = update.partition("=")
        if equals:
            _assign(nested, path.strip(), read_value(value.strip(), update))
        elif Path(update).suffix in (".json", ".yaml", ".yml"):
            for key, one in read_yaml(Path(update)).items():
                if key not in DERIVED:
                    nested[key] = one
        else:
            raise UserError(f"{update!r} is neither an assignment key=value nor a configuration file (.json, .yaml)")
    return nested


def read_value(text: str, where: str) -> Any:
    """Turn the text of a value into a number, list, truth value, None or text; `where` is for the error message."""
    if text.lower() in WORDS:
        return WORDS[text.lower()]
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
        if text[:1] in BRACKETS or text[:1] in ("'", '"'):
            fault = "brackets or quotes do not match, or text inside brackets has no quotes"
            raise UserError(f"cannot read the value in {shown(where)}: {fault}") from error
        return text


def _assign(nested: dict[str, Any], path: str, value: Any) -> None:
    keys = path.split(".")
    if not all(key.isidentifier() for key in keys):
        raise UserError(f"{path!r} is not a key; write key=value or env_args.key=value without spaces around =")
    for depth, key in enumerate(keys[:-1], start=1):
        nested = nested.setdefault(key, {})
        if not isinstance(nested, dict):
            raise UserError(f"{path} contradicts the assignment of {'.'.join(keys[:depth])}")
    nested[keys[-1]] = value


def _check_options(options: Mapping[str, Any]) -> None:
    """Refuse values of Sacred's options on which Sacred would fail after the run has begun."""
    if options.get("--mongo_db") is not None:
        raise UserError(
            "--mongo_db stops a run, or loses results, when the server is away: use mongo_url=mongodb://..."
        )
    checks: dict[str, tuple[Callable[[str], bool], str]] = {
        "--loglevel": (_is_level, "0 to 50 or one of " + ", ".join(LEVELS)),
        "--beat-interval": (lambda text: _is_number(text) and float(text) >= 0.0, "seconds, 0 or more"),
        "--priority": (_is_number, "a number"),
        "--capture": (("no", "sys", "fd").__contains__, "no, sys or fd"),
        "--id": (lambda text: text.isidentifier() or text.isalnum(), "letters, digits and underscores"),
        "--name": (bool, "some text"),
        "--file_storage": (bool, "a directory"),
    }
    for flag, (holds, meaning) in checks.items():
        value = options.get(flag)
        if value is not None and not holds(value):
            raise UserError(f"{flag} must be {meaning}, got {value!r}")


def _is_level(text: str) -> bool:
    return text in LEVELS or (text.isdigit() and int(text) <= 50)  # noqa: PLR2004  (Python's highest level)


def _is_number(text: str) -> bool:
    try:
        return isfinite(float(text))
    except ValueError:
        return False
