"""numba's cache of kernels: kept between processes, out of date when a kernel that is called has changed."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2] / "src"
PROGRAM = """
import numpy as np
from modules.mixers import igo_kernels as kernels
sizes = (1, 1), (1, 1, 1), (1, 1, 1), (1, 4), (1, 1), (1, 1), (4,), (1,), (1, 4), (1, 1)
state, q, v, first, taken, last, b_first, b_last, layer, out = (np.zeros(size, np.float32) for size in sizes)
state[:], first[0, 0], q[:], ones = 1.0, 1.0, 1.0, np.full((1, 1, 1), -1)
weights, biases = (first, taken, (last,)), ((b_first,), (b_last,))
kernels.forward((0, 0, 1, 1), 1, (state, ones, q, v), weights, biases, layer, out)
print(out[0, 0], sum(kernels.forward.stats.cache_hits.values()))
"""


def result(folder: Path) -> list[str]:
    """|k| sigmoid(0) sigmoid(0), here lambda, in a process of its own, and how often the cache was used."""
    environment = os.environ | {"PYTHONPATH": str(folder), "NUMBA_CACHE_DIR": str(folder / "cache")}
    command = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=200)
    return done.stdout.split()


def test_a_change_in_another_file_counts(tmp_path: Path) -> None:
    shutil.copytree(SOURCE, tmp_path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    assert result(tmp_path) == ["0.25", "0"]
    assert result(tmp_path) == ["0.25", "1"]
    called = tmp_path / "modules" / "gru_kernels.py"
    source, changed = called.read_text(), "0.5 * _tanh(0.5 * x) + 1.0"
    assert source.count("0.5 * _tanh(0.5 * x) + 0.5") == 1
    called.write_text(source.replace("0.5 * _tanh(0.5 * x) + 0.5", changed))
    assert result(tmp_path) == ["1.0", "0"]
    called.write_text(source)
    lanes = tmp_path / "modules" / "lanes.py"  # one number for all twice as large: here |k| and, in its product, k
    source, given = lanes.read_text(), "builder.insert_element(undefined, number, "
    assert source.count(given) == 1
    lanes.write_text(source.replace(given, "builder.insert_element(undefined, builder.fadd(number, number), "))
    assert result(tmp_path) == ["1.0", "0"]
