"""Keeps an eye on an external game: one process group at a time, a clock for every question, no survivors."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

from utils.timehelper import unless_done

# The guard reads from a pipe that only this process holds open; when the process is gone, so is the game.
GUARD = 'read -r _; kill -s KILL -- "-$1"'
WORDS_KEPT = 2000  # bytes of the game's last output that are looked at
QUIT_SECONDS = 5.0  # how long a game that was asked to quit may take


class GameKeeper:
    """Starts a game in a process group of its own, kills the whole group when a time limit passes or at the end.

    The group also dies with this process, however that ends. POSIX only.
    """

    def __init__(self) -> None:
        self.process: subprocess.Popen[bytes] | None = None
        self.overdue = ""  # what took too long and was ended for it, if anything
        self._guard: subprocess.Popen[bytes] | None = None
        self._output: IO[bytes] | None = None

    @property
    def running(self) -> bool:
        """Whether the game is there."""
        return self.process is not None and self.process.poll() is None

    def start(
        self, command: Sequence[str], folder: Path | None, environment: Mapping[str, str]
    ) -> subprocess.Popen[bytes]:
        """Start the game; what it prints is kept for `last_words`.

        Args:
            command: program and arguments.
            folder: its working directory; None: ours.
            environment: its environment variables.

        Raises:
            OSError: it cannot be started.
        """
        self.kill()
        self._output = tempfile.TemporaryFile()  # noqa: SIM115  (closed by the next start)
        self.process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        watch = ["sh", "-c", GUARD, "sh", str(self.process.pid)]
        self._guard = subprocess.Popen(
            watch,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        return self.process

    def kill(self) -> None:
        """End the game's process group, now. Nothing if there is none."""
        guard, self._guard = self._guard, None
        if guard is not None and guard.stdin is not None:
            guard.kill()
            guard.wait()
            guard.stdin.close()
        if self.process is not None:
            self._signal_group()
            self.process.wait()
            self.process = None  # once: its number may soon be another process's

    def _signal_group(self) -> None:
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):  # nobody of the group is left
                os.killpg(self.process.pid, signal.SIGKILL)

    def finish(self) -> int | None:
        """Give a game that was asked to quit a moment, then kill what is left; returns its exit code."""
        process = self.process
        if process is None:
            return None
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(QUIT_SECONDS)
        self.kill()
        return process.returncode

    @contextlib.contextmanager
    def limit(self, seconds: float, what: str) -> Iterator[None]:
        """Kill the game if the block takes longer than `seconds`: what waits for it gets an error then.

        `overdue` says so afterwards.
        """
        self.overdue = ""

        def strike() -> None:
            self.overdue = f"{what} took more than {seconds:g} s"
            self._signal_group()

        with unless_done(seconds, strike):
            yield

    def last_words(self) -> str:
        """The last line the game printed, or ""."""
        if self._output is None:
            return ""
        file = self._output.fileno()
        size = os.fstat(file).st_size
        # pread: the game writes at the file's own position, which must stay where it is
        lines = os.pread(file, WORDS_KEPT, max(size - WORDS_KEPT, 0)).decode(errors="replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "")


class Patience:
    """How long to wait before the next try: not at all, then 1, 2, 4, ... seconds; how many tries there are.

    Args:
        tries: failures in a row after which `failed` says that it is enough.
        longest: seconds, the most to wait.
    """

    def __init__(self, tries: int, longest: float = 30.0) -> None:
        self.tries, self.longest = tries, longest
        self.failures = 0

    def failed(self) -> bool:
        """Count a failure; whether another try is left."""
        self.failures += 1
        return self.failures <= self.tries

    def succeeded(self) -> None:
        """Forget the failures."""
        self.failures = 0

    def pause(self) -> None:
        """Wait as long as the failures in a row ask for."""
        time.sleep(self.delay(self.failures))

    def delay(self, failures: int) -> float:
        """Seconds to wait after so many failures in a row."""
        return min(2.0 ** (failures - 2), self.longest) if failures > 1 else 0.0

    def total(self) -> float:
        """Seconds waited in the worst case."""
        return sum(self.delay(failures) for failures in range(1, self.tries + 1))
