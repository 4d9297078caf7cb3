"""Mirrors a run while it runs: a thread that sends what is new every few seconds and never holds the run up."""

from __future__ import annotations

import shlex
import threading
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

from mirror.server import VARIABLE, Server, is_refusal, reason
from utils.console import LOG
from utils.errors import UserError
from utils.interrupt import requested
from utils.metricsfile import FILE_NAME as METRICS

if TYPE_CHECKING:
    from mirror.sync import RunSync

PROBE_SECONDS = 3.0  # a start waits at most this long for the server
CLOSE_SECONDS = 60.0  # the end of a run waits at most this long for the rest to be sent
STOP_SECONDS = 3.0  # the same after Ctrl-C, when the whole stop may take ten seconds
ROOT = Path(__file__).resolve().parents[2]


class Mirror:
    """Sends one run to a server.

    Args:
        server: where to.
        run_dir: the run's directory.
        interval: seconds between two looks at what is new, and between two attempts to reach a server that is away.
        checkpoint: whether the last networks are sent, too.
    """

    def __init__(self, server: Server, run_dir: Path, interval: float = 10.0, checkpoint: bool = False) -> None:
        self.server, self.run_dir, self.interval, self.checkpoint = server, run_dir, interval, checkpoint
        self.away = False  # whether the last attempt failed, which was then said
        self.complete = False  # whether everything was sent after the end of the run
        self._connection: Any = None
        self._sync: RunSync | None = None
        self._refused: Exception | None = None
        self._probed, self._ending, self._abandoned = threading.Event(), threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._work, name="mirror", daemon=True)

    def start(self) -> None:
        """Begin. A server that does not answer within three seconds is said to be away, and tried again and again.

        Raises:
            UserError: the server answers but refuses user or password.
        """
        self._thread.start()
        if not self._probed.wait(PROBE_SECONDS):
            self._lost(TimeoutError(f"no answer within {PROBE_SECONDS:.0f} s"))
        if self._refused is not None:
            raise UserError(f"MongoDB at {self.server.place} refuses: {reason(self._refused)}")

    def close(self, stopped: bool = False) -> bool:
        """Send the rest, as long as that takes less than a minute (three seconds if the run was `stopped`).

        What could not be sent is in the run's directory; the message names the command that sends it.

        Returns:
            Whether everything was sent.
        """
        self._ending.set()
        deadline = monotonic() + (STOP_SECONDS if stopped else CLOSE_SECONDS)
        while self._thread.is_alive() and monotonic() < deadline and (stopped or not requested()):
            self._thread.join(0.1)
        self._abandoned.set()
        number = self._sync.run_id if self._sync is not None else None
        if self.complete:
            LOG.info(f"MongoDB: run {number} of {self.server.database} at {self.server.place} is complete")
        else:
            LOG.warning(
                f"MongoDB: not everything was sent to {self.server.place}; nothing is lost, it is in {self.run_dir}. "
                f"Send it with: {self.command()}"
            )
        return self.complete

    def cancel(self) -> None:
        """End without sending: the run did not take place."""
        self._abandoned.set()
        self._ending.set()

    def command(self) -> str:
        """What sends the rest later; the server's URL comes from the environment, not from here."""
        script = shlex.quote(str(ROOT / "src" / "sync_mongo.py"))
        return f"{VARIABLE}=... python {script} {shlex.quote(str(self.run_dir))}"

    def _work(self) -> None:
        """The thread."""
        from pymongo.errors import PyMongoError

        try:
            client = self._client()
            client.admin.command("ping")
            client[self.server.database]["runs"].find_one({}, {"_id": 1})  # needs the rights a ping does not
        except PyMongoError as error:
            if is_refusal(error):
                self._refused = error
                self._probed.set()
                return
            self._lost(error)
        self._probed.set()
        self._follow()

    def _client(self) -> Any:
        """The connection. With mongodb+srv:// making it asks the network, so it may fail, and is tried again."""
        if self._connection is None:
            self._connection = self.server.connect()
        return self._connection

    def _follow(self) -> None:
        while not self._ending.wait(self.interval):
            if (self.run_dir / METRICS).exists():  # a run that is refused before its first result leaves nothing
                self._attempt()
        if not self._abandoned.is_set():
            self.complete = self._attempt()
        if self._connection is not None:
            self._connection.close()

    def _attempt(self) -> bool:
        """Send what is new; tell when the server goes and comes."""
        from mirror.sync import RunSync

        try:
            if self._sync is None:
                self._sync = RunSync(self._client()[self.server.database], self.run_dir, self.checkpoint)
            self._sync.sync()
        except Exception as error:  # whatever it is, the run must not suffer, and the files are complete
            self._lost(error)
            return False
        if self.away:
            self.away = False
            LOG.info(f"MongoDB at {self.server.place} is back: all that was missing is sent")
        return True

    def _lost(self, error: Exception) -> None:
        """Say once that the server is away."""
        if not self.away:
            self.away = True
            LOG.warning(
                f"MongoDB at {self.server.place} cannot be written to ({type(error).__name__}: {reason(error)}). "
                "The run goes on, its files are complete; sending is tried again until it succeeds"
            )
