"""What is said when a resumed run cannot be exact."""

from __future__ import annotations

import torch as th

from utils.machine import facts_of, inexact

CPU = th.device("cpu")


def test_the_same_machine_gives_no_reason() -> None:
    assert inexact(facts_of(CPU), facts_of(CPU), reproducible=True) == []


def test_every_difference_is_a_reason() -> None:
    now = facts_of(CPU)
    before = now | {"torch": "1.0", "torch_threads": 77}
    del before["numba"]
    reasons = inexact(before, now, reproducible=False)
    assert f"torch was 1.0, is {th.__version__}" in reasons
    assert f"torch_threads was 77, is {th.get_num_threads()}" in reasons
    assert f"numba was None, is {now['numba']}" in reasons
    assert reasons[-1] == "the environment's episodes do not follow from seeds alone; the statistics are the same"
    assert len(reasons) == 4


def test_a_gpu_is_never_exact() -> None:
    now = facts_of(CPU) | {"device": "a GPU"}
    assert inexact(now, now, reproducible=True) == ["the libraries of a GPU do not promise the order of their sums"]
