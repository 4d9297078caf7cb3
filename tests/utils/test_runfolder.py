"""The run's directory: whole files, whoever writes them."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from utils.runfolder import RunFolder


def test_two_threads_writing_one_file_never_collide(tmp_path: Path) -> None:
    """The heartbeat's thread and the end of a run may write info.json at the same moment."""
    folder = RunFolder(tmp_path)
    folder.dir = str(tmp_path)
    infos = [{"return_mean": [float(k)] * 1000} for k in range(200)]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(folder.write_info, infos))
    assert json.loads((tmp_path / "info.json").read_text()) in infos
    assert [path.name for path in tmp_path.iterdir()] == ["info.json"]


def test_a_directory_that_another_process_made_first_is_not_removed(tmp_path: Path) -> None:
    """Two commands with the same id have both found it free; the slower one fails and cleans up."""
    (tmp_path / "job").mkdir()
    (tmp_path / "job" / "metrics.jsonl").write_text("rows")
    folder = RunFolder(tmp_path)
    with pytest.raises(FileExistsError):
        folder._make_run_dir("job")
    folder.discard()
    assert (tmp_path / "job" / "metrics.jsonl").read_text() == "rows"
