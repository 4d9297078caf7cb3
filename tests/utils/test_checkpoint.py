"""Checkpoints: exact, atomic, checked, found."""

from __future__ import annotations

import os
import random
import resource
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch as th

from utils import checkpoint
from utils.checkpoint import CheckpointError
from utils.errors import UserError


def sample_state() -> dict[str, Any]:
    network = th.nn.Linear(3, 2)
    optimiser = th.optim.Adam(network.parameters())
    network(th.ones(1, 3)).sum().backward()
    optimiser.step()
    return {
        "network": network.state_dict(),
        "optimiser": optimiser.state_dict(),
        "numbers": {1: 2, "x": [1, 2.5, None, True, 2**100, float("inf")]},
        "text": "ä",
        "empty": th.zeros(0, 3),
        "scalar": th.tensor(3.0),
        "bits": th.tensor([True, False]),
        "half": th.ones(2, dtype=th.float16),
        "view": th.arange(1_000_000)[:3],
        "turned": th.arange(6).reshape(2, 3).T,
    }


def same(left: Any, right: Any) -> bool:
    if isinstance(left, th.Tensor):
        return isinstance(right, th.Tensor) and left.dtype == right.dtype and th.equal(left, right)
    if isinstance(left, dict):
        return list(left) == list(right) and all(same(left[key], right[key]) for key in left)
    if isinstance(left, (list, tuple)):
        return len(left) == len(right) and all(map(same, left, right))
    return type(left) is type(right) and left == right


def test_round_trip_is_exact(tmp_path: Path) -> None:
    state = sample_state()
    path = checkpoint.save(tmp_path / "models" / "100", state)
    assert path == tmp_path / "models" / "100" / "checkpoint.th"
    assert same(state, checkpoint.load(path))
    assert same(state, checkpoint.load(path.parent))
    assert path.stat().st_size < 100_000, "a view must not drag its whole storage along"
    assert [item.name for item in path.parent.iterdir()] == ["checkpoint.th"]


def test_a_live_tensor_is_saved_as_it_is_now(tmp_path: Path) -> None:
    weight = th.ones(3)
    checkpoint.save(tmp_path, {"weight": weight})
    weight += 1
    assert checkpoint.load(tmp_path)["weight"].tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize(
    ("state", "where"),
    [
        ({"a": {"b": np.zeros(3)}}, "state['a']['b'] is a ndarray"),
        ({"a": [1, np.float64(2)]}, "state['a'][1] is a float64"),
        ({"a": object()}, "state['a'] is a object"),
        ({(1, 2): 3}, "state has the key (1, 2)"),
    ],
)
def test_refuses_what_could_not_be_loaded_safely(tmp_path: Path, state: dict[Any, Any], where: str) -> None:
    with pytest.raises(TypeError) as error:
        checkpoint.save(tmp_path, state)
    assert where in str(error.value)
    assert not (tmp_path / "checkpoint.th").exists()


def test_every_damage_is_noticed(tmp_path: Path) -> None:
    state = sample_state()
    path = checkpoint.save(tmp_path, state)
    whole = path.read_bytes()
    rng = random.Random(0)
    for _ in range(60):
        damaged = bytearray(whole)
        damaged[rng.randrange(len(whole))] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        try:
            assert same(state, checkpoint.load(path)), "damage outside the content must not change it"
        except CheckpointError:
            continue
    for length in (0, 1, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointError):
            checkpoint.load(path)


def test_a_changed_number_does_not_match_the_checksum(tmp_path: Path) -> None:
    path = checkpoint.save(tmp_path, {"t_env": 5, "w": th.zeros(2)})
    whole = th.load(path, weights_only=True)
    whole["state"]["w"][1] = 1e-7
    th.save(whole, path)
    with pytest.raises(CheckpointError, match="does not match its checksum"):
        checkpoint.load(path)
    th.save({"format": 99}, path)
    with pytest.raises(CheckpointError, match=f"has format 99, this version reads {checkpoint.FORMAT}"):
        checkpoint.load(path)


def test_a_crash_while_writing_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint.save(tmp_path, {"t_env": 1})
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        checkpoint.save(tmp_path, {"t_env": 2})
    assert checkpoint.load(tmp_path) == {"t_env": 1}
    assert [item.name for item in tmp_path.iterdir()] == ["checkpoint.th"]


@pytest.mark.parametrize("size", [30_000, 3_000_000])
def test_a_full_disk_is_one_line(tmp_path: Path, size: int) -> None:
    """A file may not grow beyond a limit, as if the disk were full; the old file stays."""
    checkpoint.save(tmp_path, {"t_env": 1})
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, old[1]))
    try:
        with pytest.raises(CheckpointError, match=r"cannot write checkpoint .*checkpoint\.th: File too large"):
            checkpoint.save(tmp_path, {"w": th.zeros(size)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
    assert checkpoint.load(tmp_path) == {"t_env": 1}
    assert [item.name for item in tmp_path.iterdir()] == ["checkpoint.th"]


def test_digest_tells_every_bit(tmp_path: Path) -> None:
    state = sample_state()
    digest = checkpoint.digest(state)
    assert checkpoint.digest(checkpoint.load(checkpoint.save(tmp_path, state))) == digest
    for change in ({"half": th.ones(2)}, {"text": "a"}, {"scalar": th.tensor(-3.0)}, {"empty": th.zeros(3, 0)}):
        assert checkpoint.digest(state | change) != digest
    assert checkpoint.digest({"zero": 0.0}) != checkpoint.digest({"zero": -0.0})


def test_never_runs_code_of_a_file(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return (os.mkdir, (str(tmp_path / "harm"),))

    th.save({"format": 1, "checksum": "", "state": Evil()}, tmp_path / "checkpoint.th")
    with pytest.raises(CheckpointError):
        checkpoint.load(tmp_path)
    assert not (tmp_path / "harm").exists()


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    for t_env in (100, 20_000, 3_000):
        checkpoint.save(tmp_path / "7" / "models" / str(t_env), {"t_env": t_env})
    (tmp_path / "7" / "models" / "50000").mkdir()  # a crash before the file was there
    return tmp_path / "7"


@pytest.mark.parametrize(
    ("load_step", "found"), [(0, 20_000), (1, 100), (100, 100), (1550, 3_000), (2_900, 3_000), (10**9, 20_000)]
)
def test_find_takes_the_newest_or_the_closest(run_dir: Path, load_step: int, found: int) -> None:
    for start in (run_dir, run_dir / "models", str(run_dir)):
        assert checkpoint.find(start, load_step) == run_dir / "models" / str(found) / "checkpoint.th"


def test_find_takes_a_checkpoint_itself(run_dir: Path) -> None:
    folder = run_dir / "models" / "100"
    assert checkpoint.find(folder) == checkpoint.find(folder / "checkpoint.th") == folder / "checkpoint.th"


def test_find_says_what_exists(run_dir: Path) -> None:
    with pytest.raises(UserError, match="does not exist; with checkpoints beside it: 7"):
        checkpoint.find(run_dir.parent / "8")
    with pytest.raises(UserError, match=r"no checkpoint in .* found 7"):
        checkpoint.find(run_dir.parent)


def test_what_lies_past_a_step_is_dropped(run_dir: Path) -> None:
    checkpoint.drop_after(run_dir / "models", 3_000)
    assert list(checkpoint.steps_in(run_dir / "models")) == [100, 3_000]


def test_steps_in_order(run_dir: Path) -> None:
    assert list(checkpoint.steps_in(run_dir / "models")) == [100, 3_000, 20_000]
    assert checkpoint.steps_in(run_dir / "nothing") == {}
