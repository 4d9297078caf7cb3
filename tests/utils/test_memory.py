"""Memory that libraries keep, seen from outside, in a process of its own: settings count from the first tensor."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[2] / "src"
PROGRAM = """
import sys
from utils.memory import PRODUCTS, tune_memory
tune_memory()
import psutil, torch as th
from modules.dense import TALL, affine
weight, bias = th.rand(1, 64, 64), th.rand(1, 1, 64)
for k in range(300):
    affine(th.rand(1, TALL + k, 64), weight, bias, relu=True)
    if k == 2 * int(PRODUCTS):
        before = psutil.Process().memory_info().rss
print((psutil.Process().memory_info().rss - before) / 2**20)
"""
CACHES = ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY")


def added(**variables: str) -> float:
    """MiB that products of some 240 further sizes add to the resident memory."""
    inherited = {key: value for key, value in os.environ.items() if key not in CACHES}
    environment = inherited | {"PYTHONPATH": str(SOURCE), "OMP_NUM_THREADS": "1"} | variables
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True, timeout=120
    )
    return float(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="the resident memory of other systems is another measure")
def test_products_of_ever_new_sizes_take_no_more_memory() -> None:
    """The sum of episode lengths is new in nearly every update; measured: 0 MiB, and 143 MiB at the libraries' own."""
    assert added() < 15.0


@pytest.mark.skipif(sys.platform != "linux", reason="as above")
def test_the_users_own_setting_counts() -> None:
    assert added(**dict.fromkeys(CACHES, "1024")) > 60.0
