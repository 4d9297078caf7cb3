"""Reading the yaml files of `src/config`: strict, safe, with errors that name file and line."""

from __future__ import annotations

import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from utils.errors import UserError, nearest, shown

CONFIG_DIR = Path(__file__).resolve().parent.parent / "config"
KINDS = {"algs": "algorithm", "envs": "environment", "studies": "study"}  # folder -> what its files describe


class _StrictLoader(yaml.SafeLoader):
    """`SafeLoader` that refuses a key given twice and reads 5e-4 as a number, which YAML 1.1 does not."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Build a mapping; `yaml.MarkedYAMLError` for a repeated key."""
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.MarkedYAMLError(problem=f"key {key.value!r} is given twice", problem_mark=key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


_StrictLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a yaml file whose top level is a mapping with text keys.

    Raises:
        UserError: if it cannot be read or is not such a file; the message names file and line.
    """
    try:
        loader = _StrictLoader(path.read_text(encoding="utf-8"))
        data = loader.get_single_data() or {}
    except (OSError, UnicodeError) as error:
        raise UserError(f"cannot read {path}: {error}") from error
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise UserError(f"{path}{line}: {error.problem}") from error
    except yaml.YAMLError as error:
        raise UserError(f"{path}: {error}") from error
    if not isinstance(data, dict) or not all(isinstance(key, str) for key in data):
        raise UserError(f"{path} must hold `key: value` lines, got {shown(data)}")
    return data


def available(kind: str) -> dict[str, str]:
    """Return name -> one-line meaning of each configuration of a kind, "algs" or "envs"."""
    return {path.stem: _meaning(path) for path in sorted((CONFIG_DIR / kind).glob("*.yaml"))}


def read_named(kind: str, name: str) -> dict[str, Any]:
    """Read the configuration `name` of a kind, "algs" or "envs"; `UserError` if there is none."""
    known = [path.stem for path in sorted((CONFIG_DIR / kind).glob("*.yaml"))]
    if name not in known:
        raise UserError(f"unknown {KINDS[kind]} {name!r}{nearest(name, known)}; known: {', '.join(known)}")
    return read_yaml(CONFIG_DIR / kind / f"{name}.yaml")


def _meaning(path: Path) -> str:
    with path.open(encoding="utf-8") as file:
        first = file.readline()
    return first.lstrip("# ").strip() if first.startswith("#") else ""
