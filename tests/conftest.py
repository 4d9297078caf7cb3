"""Settings of every test: one thread per worker, so that tests in parallel do not fight for the cores."""

from __future__ import annotations

import os

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")  # before PyTorch is imported; tests that start processes hand it on
os.environ.pop("MONGO_URL", None)  # runs of the tests do not go to the server of whoever tests
