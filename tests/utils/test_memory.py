"""Memory that an update's products keep, seen from outside, in a process of its own: settings count from the start."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[2] / "src"
PROGRAM = """
from utils.memory import tune_memory
tune_memory()
import psutil, torch as th
from modules.dense import TALL, affine
weight, bias = th.rand(1, 64, 64), th.rand(1, 1, 64)
for k in range(300):
    affine(th.rand(1, 4 * TALL + k, 64), weight, bias, relu=True)
    if k == 60:
        before = psutil.Process().memory_info().rss
print((psutil.Process().memory_info().rss - before) / 2**20)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the resident memory of other systems is another measure")
def test_products_of_ever_new_sizes_take_no_more_memory() -> None:
    """The sum of episode lengths is new in nearly every update: MiB that 240 further sizes add. oneDNN's: 143."""
    environment = os.environ | {"PYTHONPATH": str(SOURCE), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True, timeout=120
    )
    assert float(done.stdout) < 15.0
