"""Ctrl-C and SIGTERM: asked for by the loop, enforced after a while, never twice."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator

import pytest

from utils import interrupt
from utils.interrupt import StopRequest

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.fixture(autouse=True)
def _no_nohup() -> Iterator[None]:
    """SIGHUP is not ignored, even if the tests themselves run under nohup."""
    old = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, old)


@pytest.mark.parametrize("number", SIGNALS)
def test_the_loop_is_told_and_not_interrupted(number: signal.Signals, capfd: pytest.CaptureFixture[str]) -> None:
    old = [signal.getsignal(one) for one in SIGNALS]
    with StopRequest(grace=0.05):
        assert not interrupt.requested()
        os.kill(os.getpid(), number)
        assert interrupt.requested()
        time.sleep(0.15)  # beyond the grace period: the loop knows, so nothing comes
        for again in SIGNALS:
            os.kill(os.getpid(), again)
        assert interrupt.requested()
    assert not interrupt.requested()
    assert [signal.getsignal(one) for one in SIGNALS] == old
    err = capfd.readouterr().err
    assert f"{number.name}: stopping" in err
    assert err.count("already stopping") == 3


def test_a_deaf_loop_is_interrupted_once() -> None:
    with StopRequest(grace=0.05):
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            time.sleep(5.0)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.15)


def test_nohup_is_respected() -> None:
    old = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopRequest():
            os.kill(os.getpid(), signal.SIGHUP)
            assert not interrupt.requested()
    finally:
        signal.signal(signal.SIGHUP, old)


def test_the_end_of_the_process_is_not_disturbed() -> None:
    old = [signal.getsignal(one) for one in SIGNALS]
    try:
        with StopRequest(last=True):
            os.kill(os.getpid(), signal.SIGINT)
            assert interrupt.requested()
        assert [signal.getsignal(one) for one in SIGNALS] == [signal.SIG_IGN] * 3
    finally:
        for one, handler in zip(SIGNALS, old, strict=True):
            signal.signal(one, handler)
