"""What a killed run goes on from: `<run_dir>/resume/<t_env>.th` and the replayed episodes beside it.

Episodes never change once they are collected, so a checkpoint writes only those that came since the last one, into
`episodes_<first>_<end>.th`, and lists the files it needs with their checksums. It counts from the moment its own file
is renamed into place, which comes last: a crash at any moment leaves the previous checkpoint whole.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from components.episode_buffer import ReplayBuffer
from utils import checkpoint
from utils.checkpoint import CheckpointError
from utils.errors import UserError
from utils.resume import FOLDER, checkpoints_in

VERSION = 2  # of what a checkpoint to resume from holds; raised with every change that makes older ones useless
PAGE_BYTES = 32 * 1024**2  # of episodes in one file, roughly: bounds the memory that saving takes


def discard(run_dir: Path) -> None:
    """Remove what a run could be resumed from."""
    shutil.rmtree(run_dir / FOLDER, ignore_errors=True)


class Snapshots:
    """Writes and reads the checkpoints of one run.

    Args:
        run_dir: the run's directory.
        keep: how many checkpoints stay; older ones are removed.
    """

    def __init__(self, run_dir: Path, keep: int) -> None:
        self.run_dir, self.folder, self.keep = run_dir, run_dir / FOLDER, keep
        self.pages: list[dict[str, Any]] = []  # files of episodes on disk that the buffer still needs, in order
        self.needed: dict[Path, set[str]] = {}  # checkpoint -> its files of episodes, oldest first

    def save(self, t_env: int, state: Mapping[str, Any], buffer: ReplayBuffer) -> Path:
        """Write a checkpoint of `state` and the buffer; then remove what is too old."""
        self._write_new_episodes(buffer)
        file = self.folder / f"{t_env}.th"
        whole = {"version": VERSION, "state": state, "buffer": buffer.position(), "pages": self.pages}
        checkpoint.write(file, whole)
        self.needed.pop(file, None)
        self.needed[file] = {page["file"] for page in self.pages}
        for old in list(self.needed)[: -self.keep]:
            del self.needed[old]
        self._tidy()
        return file

    def load(self, buffer: ReplayBuffer) -> tuple[dict[str, Any], list[str]]:
        """Restore the buffer from the newest checkpoint that is whole; newer ones are removed.

        Returns:
            Its state, and a line for each damaged checkpoint that was passed over.

        Raises:
            UserError: there is none (a `CheckpointError`), or another version of the program wrote it.
        """
        problems: list[str] = []
        for file in reversed(checkpoints_in(self.run_dir).values()):
            try:
                whole = checkpoint.read(file)
                _check_version(whole, file)
                buffer.refill(whole["buffer"], self._read_pages(whole["pages"]))
            except CheckpointError as error:
                problems.append(str(error))
                continue
            self.pages = whole["pages"]
            self._adopt(file)
            return whole["state"], problems
        raise CheckpointError(f"nothing to resume from in {self.folder}" + "".join(f"; {line}" for line in problems))

    def _adopt(self, newest: Path) -> None:
        """Keep `newest` and those before it that can be read; one that cannot is not worth its space."""
        self.needed = {}
        for file in checkpoints_in(self.run_dir).values():
            try:
                pages = checkpoint.read(file)["pages"] if int(file.stem) <= int(newest.stem) else []
            except CheckpointError:
                continue
            if pages or file == newest:
                self.needed[file] = {page["file"] for page in pages}
        self._tidy()

    def _write_new_episodes(self, buffer: ReplayBuffer) -> None:
        """Write the episodes that no file holds yet, together with those of files that are no larger than they.

        So the files are few, and an episode is written again only when its file doubles.
        """
        oldest = buffer.n_inserted - len(buffer)
        self.pages = [page for page in self.pages if page["end"] > oldest]
        first = max(self.pages[-1]["end"] if self.pages else 0, oldest)
        if first == buffer.n_inserted:
            return
        while self.pages and not self.pages[-1]["full"] and self._count(self.pages[-1]) <= buffer.n_inserted - first:
            first = max(self.pages.pop()["first"], oldest)
        while first < buffer.n_inserted:
            end, content = buffer.pages(first, PAGE_BYTES)
            name = f"episodes_{first}_{end}.th"
            checksum = checkpoint.write(self.folder / name, content)
            full = end < buffer.n_inserted
            self.pages.append({"file": name, "first": first, "end": end, "checksum": checksum, "full": full})
            first = end

    @staticmethod
    def _count(page: Mapping[str, Any]) -> int:
        return int(page["end"] - page["first"])

    def _read_pages(self, pages: list[dict[str, Any]]) -> Iterator[tuple[int, dict[str, Any]]]:
        for page in pages:
            yield page["first"], checkpoint.read(self.folder / page["file"], page["checksum"])

    def _tidy(self) -> None:
        """Remove checkpoints, then episodes, that nothing refers to, and what a crash left half-written."""
        wanted = {file.name for file in self.needed}.union(*self.needed.values())
        for file in sorted(self.folder.iterdir()):  # digits before letters
            if file.name not in wanted:
                file.unlink()


def _check_version(whole: Mapping[str, Any], file: Path) -> None:
    if whole.get("version") != VERSION:
        raise UserError(f"{file} is of version {whole.get('version')}, this program resumes from version {VERSION}")
