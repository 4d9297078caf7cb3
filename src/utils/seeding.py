"""Seeds and random states: one run seed, everything else derived from it."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch as th


def seed_everything(seed: int) -> None:
    """Seed the global generators of Python, NumPy and PyTorch (all devices); `seed` in [0, 2^32 - 1]."""
    random.seed(seed)
    np.random.seed(seed)
    th.manual_seed(seed)


def derive_seed(run_seed: int, *keys: int | str) -> int:
    """Return a seed in [0, 2^63 - 1] that depends on every argument and on nothing else, on any machine.

    Seeds of different keys are independent for all practical purposes: `derive_seed(seed, "train", episode)`.
    """
    text = repr((int(run_seed), *keys)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little") >> 1


def rng_state() -> dict[str, Any]:
    """Return the states of the global generators as plain data that `checkpoint.save` takes."""
    version, words, gauss = random.getstate()
    numpy_state: dict[str, Any] = np.random.get_state(legacy=False)
    keys = th.from_numpy(numpy_state["state"]["key"].astype(np.int64))
    return {
        "python": [version, list(words), gauss],
        "numpy": numpy_state | {"state": {"key": keys, "pos": numpy_state["state"]["pos"]}},
        "torch": th.get_rng_state(),
        "cuda": th.cuda.get_rng_state_all() if th.cuda.is_available() else [],
    }


def set_rng_state(state: Mapping[str, Any]) -> None:
    """Restore what `rng_state` returned. States of GPUs that are not here are left out."""
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words), gauss))
    inner = state["numpy"]["state"]
    np.random.set_state(state["numpy"] | {"state": inner | {"key": inner["key"].numpy().astype(np.uint32)}})
    th.set_rng_state(state["torch"])
    for device, one in enumerate(state["cuda"][: th.cuda.device_count()]):
        th.cuda.set_rng_state(one, device)
