"""The typed reading of configuration values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import pytest

from utils.errors import Range, UserError, check_keys, nearest, typed


@dataclass(frozen=True)
class Sample:
    count: Annotated[int, Range(1, 10**7)]
    share: Annotated[float, Range(0.0, 1.0)] = 0.5
    rate: Annotated[float, Range(above=0.0)] = 1.0
    kind: Literal["rnn", "mlp"] = "rnn"
    on: bool = True
    text: str = ""
    maybe: Annotated[int | None, Range(1)] = None
    table: Mapping[str, Any] = field(default_factory=dict)
    grid: str | Sequence[Any] = "paper"

    def __post_init__(self) -> None:
        if self.text == "forbidden":
            raise UserError("text must not be forbidden")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"count": 2e6}, 2_000_000),
        ({"count": 3, "share": 1}, 1.0),
        ({"count": 3, "maybe": None}, None),
        ({"count": 3, "maybe": 4.0}, 4),
        ({"count": 3, "on": False}, False),
        ({"count": 3, "grid": [[1, 2]]}, [[1, 2]]),
        ({"count": 3, "table": {"a": 1}}, {"a": 1}),
    ],
)
def test_converts(given: dict[str, Any], expected: Any) -> None:
    value = getattr(typed(Sample, given, "key"), list(given)[-1])
    assert value == expected
    assert type(value) is type(expected)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "missing key 'count'"),
        ({"cuont": 1}, "unknown key 'cuont'; did you mean 'count'?"),
        ({"count": 2.5}, "key 'count' must be an int >= 1 and <= 10000000, got 2.5"),
        ({"count": 0}, "got 0"),
        ({"count": True}, "got True"),
        ({"count": "3"}, "got '3'"),
        ({"count": 10**400}, "must be an int"),
        ({"count": float("inf")}, "got inf"),
        ({"count": 1, "share": float("nan")}, "got nan"),
        ({"count": 1, "share": -0.1}, "must be a float >= 0.0 and <= 1.0"),
        ({"count": 1, "rate": 0.0}, "must be a float > 0.0"),
        ({"count": 1, "kind": "mlpp"}, "one of 'rnn', 'mlp', got 'mlpp'; did you mean 'mlp'?"),
        ({"count": 1, "kind": ["rnn"]}, "one of 'rnn', 'mlp'"),
        ({"count": 1, "on": 1}, "must be True or False, got 1"),
        ({"count": 1, "text": 1e5}, "quote text that reads as something else"),
        ({"count": 1, "text": None}, "must be a str, got None"),
        ({"count": 1, "maybe": 0}, "an int or None >= 1, got 0"),
        ({"count": 1, "table": [1]}, "must be mapping, got [1]"),
        ({"count": 1, "grid": 7}, "must be a str or sequence"),
        ({"count": 1, "text": "forbidden"}, "text must not be forbidden"),
    ],
)
def test_refuses_with_one_line(given: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as error:
        typed(Sample, given, "key")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_values_are_shown_on_one_short_line() -> None:
    with pytest.raises(UserError) as error:
        typed(Sample, {"count": "x\ny" * 1000}, "key")
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 250


def test_nearest_is_silent_without_a_likeness() -> None:
    assert nearest("zzz", ["gamma", "lr"]) == ""
    check_keys(["lr"], ["lr"], "key")


def test_none_lies_in_every_range():
    """An optional number may be None whatever its bounds; other values are still checked."""
    assert typed(Sample, {"count": 1, "maybe": None}, "key").maybe is None
    with pytest.raises(UserError, match="maybe"):
        typed(Sample, {"count": 1, "maybe": 0}, "key")
