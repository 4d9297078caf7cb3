"""Errors a user can cause. They are shown as one line on stderr and end the program with exit code 2."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, fields
from difflib import get_close_matches
from math import isfinite
from reprlib import Repr
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")

_SHORT = Repr()
_SHORT.maxstring = _SHORT.maxother = 80


class UserError(Exception):
    """Bad input. The message is one line: what is wrong, what is allowed, the nearest match."""


class WrongActionsError(UserError):
    """The algorithm does not learn from the environment's kind of actions."""


@dataclass(frozen=True)
class Range:
    """Bounds of a number, used as `Annotated[float, Range(0, 1)]`; a bound that is None is not checked.

    Args:
        low: smallest allowed value.
        high: largest allowed value.
        above: the value must be greater than this.
        below: the value must be less than this.
    """

    low: float | None = None
    high: float | None = None
    above: float | None = None
    below: float | None = None

    def holds(self, value: float | None) -> bool:
        """Tell whether `value` lies within the bounds; None, where the type allows it, always does."""
        return value is None or (
            (self.low is None or value >= self.low)
            and (self.high is None or value <= self.high)
            and (self.above is None or value > self.above)
            and (self.below is None or value < self.below)
        )

    def __str__(self) -> str:
        """Describe the bounds, for example " >= 0 and <= 1"."""
        signs = ((">=", self.low), (">", self.above), ("<=", self.high), ("<", self.below))
        return " and".join(f" {sign} {bound}" for sign, bound in signs if bound is not None)


def nearest(word: str, known: Iterable[str]) -> str:
    """Return "; did you mean 'x'?" for the known word closest to `word`, or "". Upper and lower case are close."""
    by_lower = {one.lower(): one for one in known}
    found = get_close_matches(str(word).lower(), by_lower, n=1, cutoff=0.5)
    return f"; did you mean {by_lower[found[0]]!r}?" if found else ""


def shown(value: object) -> str:
    """Represent `value` on one line of bounded length."""
    return _SHORT.repr(value)


def check_keys(given: Collection[str], known: Collection[str], what: str) -> None:
    """Raise `UserError` for the first key of `given` that is not in `known`."""
    for key in given:
        if key not in known:
            raise UserError(f"unknown {what} {key!r}{nearest(key, known)}")


def typed(cls: type[T], values: Mapping[str, Any], what: str) -> T:
    """Build the dataclass `cls` from `values`: no unknown, no missing, no wrongly typed key.

    An integral float is accepted where an int is declared (2e6 becomes 2000000), an int where a float is.
    Ranges are declared as `Annotated[int, Range(1)]`, choices as `Literal["a", "b"]`; what depends on several
    fields is checked by the dataclass itself in `__post_init__`, raising `UserError`.
    """
    check_keys(values, hints_of(cls), what)
    for item in _required(cls):
        if item.name not in values:
            raise UserError(f"missing {what} {item.name!r}")
    return cls(**checked(cls, values, what))


def checked(cls: type, values: Mapping[str, Any], what: str) -> dict[str, Any]:
    """Return those `values` that are fields of the dataclass `cls`, checked and converted as in `typed`."""
    hints = hints_of(cls)
    return {key: convert(hints[key], value, f"{what} {key!r}") for key, value in values.items() if key in hints}


def hints_of(cls: type) -> dict[str, Any]:
    """Return name -> declared type, with its `Range`, for each field of the dataclass `cls`."""
    hints = get_type_hints(cls, include_extras=True)
    return {item.name: hints[item.name] for item in fields(cls)}


def convert(hint: Any, value: Any, what: str) -> Any:
    """Return `value` as the type `hint`; raise `UserError` if it is not one or lies outside its `Range`."""
    kinds, bounds = _parts(hint)
    number = _as_number(kinds, value)
    inside = not isinstance(number, (int, float)) or all(bound.holds(number) for bound in bounds)
    if not inside or not any(_accepts(kind, number) for kind in kinds):
        raise UserError(f"{what} must be {_describe(kinds, bounds)}, got {shown(value)}{_hint(kinds, value)}")
    return number


def _required(cls: type) -> list[Field[Any]]:
    return [item for item in fields(cls) if item.default is MISSING and item.default_factory is MISSING]


def _parts(hint: Any) -> tuple[list[Any], list[Range]]:
    """Split a type hint into its alternatives and its ranges."""
    if get_origin(hint) is Annotated:
        inner, *extras = get_args(hint)
        kinds, bounds = _parts(inner)
        return kinds, bounds + [extra for extra in extras if isinstance(extra, Range)]
    if get_origin(hint) in (Union, UnionType):
        parts = [_parts(choice) for choice in get_args(hint)]
        return [kind for kinds, _ in parts for kind in kinds], [bound for _, bounds in parts for bound in bounds]
    return [hint], []


def _as_number(kinds: Collection[Any], value: Any) -> Any:
    if isinstance(value, bool):
        return value
    if isinstance(value, float) and int in kinds and float not in kinds and value.is_integer():
        return int(value)
    if isinstance(value, int) and float in kinds and int not in kinds and abs(value) < 2**53:
        return float(value)
    return value


def _accepts(kind: Any, value: Any) -> bool:
    origin = get_origin(kind)
    if kind is Any or kind is object:
        return True
    if origin is Literal:
        return value in get_args(kind)
    if isinstance(value, bool):
        return kind is bool
    if isinstance(value, float) and not isfinite(value):
        return False
    if isinstance(value, str) and kind is not str:
        return False
    if origin in (list, tuple, Sequence):
        return isinstance(value, (list, tuple))
    return isinstance(value, origin or kind)


def _describe(kinds: Collection[Any], bounds: Iterable[Range]) -> str:
    return " or ".join(_name(kind) for kind in kinds) + "".join(str(bound) for bound in bounds)


def _name(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(repr(choice) for choice in get_args(kind))
    names = {bool: "True or False", int: "an int", float: "a float", str: "a str", NoneType: "None"}
    return names.get(kind) or str(getattr(get_origin(kind) or kind, "__name__", kind)).lower()


def _hint(kinds: Collection[Any], value: Any) -> str:
    choices = [choice for kind in kinds if get_origin(kind) is Literal for choice in get_args(kind)]
    if choices:
        return nearest(value, [str(choice) for choice in choices])
    if str in kinds and isinstance(value, (bool, int, float)):
        return f"""; quote text that reads as something else, on a command line twice: key="'{value}'\""""
    return ""
