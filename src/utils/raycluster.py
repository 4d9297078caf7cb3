"""Connecting to Ray: a cluster that runs already, or one on this machine for the length of the process."""

from __future__ import annotations

import logging
import os
from importlib import import_module
from pathlib import Path
from typing import Any

from utils.errors import UserError

SOURCE = str(Path(__file__).resolve().parents[1])
LOCAL = ""  # address that stands for a cluster of this machine alone
REMEDY = "pip install -r requirements-cluster.txt"


def load() -> Any:
    """The package `ray`; `UserError` if it is not installed."""
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "1")  # a task that asked for no GPU sees none
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_worker_niceness", "0")  # Ray would let everything else on the machine go first
    try:
        return import_module("ray")
    except ModuleNotFoundError as error:
        raise UserError(f"this needs Ray, which is not installed: {REMEDY}") from error


def address_of_environment() -> str:
    """The cluster that RAY_ADDRESS names, Ray's own variable; "" if it is not set."""
    return os.environ.get("RAY_ADDRESS", LOCAL)


def connect(address: str = LOCAL, cpus: int | None = None) -> bool:
    """Connect this process; True if it was not connected before. Workers find our sources at the same path as here.

    Args:
        address: "auto" or HOST:PORT of a cluster; "" for one of this machine alone.
        cpus: of that one; None: as many as the machine has.

    Raises:
        UserError: no Ray, no cluster at the address, or one that refuses.
    """
    ray = load()
    if ray.is_initialized():
        return False
    path = os.pathsep.join([SOURCE, *filter(None, [os.environ.get("PYTHONPATH")])])
    where: dict[str, Any] = {"address": address} if address != LOCAL else {"address": "local", "num_cpus": cpus}
    try:
        ray.init(
            **where,
            runtime_env={"env_vars": {"PYTHONPATH": path}},
            log_to_driver=False,
            logging_level=logging.ERROR,
            include_dashboard=None if address != LOCAL else False,
        )
    except Exception as error:  # Ray raises plain ones, too
        reason = str(error).strip().splitlines()
        raise UserError(f"cannot use Ray at {address or 'this machine'}: {reason[0] if reason else error!r}") from error
    return True


def largest(resource: str) -> float:
    """The most of a resource ("CPU", "GPU") that one machine of the cluster has."""
    nodes = [node for node in load().nodes() if node["Alive"]]
    return max((float(node["Resources"].get(resource, 0.0)) for node in nodes), default=0.0)


def require_share(cpus: float, gpus: float, what: str) -> None:
    """Raise `UserError` if no machine of the cluster can ever give these shares."""
    for name, wanted in (("CPU", cpus), ("GPU", gpus)):
        if wanted > largest(name):
            raise UserError(
                f"{what} asks for {wanted:g} {name}s, but the largest machine of the cluster has {largest(name):g}"
            )
