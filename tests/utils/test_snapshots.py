"""Checkpoints to resume from: whole whatever happens, few files, nothing left over."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.episode_buffer import ReplayBuffer
from helpers import make_info, random_episode
from utils import checkpoint, snapshots
from utils.checkpoint import CheckpointError
from utils.errors import UserError
from utils.resume import checkpoints_in
from utils.snapshots import Snapshots, discard

INFO = make_info()


class Run:
    """A buffer that fills up and its checkpoints."""

    def __init__(self, folder: Path, keep: int = 2, capacity: int = 8) -> None:
        self.snapshots, self.rng = Snapshots(folder, keep), np.random.default_rng(0)
        self.buffer = ReplayBuffer(INFO, capacity, seed=1)

    def go_on(self, t_env: int, episodes: int = 3) -> str:
        """Collect, save; returns what the buffer holds."""
        for _ in range(episodes):
            self.buffer.insert(random_episode(INFO, int(self.rng.integers(1, 9)), True, self.rng))
        self.snapshots.save(t_env, {"t_env": t_env}, self.buffer)
        return content(self.buffer)


def content(buffer: ReplayBuffer) -> str:
    return checkpoint.digest([buffer.position(), buffer.pages(buffer.n_inserted - len(buffer), 10**9)[1]])


def load(folder: Path) -> tuple[int, str, list[str], Snapshots]:
    """t_env, content of the buffer, problems, the object that goes on."""
    buffer, again = ReplayBuffer(INFO, 8, seed=77), Snapshots(folder, 2)
    state, problems = again.load(buffer)
    return state["t_env"], content(buffer), problems, again


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "resume").iterdir())


@pytest.mark.parametrize("page_bytes", [1, 2000, 10**9])
def test_the_newest_comes_back(tmp_path: Path, page_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the buffer fills up and when it drops episodes; pages of any size."""
    monkeypatch.setattr(snapshots, "PAGE_BYTES", page_bytes)
    run = Run(tmp_path)
    for t_env in range(10, 120, 10):
        held = run.go_on(t_env)
        assert load(tmp_path)[:3] == (t_env, held, [])
        assert list(checkpoints_in(tmp_path)) == [step for step in (t_env - 10, t_env) if step >= 10]


def test_files_are_few(tmp_path: Path) -> None:
    """A checkpoint after every episode, 60 of them stored: a file per doubling, not per checkpoint."""
    run = Run(tmp_path, capacity=60)
    for t_env in range(90):
        run.go_on(t_env, episodes=1)
        assert len(run.snapshots.pages) <= 8
    assert len(files(tmp_path)) <= 2 + 2 * 8


def test_nothing_new_writes_no_episodes(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.go_on(10)
    before = [name for name in files(tmp_path) if name.startswith("episodes")]
    run.go_on(20, episodes=0)
    assert [name for name in files(tmp_path) if name.startswith("episodes")] == before


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "gone page", "cut page", "older page"])
def test_damage_is_noticed_and_the_one_before_used(tmp_path: Path, damage: str) -> None:
    run = Run(tmp_path, capacity=20)
    held = run.go_on(10, episodes=4)
    old_pages = {name: (tmp_path / "resume" / name).read_bytes() for name in files(tmp_path) if "episodes" in name}
    run.go_on(20, episodes=3)
    file = tmp_path / "resume" / "20.th"
    (page,) = [tmp_path / "resume" / n for n in files(tmp_path) if "episodes" in n and n not in old_pages]
    whole = file.read_bytes()
    if damage == "cut":
        file.write_bytes(whole[: len(whole) // 2])
    elif damage == "flip":
        at = whole.index(b"PCG64")
        file.write_bytes(whole[:at] + b"PCG65" + whole[at + 5 :])
    elif damage == "empty":
        file.write_bytes(b"")
    elif damage == "gone page":
        page.unlink()
    elif damage == "cut page":
        os.truncate(page, 100)
    else:
        page.write_bytes(next(iter(old_pages.values())))
    t_env, found, problems, again = load(tmp_path)
    assert (t_env, found, len(problems)) == (10, held, 1)
    assert "\n" not in problems[0]
    assert list(checkpoints_in(tmp_path)) == [10], "the damaged one is out of the way"
    assert again.pages == run.snapshots.pages[:1]


def test_all_damaged_names_each(tmp_path: Path) -> None:
    run = Run(tmp_path)
    for t_env in (10, 20):
        run.go_on(t_env)
    for file in checkpoints_in(tmp_path).values():
        file.write_bytes(b"x")
    with pytest.raises(CheckpointError, match=r"nothing to resume from in .*20\.th.*10\.th"):
        load(tmp_path)


def test_another_version_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Run(tmp_path).go_on(10)
    written = snapshots.VERSION
    monkeypatch.setattr(snapshots, "VERSION", 99)
    with pytest.raises(UserError, match=f"is of version {written}, this program resumes from version 99"):
        load(tmp_path)
    assert list(checkpoints_in(tmp_path)) == [10]


def test_a_crash_at_any_write_leaves_the_one_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process dies before each file is renamed into place, and before each old one is removed."""
    original: dict[str, Any] = {"replace": os.replace, "unlink": Path.unlink}
    for call in range(9):
        folder = tmp_path / str(call)
        run, count = Run(folder, keep=1), 0
        held = run.go_on(10)

        def dying(what: str, limit: int = call) -> Any:
            def do(*args: Any, **options: Any) -> Any:
                nonlocal count
                count += 1
                if count > limit:
                    raise KeyboardInterrupt
                return original[what](*args, **options)

            return do

        monkeypatch.setattr(os, "replace", dying("replace"))
        monkeypatch.setattr(Path, "unlink", dying("unlink"))
        try:
            newer = run.go_on(20)
            monkeypatch.undo()
            assert load(folder)[:2] == (20, newer)
            break
        except KeyboardInterrupt:
            monkeypatch.undo()
        t_env, found, problems, again = load(folder)
        assert (t_env, found) in ((10, held), (20, content(run.buffer)))
        assert problems == []
        listed = {file.name for file in again.needed}.union(*again.needed.values())
        assert set(files(folder)) == listed, "what the crash left half-done is gone"
    else:
        pytest.fail("more calls than expected")


def test_discard(tmp_path: Path) -> None:
    Run(tmp_path).go_on(10)
    discard(tmp_path)
    assert list(tmp_path.iterdir()) == []
    discard(tmp_path)
