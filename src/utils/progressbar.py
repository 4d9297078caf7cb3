"""The live display on a terminal: a bar with two lines of numbers, redrawn only when told to (no thread)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from utils.timehelper import time_left, time_str

if TYPE_CHECKING:
    from utils.console import Progress


class LiveBar:
    """A progress bar at the foot of the terminal; other output passes above it."""

    def __init__(self) -> None:
        self._console = Console()
        self._live = Live(console=self._console, auto_refresh=False, transient=True)
        self._live.start()

    def say(self, text: str) -> None:
        """Print `text` above the bar."""
        self._console.print(Text(text))

    def draw(self, progress: Progress) -> None:
        """Show `progress`."""
        left = time_str(time_left(progress.t_env, progress.t_max, progress.steps_per_second))
        row = Table.grid(padding=(0, 1))
        row.add_row(
            ProgressBar(total=progress.t_max, completed=min(progress.t_env, progress.t_max), width=30),
            Text(f"{progress.t_env:,} of {progress.t_max:,} ({progress.t_env / progress.t_max:.1%}), left {left}"),
        )
        text = Text(" | ".join(part for part in progress.details() if part), style="dim", overflow="ellipsis")
        self._live.update(Group(row, text), refresh=True)

    def stop(self) -> None:
        """Take the bar away."""
        self._live.stop()
