"""Ending training early: counting in a row, the key that switches it on, a run that ends by it."""

import json

import pytest

from helpers import make_config
from run import run
from utils.earlystop import EarlyStop
from utils.errors import UserError
from utils.logging import Logger


def test_only_tests_in_a_row_count():
    stop = EarlyStop("won", 0.9, 2)
    for value, reached in ((0.9, False), (0.5, False), (1.0, False), (0.95, True)):
        stop.add({"won": value})
        assert stop.reached is reached


def test_off_by_default_and_an_unknown_metric_is_named():
    stop = EarlyStop("won", 0.9, 0)
    stop.add({})
    assert not stop.reached
    with pytest.raises(UserError, match="stop_metric='wom' is not measured by tests; did you mean 'won'"):
        EarlyStop("wom", 0.9, 1).add({"won": 1.0})


def test_a_run_ends_early(tmp_path):
    """Returns of the matrix game are at least -12: after the second test and the final one."""
    keys = {"t_max": 400, "test_interval": 20, "test_nepisode": 2, "stop_tests": 2, "save_model": False}
    config = make_config("vdn", batch_size_run=4, stop_metric="test_return_mean", stop_level=-12.0, **keys)
    run(config, Logger(tmp_path), tmp_path)
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [row["t_env"] for row in rows if "test_return_mean" in row] == [0, 20, 24]
