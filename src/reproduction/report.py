"""The files a study ends in: one Markdown page, one CSV file, figures, with where they come from."""

from __future__ import annotations

import csv
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib as mpl

from reproduction.session import Result
from reproduction.study import Cell, Study, flat

mpl.use("Agg")  # writes files, needs no display
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from PIL import Image

DPI = 120
COLOURS = 256  # in the palette of a figure's file
PACKAGES = ("torch", "numpy")


class Report:
    """Collects what a renderer has to say and writes it beside each other.

    Args:
        study: what was done.
        results: its finished runs.
        out: folder of the files `<study>.md`, `<study>.csv`, `<study>*.png`; made if missing.
    """

    def __init__(self, study: Study, results: Sequence[Result], out: Path) -> None:
        self.study, self.results, self.out = study, results, out
        self._parts: list[str] = []
        self._rows: list[Mapping[str, Any]] = []
        self._written: list[Path] = []
        out.mkdir(parents=True, exist_ok=True)

    def text(self, markdown: str) -> None:
        """Add a paragraph, heading or table."""
        self._parts.append(markdown.strip())

    def table(self, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Add a Markdown table."""
        self.text(markdown_table(head, rows))

    def row(self, values: Mapping[str, Any]) -> None:
        """Add a line of the CSV file; lines need not have the same columns."""
        self._rows.append(values)

    def figure(self, figure: Figure, caption: str, suffix: str = "") -> None:
        """Write a figure as `<study><suffix>.png`, show it in the page and close it."""
        path = self.out / f"{self.study.name}{suffix}.png"
        drawn = BytesIO()
        figure.savefig(drawn, dpi=DPI, format="png")
        plt.close(figure)
        colours = Image.open(drawn).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)  # a third of the size
        colours.save(path, optimize=True)
        self._written.append(path)
        self.text(f"![{caption}]({path.name})")

    def write(self) -> list[Path]:
        """Write the Markdown page and the CSV file; returns the paths of all files."""
        page, data = (self.out / f"{self.study.name}.{kind}" for kind in ("md", "csv"))
        head = [f"# {self.study.file.title}", self.study.file.about.strip(), provenance(self.study, self.results)]
        page.write_text("\n\n".join([*head, *self._parts, settings(self.study)]) + "\n", encoding="utf-8")
        columns = list(dict.fromkeys(key for row in self._rows for key in row))
        with data.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, columns, lineterminator="\n")
            writer.writeheader()
            writer.writerows(self._rows)
        return [page, data, *self._written]


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; bars within cells are escaped."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def provenance(study: Study, results: Sequence[Result]) -> str:
    """Command, commits, seeds, runs that are missing, time and versions."""
    seeds = sorted({study.seeds_of(case) for case in study.cases})
    wanted, minutes = len(study.cells()), sum(seconds(result) for result in results) / 60
    commits = sorted({result.commit or "unknown" for result in results})
    recorded = sum(result.path.is_file() for result in results)
    lines = [
        f"Command: `{command(study, records=recorded > 0)}`",
        f"Seeds: {', '.join(f'0 to {last - 1}' for last in seeds)}" + " (by case)" * (len(seeds) > 1),
        f"Runs: {len(results)} of {wanted}" + ("" if len(results) == wanted else " **(incomplete)**"),
        f"Commit: {', '.join(commits)}" + " (+: with uncommitted changes)" * any("+" in one for one in commits),
        f"Time: {minutes:.0f} core minutes of training, {60 * minutes / max(len(results), 1):.0f} s a run",
        f"Versions: {versions(results)}",
    ]
    lines += [f"Taken from records: {recorded} of these runs"] if recorded else []
    lines += [f"Not in this version, left out: {', '.join(study.missing)}"] if study.missing else []
    return "\n".join(f"- {line}" for line in lines)


def versions(results: Sequence[Result]) -> str:
    """What the runs were made with, most runs first; the packages of records from before they were kept are unknown."""
    made = [result.header.get("versions") or {} for result in results]
    texts = [", ".join(f"{name} {one[name]}" for name in PACKAGES if name in one) or "not recorded" for one in made]
    counts = Counter(texts).most_common()
    return "; ".join(text if len(counts) == 1 else f"{text} ({count} run{'s' * (count > 1)})" for text, count in counts)


def command(study: Study, records: bool = False) -> str:
    """The command that makes this page, from `records` where runs were taken from them."""
    given = [f"--method {shlex.quote(name)}" for name in study.chosen]
    given += [f"--{flag} {value}" for flag, value in (("seeds", study.limit), ("t-max", study.t_max)) if value]
    return " ".join(["python src/reproduce.py", study.name, *given, *["--records"] * records])


def seconds(result: Result) -> float:
    """Time from the start of training to its last entry in the log."""
    return float(result.rows[-1]["time"]) if result.rows else 0.0


def settings(study: Study) -> str:
    """Every key that differs from the algorithm's yaml, by method and case."""
    shorter = "" if study.t_max is None else f", but no run longer than {study.t_max:,} env steps"
    lines = ["## Settings", f"For all: {_assignments(study.file.shared)}{shorter}"]
    used = [method for method in study.methods if any(method in study.methods_of(case) for case in study.cases)]
    lines.append("\n".join(f"- {method.name}: `{method.alg}`, {_assignments(method.overrides)}" for method in used))
    for case in study.cases:
        lines.append(f"{case.title}: {_assignments(case.overrides)}")
        present = {method.name for method in study.methods_of(case)}
        own = [f"- {name}: {_assignments(keys)}" for name, keys in case.per_method.items() if name in present]
        lines += ["\n".join(own)] if own else []
    return "\n\n".join(lines)


def _assignments(overrides: Mapping[str, Any]) -> str:
    return " ".join(f"`{key}={value}`" for key, value in flat(overrides)) or "as in its yaml"


def in_cell(results: Sequence[Result], method: str, case: str) -> list[Result]:
    """The results of one method in one case, by seed."""
    return [result for result in results if (result.cell.method.name, result.cell.case.name) == (method, case)]


def columns_of(cell: Cell) -> dict[str, Any]:
    """The first columns of a CSV line."""
    return {"method": cell.method.name, "case": cell.case.name, "seed": cell.seed}
