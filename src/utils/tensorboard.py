"""TensorBoard event files through one of two writers, imported only when asked for."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from utils.errors import UserError

MODULES = {"tensorboardX": "tensorboardX", "tensorboard-logger": "tensorboard_logger"}
REMEDIES = {
    "tensorboardX": "pip install -r requirements.txt",
    "tensorboard-logger": "pip install -r requirements-tensorboard-logger.txt (or choose tensorboardX)",
}


class Writer(Protocol):
    """What the logger needs of a writer."""

    def add(self, name: str, value: float, t_env: int) -> None:
        """Record one number."""

    def close(self) -> None:
        """Write what is buffered."""


def require(backend: str) -> Any:
    """Import the library of `backend`; `UserError` with the remedy if that fails."""
    try:
        return import_module(MODULES[backend])
    except (ImportError, TypeError) as error:  # TypeError: a protobuf that is too new for tensorboard-logger
        reason = str(error).strip().split("\n")[0]
        raise UserError(f"tensorboard_backend={backend} cannot be used: {reason}; {REMEDIES[backend]}") from error


def make_writer(backend: str, folder: Path) -> Writer:
    """Return a writer of event files in `folder`."""
    return _X(folder) if backend == "tensorboardX" else _Logger(folder)


def clear_events(folder: Path) -> None:
    """Remove the event files in `folder`."""
    for file in folder.glob("events.out.tfevents.*"):
        file.unlink()


class _X:
    def __init__(self, folder: Path) -> None:
        self._writer = require("tensorboardX").SummaryWriter(str(folder), flush_secs=30)

    def add(self, name: str, value: float, t_env: int) -> None:
        self._writer.add_scalar(name, value, t_env)

    def close(self) -> None:
        self._writer.close()


class _Logger:
    """tensorboard-logger flushes by itself and has nothing to close."""

    def __init__(self, folder: Path) -> None:
        self._writer = require("tensorboard-logger").Logger(str(folder))

    def add(self, name: str, value: float, t_env: int) -> None:
        self._writer.log_value(name, value, t_env)

    def close(self) -> None:
        """Nothing is held back."""
