"""Reading the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from utils.cli import parse, read_updates, read_value
from utils.errors import UserError


@pytest.mark.parametrize(
    "argv",
    [
        ["--config=fop", "--env-config=sc2", "with", "t_max=5"],
        ["--config", "fop", "--env-config", "sc2", "with", "t_max=5"],
        ["with", "t_max=5", "--config=fop", "--env-config=sc2"],
        ["main", "with", "t_max=5", "--env-config=sc2", "--config=fop"],
        ["--config=fop", "with", "t_max=5", "--env-config", "sc2"],
        ["--config=fop", "--config=fop", "--env-config=sc2", "with", "t_max=5"],
    ],
)
def test_pymarls_calling_convention(argv: list[str]) -> None:
    request = parse(argv)
    assert (request.alg, request.env, request.command, request.overrides) == ("fop", "sc2", "main", {"t_max": 5})


def test_sacreds_options() -> None:
    request = parse(
        ["print_config", "-n", "trial", "--comment=twice", "-l", "40", "-u", "-b", "5", "-C", "no", "--config=fop"]
    )
    given = {flag: value for flag, value in request.options.items() if value}
    expected: dict[str, Any] = {"--name": "trial", "--comment": "twice", "--loglevel": "40", "--unobserved": True}
    assert given == expected | {"--beat-interval": "5", "--capture": "no"}
    assert request.command == "print_config"


@pytest.mark.parametrize("argv", [["--help"], ["-h"], ["help"], ["with", "nonsense=1", "-h"], ["help", "main"]])
def test_help(argv: list[str]) -> None:
    assert parse(argv).command == "help"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5", 5),
        ("2e6", 2e6),
        ("-1", -1),
        ("True", True),
        ("false", False),
        ("None", None),
        ("null", None),
        ("3s_vs_3z", "3s_vs_3z"),
        ("3m", "3m"),
        ("1e5", 1e5),
        ("'1e5'", "1e5"),
        ("[[8,-12],[0,0]]", [[8, -12], [0, 0]]),
        ("{'a': 1}", {"a": 1}),
        ("", ""),
        ("results/sacred/1", "results/sacred/1"),
        ("a=b", "a=b"),
        ("__import__('os')", "__import__('os')"),
    ],
)
def test_values(text: str, value: Any) -> None:
    assert read_value(text, text) == value
    assert type(read_value(text, text)) is type(value)


@pytest.mark.parametrize("text", ["[[1,2],[3", "[a,b]", "'open", "{1:}", "(" * 300])
def test_values_that_do_not_close(text: str) -> None:
    with pytest.raises(UserError, match="brackets or quotes"):
        read_value(text, text)


def test_updates_nest_and_the_last_wins() -> None:
    updates = ["env_args.map_name=3m", "t_max=1", "env_args.deep.a=2", "t_max=3", " lr = 0.1 "]
    assert read_updates(updates) == {"env_args": {"map_name": "3m", "deep": {"a": 2}}, "t_max": 3, "lr": 0.1}


def test_a_recorded_configuration_is_an_update(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text('{"learner": "q_learner", "lr": 5e-4, "env_args": {"n": null}, "env_info": {"engine": "x"}}')
    updates = read_updates([str(path), "lr=1", "env_args.k=2"])
    assert updates == {"learner": "q_learner", "lr": 1, "env_args": {"n": None, "k": 2}}


def test_arguments_of_a_command_are_not_configuration() -> None:
    request = parse(["save_config", "with", "config_filename=a.json", "t_max=1"])
    assert (request.overrides, request.arguments) == ({"t_max": 1}, {"config_filename": "a.json"})
