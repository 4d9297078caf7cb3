"""Processes that misbehave: groups that must die, clocks, output, and how long to wait before the next try."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from envs import supervision
from envs.supervision import GameKeeper, Patience

STUBBORN = 'trap "" TERM; sleep 1000 & echo "child $!"; wait'  # a shell with a child; both ignore SIGTERM
ORPHANED = """
import os, sys, time
sys.path.insert(0, sys.argv[1])
from envs.supervision import GameKeeper
keeper = GameKeeper()
keeper.start(["sh", "-c", "sleep 1000 & echo $!; wait"], None, os.environ)
while not keeper.last_words():
    time.sleep(0.01)
print(keeper.process.pid, keeper.last_words(), flush=True)
time.sleep(1000)
"""


@pytest.fixture
def keeper() -> Iterator[GameKeeper]:
    made = GameKeeper()
    yield made
    made.kill()


def shell(keeper: GameKeeper, script: str) -> int:
    return keeper.start(["sh", "-c", script], None, os.environ).pid


def words(keeper: GameKeeper) -> str:
    deadline = time.monotonic() + 10
    while not keeper.last_words() and time.monotonic() < deadline:
        time.sleep(0.01)
    return keeper.last_words()


def gone(pid: int) -> bool:
    """Whether no such process runs; a corpse that its new parent has not collected yet counts as gone."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.01)
    return False


def test_the_whole_group_is_killed_even_if_it_ignores_sigterm(keeper: GameKeeper) -> None:
    pid = shell(keeper, STUBBORN)
    child = int(words(keeper).split()[1])
    assert keeper.running and not gone_now(child)
    keeper.kill()
    assert gone(pid) and gone(child) and not keeper.running


def gone_now(pid: int) -> bool:
    return not psutil.pid_exists(pid)


def test_a_limit_that_passes_kills_and_says_what_took_too_long(keeper: GameKeeper) -> None:
    pid = shell(keeper, STUBBORN)
    with keeper.limit(0.2, "a step"):
        keeper.process.wait(10)
    assert keeper.overdue == "a step took more than 0.2 s" and gone(pid)


def test_a_limit_that_is_kept_changes_nothing(keeper: GameKeeper) -> None:
    shell(keeper, STUBBORN)
    with keeper.limit(0.2, "a step"):
        pass
    time.sleep(0.3)
    assert keeper.running and keeper.overdue == ""


def test_the_game_does_not_outlive_a_trainer_that_is_killed() -> None:
    source = str(Path(supervision.__file__).resolve().parents[1])
    trainer = subprocess.Popen([sys.executable, "-c", ORPHANED, source], stdout=subprocess.PIPE, text=True)
    game, child = (int(pid) for pid in trainer.stdout.readline().split())
    trainer.send_signal(signal.SIGKILL)
    trainer.communicate()
    assert gone(game) and gone(child)


def test_a_second_start_ends_the_first(keeper: GameKeeper) -> None:
    first = shell(keeper, "sleep 1000")
    second = shell(keeper, "sleep 1000")
    assert gone(first) and not gone_now(second)


def test_finish_waits_for_a_game_that_was_asked_to_quit(keeper: GameKeeper, monkeypatch: pytest.MonkeyPatch) -> None:
    shell(keeper, "exit 7")
    assert keeper.finish() == 7
    monkeypatch.setattr(supervision, "QUIT_SECONDS", 0.1)
    shell(keeper, STUBBORN)
    assert keeper.finish() == -signal.SIGKILL
    assert GameKeeper().finish() is None


def test_last_words_are_the_last_line_and_do_not_disturb_the_writer(keeper: GameKeeper) -> None:
    shell(keeper, "echo one; echo two; echo; sleep 0.3; echo three; sleep 1000")
    assert words(keeper) in ("one", "two")
    time.sleep(0.6)
    assert keeper.last_words() == "three"
    assert GameKeeper().last_words() == ""


def test_no_files_are_left_behind(keeper: GameKeeper, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    shell(keeper, "echo hello; sleep 1000")
    keeper.kill()
    assert list(tmp_path.iterdir()) == []


def test_a_program_that_is_not_there_is_an_os_error(keeper: GameKeeper) -> None:
    with pytest.raises(OSError, match="no such program"):
        keeper.start(["/no such program"], None, os.environ)
    assert not keeper.running


def test_patience_waits_longer_each_time_and_ends() -> None:
    patience = Patience(tries=3, longest=3.0)
    assert [patience.delay(failures) for failures in range(6)] == [0.0, 0.0, 1.0, 2.0, 3.0, 3.0]
    assert patience.total() == 3.0
    assert [patience.failed() for _ in range(4)] == [True, True, True, False]
    patience.succeeded()
    assert patience.failures == 0
