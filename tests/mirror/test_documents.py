"""Reading the files of a run that is still being written."""

import json
import threading
from pathlib import Path

import pytest

from mirror.documents import read_json


def test_a_file_that_is_being_rewritten_is_read_once_it_is_whole(tmp_path: Path) -> None:
    """Sacred truncates run.json and writes it anew at every heartbeat."""
    path = tmp_path / "run.json"
    path.write_text("")
    timer = threading.Timer(0.05, path.write_text, ['{"status": "RUNNING"}'])
    timer.start()
    assert read_json(path) == {"status": "RUNNING"}
    timer.join()


def test_a_file_that_stays_broken_is_an_error_and_a_missing_one_is_empty(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    assert read_json(path) == {}
    path.write_text("{")
    with pytest.raises(json.JSONDecodeError):
        read_json(path)
