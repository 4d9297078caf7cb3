"""YAML files that remember line numbers, so that every error names the line and what is allowed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, TypeVar

import yaml

from utils.errors import UserError, check_keys, typed

T = TypeVar("T")


class Section(dict[str, Any]):
    """A YAML mapping that knows its file, its line and the line of each key."""

    file: str = ""
    line: int = 0
    lines: Mapping[str, int]

    def error(self, message: str, key: str | None = None) -> UserError:
        """A `UserError` that starts with "file:line:", the line of `key` if one is given."""
        line = self.lines.get(key, self.line) if key is not None else self.line
        return UserError(f"{self.file}:{line}: {message}")


class _Loader(yaml.SafeLoader):
    def section(self, node: yaml.MappingNode) -> Section:
        """Build a `Section` from a mapping node; keys become strings, a repeated key is an error."""
        found = Section()
        found.file, found.line = Path(self.name).name, node.start_mark.line + 1
        lines: dict[str, int] = {}
        for key_node, value_node in node.value:
            key = str(self.construct_object(key_node, deep=True))
            lines[key] = key_node.start_mark.line + 1
            if key in found:
                raise UserError(f"{found.file}:{lines[key]}: {key!r} is given twice")
            found[key] = self.construct_object(value_node, deep=True)
        found.lines = lines
        return found


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _Loader.section)


def read(path: Path) -> Section:
    """Read a YAML file whose top level is a mapping.

    Raises:
        UserError: the file is missing, is not YAML, or is not a mapping.
    """
    try:
        with path.open(encoding="utf-8") as stream:
            value = yaml.load(stream, Loader=_Loader)  # a SafeLoader
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"cannot read {path}: not UTF-8 text") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else 1
        raise UserError(f"{path.name}:{line}: not valid YAML: {getattr(error, 'problem', error)}") from error
    if not isinstance(value, Section):
        raise UserError(f"{path.name}:1: expected 'key: value' lines")
    return value


def build(cls: type[T], section: Any, what: str, parent: Section) -> T:
    """Build the dataclass `cls` from a section; unknown, missing or mistyped keys are errors with their line."""
    if not isinstance(section, Section):
        raise parent.error(f"{what} must be a mapping, got {section!r}")
    known = {item.name: item for item in fields(cls)}  # type: ignore[arg-type]
    for key in section:
        try:
            check_keys([key], known, f"key of {what}")
        except UserError as error:
            raise section.error(f"{error}; allowed: {', '.join(known)}", key) from error
    for name, item in known.items():
        if name not in section and item.default is MISSING and item.default_factory is MISSING:
            raise section.error(f"{what} lacks {name!r}")
    try:
        return typed(cls, section, what)
    except UserError as error:
        named = next((key for key in section if repr(key) in str(error)), None)
        raise section.error(str(error), named) from error


def merge(base: Section, override: Mapping[str, Any]) -> Section:
    """A copy of `base` with the values of `override`; mappings are merged key by key."""
    out = Section(base)
    out.file, out.line, out.lines = base.file, base.line, base.lines
    for key, value in override.items():
        old = out.get(key)
        out[key] = merge(old, value) if isinstance(old, Section) and isinstance(value, Mapping) else value
    return out
