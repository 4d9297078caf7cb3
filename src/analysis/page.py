"""One self-contained HTML page of a sweep: figures, tables, configurations, versions, runs and their films."""

from __future__ import annotations

import base64
import html
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from io import BytesIO
from pathlib import Path
from urllib.parse import quote

from analysis import curves, tables
from utils.runs import RunRecord, is_server, mixed_settings

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1c2733; background: #fff; max-width: 1180px; margin: 2em auto;
  padding: 0 1.5em; }
h1 { font-size: 1.6em; margin-bottom: 0.2em; } h2 { font-size: 1.2em; margin-top: 2em; }
h3 { font-size: 1em; margin-bottom: 0.4em; }
p.note { color: #55636f; font-size: 0.9em; max-width: 60em; }
p.warning { background: #fff4d6; border-left: 4px solid #d59b00; padding: 0.5em 0.8em; }
div.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: 0.88em; font-variant-numeric: tabular-nums; }
th { text-align: left; background: #eef2f5; white-space: nowrap; }
th, td { padding: 0.3em 0.7em; border-bottom: 1px solid #dde3e8; vertical-align: top; }
tr.leading td:nth-child(2) { font-weight: 600; }
table.results td:nth-child(n+6):nth-child(-n+8) { white-space: nowrap; }
img { max-width: 100%; height: auto; }
code { font-size: 0.92em; } details { margin: 0.5em 0; } summary { cursor: pointer; }
.COMPLETED { color: #176b35; } .FAILED, .DIED { color: #b3261e; } .INTERRUPTED, .RUNNING { color: #8a5a00; }
"""


@dataclass(frozen=True)
class Options:
    """What the page shows.

    Args:
        estimate: "mean" or "iqm".
        threshold: of the column "first >=", for the first metric.
        split: configuration keys that make curves of their own.
        command: the command line that wrote the page.
        notes: which runs are not shown or cut comparisons short.
    """

    estimate: str
    threshold: float
    split: Sequence[str]
    command: str
    notes: Sequence[str] = ()


def page(
    title: str, runs: Sequence[RunRecord], shown: Mapping[str, Sequence[RunRecord]], options: Options, folder: Path
) -> str:
    """The page as text.

    Args:
        title: heading.
        runs: listed on it.
        shown: metric -> the runs of its figure and table, at least one metric.
        options: see there.
        folder: where the page will lie; links are relative to it.
    """
    first = next(iter(shown))
    parts = [f"<h1>{esc(title)}</h1>", _summary(runs, options)]
    parts += [_warning(where, keys) for where, keys in mixed_settings(runs, options.split).items()]
    parts += [f'<p class="warning">{esc(note)}.</p>' for note in options.notes]
    parts += [_results(having, metric, options, metric == first) for metric, having in shown.items()]
    parts += [_runs(runs, first, folder), _configurations(runs), _versions(runs)]
    head = f'<meta charset="utf-8"><title>{esc(title)}</title><style>{STYLE}</style>'
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head>\n<body>\n' + "\n".join(parts) + "\n</body></html>\n"


def esc(value: object) -> str:
    """Text as HTML."""
    return html.escape(str(value))


def table(head: Sequence[str], rows: Iterable[Sequence[str]], classes: Sequence[str] = ()) -> str:
    """A table of cells that are HTML already."""
    top = "".join(f"<th>{cell}</th>" for cell in head)
    kind = ' class="results"' if classes else ""
    body = [
        f'<tr class="{classes[k] if classes else ""}">' + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>"
        for k, row in enumerate(rows)
    ]
    return f'<div class="wide"><table{kind}><thead><tr>{top}</tr></thead><tbody>{"".join(body)}</tbody></table></div>'


def _summary(runs: Sequence[RunRecord], options: Options) -> str:
    states = Counter(run.status or "unknown" for run in runs)
    steps = sum(run.rows[-1]["t_env"] for run in runs if run.rows)
    hours = sum(run.rows[-1].get("time", 0.0) for run in runs if run.rows) / 3600
    facts = {
        "Runs": f"{len(runs)}: " + ", ".join(f"{count} {esc(state)}" for state, count in sorted(states.items())),
        "Tasks": esc(", ".join(sorted({run.task for run in runs}))),
        "Algorithms": esc(", ".join(sorted({run.alg for run in runs}))),
        "Engines": esc(", ".join(sorted({run.engine for run in runs}))),
        "Training": f"{steps:,.0f} env steps, {hours:.1f} hours of all runs together",
        "Written": f"{datetime.now(timezone.utc):%Y-%m-%d %H:%M} UTC by <code>{esc(options.command)}</code>",
    }
    return table(("", ""), facts.items()).replace("<thead><tr><th></th><th></th></tr></thead>", "")


def _warning(where: str, keys: Sequence[str]) -> str:
    return (
        f'<p class="warning">The runs of {esc(where)} differ in {esc(", ".join(keys))}; their curve and their line mix '
        f"them. <code>--split {esc(','.join(keys))}</code> shows them apart.</p>"
    )


def _results(having: Sequence[RunRecord], metric: str, options: Options, first: bool) -> str:
    stream = BytesIO()
    threshold = options.threshold if first else None
    drawn = curves.figure(having, metric, options.estimate, options.split)
    drawn.savefig(stream, format="png", dpi=curves.RESOLUTION)
    curves.plt.close(drawn)
    data = base64.b64encode(stream.getvalue()).decode()
    lines = tables.lines_of(having, metric, threshold, options.estimate, options.split)
    head, rows = tables.cells(lines, threshold, options.estimate)
    return "\n".join(
        [
            f"<h2>{esc(metric)}</h2>",
            f'<img alt="learning curves of {esc(metric)}" src="data:image/png;base64,{data}">',
            table(
                [esc(cell) for cell in head],
                [[esc(cell) for cell in row] for row in rows],
                ["leading" if line.leading else "" for line in lines],
            ),
            f'<p class="note">{esc(tables.legend(options.estimate))} Bold: none is significantly better.</p>',
        ]
    )


def _runs(runs: Sequence[RunRecord], metric: str, folder: Path) -> str:
    head = [
        "run",
        "task",
        "algorithm",
        "seed",
        "status",
        "env steps",
        "minutes",
        f"last {esc(metric)}",
        "commit",
        "films",
    ]
    rows = []
    for run in runs:
        last, values = (run.rows[-1] if run.rows else {}), run.series(metric)[1]
        rows.append(
            [
                _link(run.path, folder, run.path.name),
                esc(run.task),
                esc(run.alg),
                esc(run.seed),
                f'<span class="{esc(run.status)}">{esc(run.status or "unknown")}</span>',
                f"{last.get('t_env', 0):,.0f}",
                f"{last.get('time', 0.0) / 60:.1f}",
                f"{values[-1]:.3f}" if len(values) else "-",
                esc(run.commit or "unknown"),
                " ".join(_link(film, folder, film.stem) for film in _films(run)) or "-",
            ]
        )
    films = "<code>python src/replay.py RUN --out RUN/battles</code> films a run of the embedded engine."
    return f"<h2>Runs</h2>{table(head, rows)}<p class='note'>{films}</p>"


def _films(run: RunRecord) -> list[Path]:
    return [] if is_server(run.path) else sorted(run.path.rglob("*.gif"))


def _link(target: Path, folder: Path, text: str) -> str:
    if not target.exists():
        return esc(text)
    return f'<a href="{esc(quote(os.path.relpath(target.resolve(), folder.resolve())))}">{esc(text)}</a>'


def _configurations(runs: Sequence[RunRecord]) -> str:
    """What all runs share, and per algorithm and task what is its own."""
    groups: dict[str, list[Mapping[str, object]]] = {}
    for run in runs:
        if run.config:
            groups.setdefault(f"{run.alg} on {run.task}", []).append(
                run.settings() | {"t_max": run.config.get("t_max")}
            )
    if not groups:
        return "<h2>Configurations</h2><p>none recorded</p>"
    everything = [one for members in groups.values() for one in members]
    shared = _common(everything)
    parts = ["<h2>Configurations</h2>"]
    for name, members in sorted(groups.items()):
        own = {key: value for key, value in _common(members).items() if key not in shared}
        parts.append(f"<details><summary>{esc(name)}: {len(own)} keys of its own</summary>{_keys(own)}</details>")
    parts.append(f"<details><summary>the same in all runs: {len(shared)} keys</summary>{_keys(shared)}</details>")
    return "\n".join(parts)


def _common(members: Sequence[Mapping[str, object]]) -> dict[str, object]:
    first = members[0]
    return {key: value for key, value in first.items() if all(key in one and one[key] == value for one in members)}


def _keys(values: Mapping[str, object]) -> str:
    return table(["key", "value"], [[f"<code>{esc(key)}</code>", esc(value)] for key, value in sorted(values.items())])


def _versions(runs: Sequence[RunRecord]) -> str:
    found: dict[str, set[str]] = {}
    for run in runs:
        own = {"commit": run.commit or "unknown", **run.header.get("versions", {})}
        own |= {key: run.meta.get("host", {}).get(key) for key in ("cpu", "os", "hostname", "gpus")}
        for name, value in own.items():
            if value:
                found.setdefault(name, set()).add(_shown(value))
    rows = [[esc(name), esc(", ".join(sorted(values)))] for name, values in found.items()]
    return f"<h2>Versions and machines</h2>{table(['what', 'in these runs'], rows)}"


def _shown(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
