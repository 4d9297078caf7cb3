"""The text of --help: usage, options, every configuration with its one-line meaning."""

from __future__ import annotations

from collections.abc import Mapping

from utils.cli import COMMANDS
from utils.configfile import available

USAGE = """\
Usage:
  python src/main.py --config=ALG --env-config=ENV [COMMAND] [with KEY=VALUE ...] [options]
  python src/main.py --help | --list-maps

Trains the algorithm ALG in the environment ENV. Configuration, later ones win:
src/config/default.yaml < src/config/envs/ENV.yaml < src/config/algs/ALG.yaml < command line.
default.yaml gives the meaning and unit of every key. Results go to results/sacred/<id>/.

Examples:
  python src/main.py --config=fop --env-config=sc2 with env_args.map_name=3s_vs_3z
  python src/main.py --config=qmix --env-config=matrix_game with env_args.payoff=[[8,-12],[0,0]] t_max=2e4 seed=1
  python src/main.py print_config --config=vdn --env-config=sc2
  python src/main.py with results/sacred/7/config.json label=again
  python src/main.py with resume=results/sacred/7
"""
COMMAND_MEANINGS = {
    "main": "Train, or test with evaluate=True (the default).",
    "print_config": "Print the configuration with what was changed, do not run.",
    "print_dependencies": "Print source files and package versions.",
    "save_config": "Write the configuration to config.json (config_filename=...).",
    "print_named_configs": "Print Sacred's named configurations (there are none).",
}


def help_text() -> str:
    """Return the whole text."""
    from sacred.experiment import gather_command_line_options

    options = {", ".join(option.get_flags()): _first_line(option) for option in gather_command_line_options()}
    own = {
        "--config ALG": "The algorithm, one of those below.",
        "--env-config ENV": "The environment, one of those below.",
        "--list-maps": "Print the maps of the environment sc2.",
    }
    sections = {
        "Algorithms (--config)": available("algs"),
        "Environments (--env-config)": available("envs"),
        "Commands": {name: COMMAND_MEANINGS[name] for name in COMMANDS},
        "Options": own,
        "Options of Sacred": options,
    }
    return "\n".join([USAGE, *(_section(title, rows) for title, rows in sections.items())])


def table(rows: Mapping[str, str]) -> str:
    """Lay out name and meaning in two columns."""
    width = max(map(len, rows), default=0)
    return "\n".join(f"  {name.ljust(width)}  {meaning}".rstrip() for name, meaning in rows.items())


def _section(title: str, rows: Mapping[str, str]) -> str:
    return f"{title}:\n{table(rows)}\n"


def _first_line(option: object) -> str:
    text = str(option.get_description()) if hasattr(option, "get_description") else str(option.__doc__ or "")
    return text.strip().split("\n")[0]
