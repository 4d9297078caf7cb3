"""Checkpoints on disk: one file each, written atomically, checked when read, loaded without running any code.

A file holds a nested dictionary of tensors, numbers, strings and lists. The networks of a run lie in
`<run_dir>/models/<t_env>/checkpoint.th`; what a killed run goes on from is in `utils/snapshots.py`.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch as th

from utils.errors import UserError

FILE_NAME = "checkpoint.th"
FORMAT = 3  # raised when a reader of this version could not read what is written


class CheckpointError(UserError):
    """A checkpoint is missing, damaged or of another format."""


def save(path_dir: Path | str, state: Mapping[str, Any]) -> Path:
    """`write` to `<path_dir>/checkpoint.th`, usually `<run_dir>/models/<t_env>`; returns the path of the file."""
    file = Path(path_dir) / FILE_NAME
    write(file, state)
    _sync_directory(file.parent.parent)
    return file


def write(file: Path, state: Mapping[str, Any]) -> str:
    """Write `state` to `file` so that a crash at any moment leaves the old file or the new.

    Args:
        file: where to; its folder is made if missing.
        state: nested dictionaries, lists and tuples of tensors, numbers, strings, bytes, booleans and None.

    Returns:
        The checksum.

    Raises:
        TypeError: `state` holds something else, for example a NumPy array; the message says where.
        CheckpointError: the disk is full or cannot be written to.
    """
    body = _plain(state, "state")
    checksum = _digest(body)
    part = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as opened:
            th.save({"format": FORMAT, "checksum": checksum, "state": body}, opened)
            opened.flush()
            os.fsync(opened.fileno())
        os.replace(part, file)
        _sync_directory(file.parent)
    except (OSError, RuntimeError) as error:
        cause = error if isinstance(error, OSError) else error.__context__  # PyTorch wraps what writing raises
        if not isinstance(cause, OSError):
            raise
        raise CheckpointError(f"cannot write checkpoint {file}: {cause.strerror}") from error
    finally:
        part.unlink(missing_ok=True)
    return checksum


def digest(state: Any) -> str:
    """SHA-256 of structure, types and every bit of the tensors: equal for equal states and for no others.

    Args:
        state: what `write` takes.
    """
    return _digest(_plain(state, "state"))


def load(path: Path | str) -> dict[str, Any]:
    """`read` a checkpoint, the file or the folder it lies in."""
    file = Path(path)
    return read(file / FILE_NAME if file.is_dir() else file)


def read(file: Path, checksum: str = "") -> dict[str, Any]:
    """Read a checkpoint file onto the CPU.

    Args:
        file: what `write` wrote.
        checksum: the one that `write` returned, if the file must be that one and no other.

    Raises:
        CheckpointError: it cannot be read, its checksum is wrong or its format another.
    """
    try:
        whole = th.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file makes PyTorch raise almost anything
        reason = str(error).split("\n")[0].split(". ")[0] or type(error).__name__
        raise CheckpointError(f"cannot read checkpoint {file}: {reason}") from error
    if not isinstance(whole, dict) or whole.get("format") != FORMAT:
        found = whole.get("format") if isinstance(whole, dict) else type(whole).__name__
        raise CheckpointError(f"checkpoint {file} has format {found!r}, this version reads {FORMAT}")
    if _digest(whole["state"]) != whole["checksum"]:
        raise CheckpointError(f"checkpoint {file} is damaged: its content does not match its checksum")
    if checksum not in ("", whole["checksum"]):
        raise CheckpointError(f"checkpoint {file} is not the expected one: its checksum differs")
    state: dict[str, Any] = whole["state"]
    return state


def steps_in(models: Path) -> dict[int, Path]:
    """Return t_env -> file of the checkpoints in a models directory, oldest first."""
    files = {
        int(folder.name): folder / FILE_NAME
        for folder in (models.iterdir() if models.is_dir() else ())
        if folder.name.isdigit() and (folder / FILE_NAME).is_file()
    }
    return dict(sorted(files.items()))


def drop_after(models: Path, t_env: int) -> None:
    """Remove checkpoints past `t_env`: a resumed run writes its own."""
    for step, file in steps_in(models).items():
        if step > t_env:
            shutil.rmtree(file.parent)


def find(checkpoint_path: Path | str, load_step: int = 0) -> Path:
    """Return the checkpoint file to load.

    Args:
        checkpoint_path: a run directory, its models directory, one checkpoint's folder or the file itself.
        load_step: env step, the closest one is taken (the later of two equally close); 0 is the newest.

    Raises:
        CheckpointError: there is none; the message says what exists.
    """
    root = Path(checkpoint_path).expanduser()
    if root.is_file():
        return root
    if not root.is_dir():
        raise CheckpointError(f"checkpoint_path {str(root)!r} does not exist{_runs_beside(root)}")
    if (root / FILE_NAME).is_file():
        return root / FILE_NAME
    found = steps_in(root / "models") or steps_in(root)
    if not found:
        content = ", ".join(sorted(item.name for item in root.iterdir())[:10]) or "nothing"
        raise CheckpointError(f"no checkpoint in {str(root)!r}: expected models/<t_env>/{FILE_NAME}, found {content}")
    return found[closest(found, load_step)]


def closest(steps: Iterable[int], load_step: int) -> int:
    """The newest of `steps` for 0, else the closest one, the later of two equally close."""
    return max(steps) if load_step == 0 else min(steps, key=lambda t_env: (abs(t_env - load_step), -t_env))


def _runs_beside(missing: Path) -> str:
    if not missing.parent.is_dir():
        return ""
    runs = [folder.name for folder in sorted(missing.parent.iterdir()) if (folder / "models").is_dir()]
    return f"; with checkpoints beside it: {', '.join(runs[:10])}" if runs else ""


def _plain(value: Any, where: str) -> Any:
    """Copy to plain containers and CPU tensors that own no more memory than they show."""
    if isinstance(value, Mapping):
        return {_key(key, where): _plain(item, f"{where}[{key!r}]") for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item, f"{where}[{i}]") for i, item in enumerate(value)]
    if isinstance(value, th.Tensor):
        tensor = value.detach().cpu()
        return tensor.clone() if tensor.untyped_storage().nbytes() > tensor.nbytes else tensor
    if value is None or type(value) in (bool, int, float, str, bytes):
        return value
    raise TypeError(f"{where} is a {type(value).__name__}: a checkpoint holds tensors, numbers, text, lists, dicts")


def _key(key: Any, where: str) -> int | str:
    if type(key) not in (int, str):
        raise TypeError(f"{where} has the key {key!r}: keys are text or integers")
    result: int | str = key
    return result


def _digest(state: Any) -> str:
    whole = hashlib.sha256()
    _feed(whole, state)
    return whole.hexdigest()


def _feed(whole: Any, value: Any) -> None:
    if isinstance(value, dict):
        whole.update(b"{%d" % len(value))
        for key, item in value.items():
            whole.update(repr(key).encode())
            _feed(whole, item)
    elif isinstance(value, list):
        whole.update(b"[%d" % len(value))
        for item in value:
            _feed(whole, item)
    elif isinstance(value, th.Tensor):
        whole.update(f"tensor {value.dtype} {tuple(value.shape)}".encode())
        whole.update(value.contiguous().reshape(-1).view(th.uint8).numpy())
    else:
        whole.update(f"{type(value).__name__} {value!r}".encode())


def _sync_directory(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
