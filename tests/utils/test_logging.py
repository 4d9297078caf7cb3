"""The log of a run: complete, parseable, resumable; messages and progress for people."""

from __future__ import annotations

import io
import json
import logging
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch as th

from utils.console import LOG, Console, boxed, show_messages
from utils.errors import UserError
from utils.logging import Logger
from utils.metricsfile import FILE_NAME, MetricsFile, read_metrics
from utils.tensorboard import require


def lines(run_dir: Path) -> list[dict[str, Any]]:
    return [json.loads(line, parse_constant=lambda name: pytest.fail(name)) for line in open(run_dir / FILE_NAME)]


def test_every_line_is_there_at_once(tmp_path: Path) -> None:
    logger = Logger(tmp_path, {"alg": "vdn", "seed": 3})
    logger.header({"engine": "embedded"})
    logger.log(10, {"return_mean": np.float32(1.5), "loss": th.tensor(2.0), "episode": 3})
    header, row = lines(tmp_path)  # before any close or flush
    assert header == {"header": True, "alg": "vdn", "seed": 3, "engine": "embedded"}
    assert row.pop("time") >= 0.0
    assert row == {"t_env": 10, "return_mean": 1.5, "loss": 2.0, "episode": 3.0}


def test_the_header_comes_first_even_if_nobody_completes_it(tmp_path: Path) -> None:
    Logger(tmp_path, {"alg": "vdn"}).log(0, {"x": 1})
    assert [next(iter(line)) for line in lines(tmp_path)] == ["header", "t_env"]


def test_what_is_not_finite_becomes_null_and_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    logger = Logger(tmp_path)
    for t_env in range(3):
        logger.log(t_env, {"loss": math.nan, "norm": -math.inf, "fine": 1.0})
    assert [(row["loss"], row["norm"], row["fine"]) for row in lines(tmp_path)[1:]] == [(None, None, 1.0)] * 3
    assert [record.getMessage().split(" at")[0] for record in caplog.records] == ["loss is nan", "norm is -inf"]


@pytest.mark.parametrize("name", ["t_env", "time", "header"])
def test_reserved_names_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="reserved"):
        Logger(tmp_path).log(0, {name: 1.0})


def test_a_metric_that_is_no_number_is_an_error(tmp_path: Path) -> None:
    with pytest.raises((TypeError, ValueError, RuntimeError)):
        Logger(tmp_path).log(0, {"loss": th.zeros(2)})


def test_sacred_gets_pymarls_keys(tmp_path: Path) -> None:
    published: list[dict[str, list[Any]]] = []
    logger = Logger(tmp_path, publish=published.append)
    for t_env in (5, 10):
        logger.log(t_env, {"return_mean": t_env / 2, "test_battle_won_mean": np.float64(0.5)})
    logger.close()
    assert published[-1] == {
        "return_mean": [2.5, 5.0],
        "return_mean_T": [5, 10],
        "test_battle_won_mean": [0.5, 0.5],
        "test_battle_won_mean_T": [5, 10],
    }
    assert published[0] == {key: values[:1] for key, values in published[-1].items()}, "a snapshot never changes"
    assert json.dumps(published[-1])


def test_publishing_is_rare(tmp_path: Path) -> None:
    published: list[Any] = []
    logger = Logger(tmp_path, publish=published.append)
    for t_env in range(2000):
        logger.log(t_env, {"x": 1.0})
    assert len(published) <= 3


@pytest.mark.parametrize("torn", [b"", b'{"t_env": 3, "ti', b"\x00" * 100_000])
def test_a_torn_last_line_is_dropped(tmp_path: Path, torn: bytes) -> None:
    logger = Logger(tmp_path)
    logger.log(1, {"x": 1.0})
    logger.close()
    with open(tmp_path / FILE_NAME, "ab") as file:
        file.write(torn)
    assert [row["t_env"] for row in read_metrics(tmp_path / FILE_NAME)[1]] == [1]
    again = MetricsFile(tmp_path / FILE_NAME)
    again.append({"t_env": 2})
    again.close()
    assert [line.get("t_env") for line in lines(tmp_path)] == [None, 1, 2]


def test_a_resumed_log_continues_exactly(tmp_path: Path) -> None:
    published: list[Any] = []
    logger = Logger(tmp_path, {"seed": 1}, publish=published.append)
    for t_env in range(3):
        logger.log(t_env, {"x": t_env, "bad": math.nan})
    state = json.loads(json.dumps(logger.state()))
    for t_env in range(3, 6):
        logger.log(t_env, {"x": 100 + t_env, "new": 1.0})
    before = logger.elapsed

    resumed = Logger(tmp_path, {"seed": 1}, publish=published.append)
    resumed.restore(state)
    resumed.log(3, {"x": 3, "bad": math.nan})
    resumed.close()
    assert [line.get("x") for line in lines(tmp_path)] == [None, 0, 1, 2, 3]
    assert published[-1]["x"] == [0, 1, 2, 3]
    assert published[-1]["bad"] == [None] * 4
    assert "new" not in published[-1]
    assert resumed.last["x"] == 3
    assert state["elapsed"] <= resumed.elapsed <= before + 5.0


def test_tensorboard_files(tmp_path: Path) -> None:
    logger = Logger(tmp_path, tensorboard="tensorboardX")
    logger.log(7, {"return_mean": 2.0})
    logger.close()
    (events,) = (tmp_path / "tb_logs").iterdir()
    assert b"return_mean" in events.read_bytes()


def test_a_missing_writer_names_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "tensorboard_logger", None)
    with pytest.raises(UserError, match=r"requirements-tensorboard-logger\.txt"):
        require("tensorboard-logger")


def show(console: Console, steps: int = 101) -> None:
    for t_env in range(0, steps, 5):
        console.update(
            t_env, t_env // 5, {"env": t_env * 1e-6}, {"test_return_mean": 12.5, "test_battle_won_mean": 0.25}
        )


def test_plain_progress_is_one_line_per_log_interval(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    console = Console(t_max=100, log_interval=50)
    with show_messages(console):
        console.attach(tmp_path / "cout.txt")
        show(console)
        console.end({"test_return_mean": 20.0, "test_battle_won_mean": 1.0})
    out, err = capsys.readouterr()
    shown = out.splitlines()
    assert err == ""
    assert [line.split("t_env ")[1].split(",")[0] for line in shown] == [
        "0 of 100 (0.0%)", "50 of 100 (50.0%)", "100 of 100 (100.0%)", "100 of 100 (100.0%)",
    ]  # fmt: skip
    assert "test return 12.50, test win rate 0.25" in shown[1]
    assert "test return 20.00, test win rate 1.00" in shown[-1]
    assert (tmp_path / "cout.txt").read_text() == out


def test_quiet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    console = Console(t_max=100, log_interval=50)
    with show_messages(console):
        LOG.setLevel(logging.WARNING)
        logger = Logger(tmp_path, console=console)
        logger.info("not shown")
        show(console)
        logger.notice("embedded engine\nin use")
    out, err = capsys.readouterr()
    assert out == ""
    assert "|  embedded engine  |" in err
    assert "not shown" not in err


def test_a_box() -> None:
    assert boxed("one\nlonger") == "+==========+\n|  one     |\n|  longer  |\n+==========+"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_a_live_bar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setattr("sys.stdout", terminal)
    console = Console(t_max=100, log_interval=50, stream=terminal)
    with show_messages(console):
        console.attach(tmp_path / "cout.txt")
        show(console)
        LOG.info("a message above the bar")
    text = terminal.getvalue()
    assert "100 of 100 (100.0%)" in text
    assert "━" in text
    assert "test win rate 0.25" in text
    assert "a message above the bar" in text
    copy = (tmp_path / "cout.txt").read_text().splitlines()
    assert len(copy) == 5, "three progress lines, the message and the last line; the moving bar is not kept"
    assert not any("━" in line for line in copy)


def test_progress_is_cheap() -> None:
    from time import perf_counter

    console = Console(t_max=10**9, log_interval=10**8, stream=io.StringIO())
    begin = perf_counter()
    for t_env in range(20_000):
        console.update(t_env, t_env, {"env": 1.0}, {})
    assert (perf_counter() - begin) / 20_000 < 2e-5


def test_a_reader_that_has_gone_does_not_end_the_run(tmp_path: Path) -> None:
    import os

    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as stream:
        console = Console(stream=stream)
        console.attach(tmp_path / "cout.txt")
        for text in ("one", "two"):
            console.say(text)
        console.end()
    assert (tmp_path / "cout.txt").read_text() == "one\ntwo\n"


def test_progress_without_a_goal_shows_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A console of no run (t_max 0) has no progress to show, at any log level."""
    caplog.set_level("INFO", "harness")
    Logger(tmp_path).progress(5, 1, {"env": 1.0})
    assert "t_env" not in caplog.text
