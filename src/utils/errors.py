"""Errors a user can cause. They are shown as one line on stderr and end the program with exit code 2."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import fields
from difflib import get_close_matches
from typing import Any, TypeVar, get_type_hints

T = TypeVar("T")


class UserError(Exception):
    """Bad input. The message is one line: what is wrong, what is allowed, the nearest match."""


def nearest(word: str, known: Iterable[str]) -> str:
    """Return "; did you mean 'x'?" for the known word closest to `word`, or ""."""
    found = get_close_matches(str(word), list(known), n=1, cutoff=0.5)
    return f"; did you mean {found[0]!r}?" if found else ""


def check_keys(given: Collection[str], known: Collection[str], what: str) -> None:
    """Raise `UserError` for the first key of `given` that is not in `known`."""
    for key in given:
        if key not in known:
            raise UserError(f"unknown {what} {key!r}{nearest(key, known)}")


def _accepts(hint: Any, value: Any) -> bool:
    kinds = getattr(hint, "__args__", None) or (hint,)
    if bool in kinds and isinstance(value, bool):
        return True
    if isinstance(value, bool):
        return False
    if float in kinds and isinstance(value, int):
        return True
    return any(isinstance(value, kind) for kind in kinds if isinstance(kind, type))


def typed(cls: type[T], values: Mapping[str, Any], what: str) -> T:
    """Build the dataclass `cls` from `values`: no unknown, no missing, no wrongly typed key.

    An integral float is accepted where an int is declared (2e6 becomes 2000000), an int where a float is.
    Ranges are checked by the dataclass itself in `__post_init__`, raising `UserError`.
    """
    hints = get_type_hints(cls)
    check_keys(values, hints.keys(), what)
    out: dict[str, Any] = {}
    for item in fields(cls):  # type: ignore[arg-type]
        if item.name not in values:
            continue
        value, hint = values[item.name], hints[item.name]
        if isinstance(value, float) and value.is_integer() and not _accepts(hint, value) and _accepts(hint, 1):
            value = int(value)
        if hint not in (Any, object) and not _is_generic(hint) and not _accepts(hint, value):
            name = getattr(hint, "__name__", str(hint))
            raise UserError(f"{what} {item.name!r} must be {name}, got {value!r}")
        out[item.name] = float(value) if hint is float else value
    try:
        return cls(**out)
    except TypeError as error:
        raise UserError(f"{what}: {error}") from error


def _is_generic(hint: Any) -> bool:
    return getattr(hint, "__origin__", None) is not None
