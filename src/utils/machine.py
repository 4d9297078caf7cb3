"""What the bits of a result depend on beside configuration and code: the machine and its libraries."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import torch as th


def facts_of(device: th.device) -> dict[str, Any]:
    """Name -> value of what decides about rounding: device, instruction set, threads, versions."""
    name = th.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    return {
        "device": name,
        "processor": platform.machine(),
        "instructions": th.backends.cpu.get_cpu_capability(),
        "torch_threads": th.get_num_threads(),
        "python": platform.python_version(),
        **{package: version(package) for package in ("torch", "numpy", "numba")},
    }


def inexact(before: Mapping[str, Any], now: Mapping[str, Any], reproducible: bool) -> list[str]:
    """Reasons why a resumed run differs in bits from one that was not interrupted; none if it does not.

    Args:
        before: `facts_of` the checkpoint.
        now: `facts_of` this process.
        reproducible: whether seeds determine the environment's episodes.
    """
    reasons = [f"{name} was {before.get(name)}, is {now[name]}" for name in now if before.get(name) != now[name]]
    if now["device"] != "CPU":
        reasons.append("the libraries of a GPU do not promise the order of their sums")
    if not reproducible:
        reasons.append("the environment's episodes do not follow from seeds alone; the statistics are the same")
    return reasons
