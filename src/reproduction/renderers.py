"""Registry of renderers: name in a study's yaml -> "module:function".

A renderer is `render(study, results, report)`: it adds text, rows and figures to the report, which writes the files.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from reproduction.report import Report
from reproduction.session import Result
from reproduction.study import Study
from utils.errors import UserError, nearest

REGISTRY: dict[str, str] = {
    "learning_curves": "reproduction.learning_curves:render",
    "learning_paths": "reproduction.learning_paths:render",
    "outcomes": "reproduction.outcomes:render",
    "payoff_tables": "reproduction.payoff_tables:render",
    "success_rates": "reproduction.success_rates:render",
}


def render(study: Study, results: Sequence[Result], out: Path) -> list[Path]:
    """Write the files of a study into `out`; returns their paths.

    Raises:
        UserError: the study names a renderer that does not exist.
    """
    name = study.file.renderer
    if name not in REGISTRY:
        raise UserError(f"studies/{study.name}.yaml: unknown renderer {name!r}{nearest(name, REGISTRY)}")
    module, function = REGISTRY[name].split(":")
    report = Report(study, results, out)
    getattr(import_module(module), function)(study, results, report)
    return report.write()
