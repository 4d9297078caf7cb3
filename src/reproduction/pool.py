"""Worker processes that each do many short runs, so that starting PyTorch is paid once per worker.

A worker that dies takes only its run with it: another one takes its place. If the parent dies, the workers end at once.
"""

from __future__ import annotations

import multiprocessing as mp
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from pathlib import Path

from utils.interrupt import StopRequest, requested

POLL_SECONDS = 0.5  # between two looks whether the user wants a stop
JOIN_SECONDS = 15.0  # a run that is asked to stop saves and ends within ten
BAD_EXIT = 1
IDLE = -1  # in place of the number of a command

Command = Sequence[str]  # arguments of main.py
Report = Callable[[int, int], None]  # called with the number of a command and its exit code


def run_all(commands: Sequence[Command], jobs: int, log: Path, report: Report) -> None:
    """Run `main.py` for each of `commands` in `jobs` worker processes.

    Args:
        commands: arguments of main.py, one sequence a run.
        jobs: number of processes.
        log: file that receives what the runs print, apart from their own cout.txt.
        report: called in this process after each run with its number and exit code (1 if its worker died).

    Raises:
        KeyboardInterrupt: Ctrl-C, SIGTERM or SIGHUP; the runs in progress have been stopped, each with its own record.
    """
    todo = iter(enumerate(commands))
    workers = [_Worker(log) for _ in range(min(jobs, len(commands)))]
    try:
        with StopRequest(last=True):
            for worker in workers:
                worker.take(todo)
            while busy := {id(worker.pipe): worker for worker in workers if worker.task != IDLE}:
                if requested():
                    raise KeyboardInterrupt
                for pipe in wait(
                    [worker.pipe for worker in busy.values()], POLL_SECONDS
                ):  # an answer, or closed by a worker that died
                    worker = busy[id(pipe)]
                    report(worker.task, worker.result())
                    worker.take(todo)
    finally:
        for worker in workers:
            worker.ask_to_stop()
        for worker in workers:
            worker.end()


class _Worker:
    """The parent's side of one process, which is replaced when it dies."""

    def __init__(self, log: Path) -> None:
        self.log = log
        self.task = IDLE
        self._start()

    def _start(self) -> None:
        context = mp.get_context("spawn")  # forking a process with running threads is not safe
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(theirs, self.log), name="reproduce worker", daemon=True)
        self.process.start()
        theirs.close()

    def take(self, todo: Iterator[tuple[int, Command]]) -> None:
        """Send the next command, if there is one."""
        self.task = IDLE
        for number, command in todo:
            self.task = number
            self.pipe.send(list(command))
            return

    def result(self) -> int:
        """Exit code of the command; 1 if the process died, which is then started anew."""
        try:
            return int(self.pipe.recv())
        except (EOFError, ConnectionResetError):
            self.pipe.close()
            self.process.join(JOIN_SECONDS)
            self._start()
            return BAD_EXIT

    def ask_to_stop(self) -> None:
        """Tell an idle worker to end and a busy one to stop its run."""
        if self.task != IDLE and self.process.pid is not None and self.process.is_alive():
            os.kill(self.process.pid, signal.SIGTERM)
        self.pipe.close()

    def end(self) -> None:
        """Wait for the process; kill one that does not end."""
        self.process.join(JOIN_SECONDS)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


def _work(pipe: Connection, log: Path) -> None:
    """Body of a worker: run what comes through the pipe and answer with exit codes, until the parent closes it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent says when to end
    threading.Thread(target=_end_with_parent, daemon=True).start()
    sink = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for stream in (1, 2):
        os.dup2(sink, stream)
    from main import main  # here: PyTorch is imported in the worker, once

    try:
        while True:
            code = main(pipe.recv())
            pipe.send(code)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return  # the parent wants no more


def _end_with_parent() -> None:
    """Leave without a word when the parent is gone: nobody would start the run's successor."""
    parent = mp.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(BAD_EXIT)
