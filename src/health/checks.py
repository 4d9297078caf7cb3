"""The checks in the order of the table."""

from __future__ import annotations

import os
import platform
import shutil
import socket
import sys
import time
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from health.report import Finding, bad, good, note

if TYPE_CHECKING:
    from envs.multiagentenv import EnvInfo, EnvSpec
    from utils.config import Config

PYTHONS = ((3, 10), (3, 13))  # oldest and newest
PACKAGES = ("torch", "numpy", "scipy", "numba", "sacred", "PyYAML", "psutil", "pymongo", "rich", "tensorboardX")
INSTALL = "make train, or pip install -r requirements.txt"
GIB = 1 << 30
ROOM = {"FAIL": 0.2, "note": 5.0}  # GiB free on the disk of the results below which that is said
PING_MS = 2500  # for a MongoDB server to be found


def examine(words: Sequence[str], quick: bool) -> list[Finding]:
    """Run all checks; `words` are a command line of main.py.

    Raises:
        UserError: bad arguments.
    """
    findings = [check_python(), check_packages()]
    if "FAIL" in {finding.verdict.value for finding in findings}:
        return findings  # the rest could not be imported
    config = read_config(words)
    findings.append(check_cuda(config))
    spec, found = resolve_env(config)
    if config.env == "sc2":
        findings += check_starcraft(config, spec)
    findings.append(found)
    if spec is not None:
        findings += check_env(config, spec, quick)
    return [*findings, check_mongo(config), check_disk(config)]


def read_config(words: Sequence[str]) -> Config:
    """The configuration that the words give main.py, fop on sc2 where they name none."""
    from utils.cli import parse
    from utils.config import from_merged, merge

    request = parse(words)
    return from_merged(merge(request.alg or "fop", request.env or "sc2", request.overrides))


def check_python() -> Finding:
    """The interpreter's version."""
    oldest, newest = ("{}.{}".format(*pair) for pair in PYTHONS)
    if PYTHONS[0] <= sys.version_info[:2] <= PYTHONS[1]:
        return good("Python", platform.python_version())
    return bad("Python", platform.python_version(), f"use {oldest} to {newest}: make train PYTHON=/path/to/python")


def check_packages() -> Finding:
    """The packages of requirements.txt."""
    there, missing = [], []
    for name in PACKAGES:
        try:
            there.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            missing.append(name)
    if missing:
        return bad("packages", f"missing: {', '.join(missing)}", INSTALL)
    return good("packages", ", ".join(there[:5]))


def check_cuda(config: Config) -> Finding:
    """Whether PyTorch sees a GPU, where one is wanted."""
    import torch as th

    if th.cuda.is_available():
        names = [th.cuda.get_device_name(k) for k in range(th.cuda.device_count())]
        return good("GPU", f"CUDA {th.version.cuda}: {', '.join(names)}")
    if not config.use_cuda:
        return good("GPU", "not wanted (use_cuda=False)")
    if shutil.which("nvidia-smi"):
        kind = f"built for CUDA {th.version.cuda}" if th.version.cuda else "built without CUDA"
        remedy = "install the torch of requirements.txt for your driver's CUDA: https://pytorch.org/get-started/locally"
        return note("GPU", f"there is a driver, but torch {th.__version__}, {kind}, sees no GPU", remedy)
    return note("GPU", "none: the run uses the CPU")


def resolve_env(config: Config) -> tuple[EnvSpec | None, Finding]:
    """The environment's recipe, or why there is none."""
    import envs
    from utils.errors import UserError

    try:
        spec = envs.resolve(config.env, config.env_args)
    except UserError as error:
        seen, _, remedy = str(error).partition("; ")
        return None, bad("environment", seen, remedy or "see --help")
    return spec, good("environment", f"{config.env}, engine: {spec.engine or config.env}")


def check_starcraft(config: Config, spec: EnvSpec | None) -> list[Finding]:
    """StarCraft II and its libraries. Without it the embedded engine serves, unless the game is asked for."""
    from envs import sc2, sc2_install

    folder = sc2.game_folder()
    needed = config.env_args.get("engine") == "starcraft2" or (spec is not None and spec.engine == "starcraft2")
    needed = needed or (spec is None and "SC2PATH" in os.environ)
    blame: Callable[..., Finding] = bad if needed else note
    where = "SC2PATH" if "SC2PATH" in os.environ else "SC2PATH is not set; default"
    trouble = sc2_install.game_trouble(folder)
    if trouble:
        findings = [blame("StarCraft II", f"{trouble} ({where})", f"{sc2_install.INSTALL_GAME}, or set SC2PATH")]
    else:
        builds = ", ".join(str(build) for build in sc2_install.builds(folder))
        findings = [good("StarCraft II", f"{folder} ({where}), build {builds}"), check_maps(config, folder, blame)]
    return [*findings, check_libraries(blame), check_protobuf(), check_port()]


def check_maps(config: Config, folder: Path, blame: Callable[..., Finding]) -> Finding:
    """SMAC's maps, above all the configured one."""
    from envs import sc2_install
    from envs.skirmish.scenario import map_names

    wanted = str(config.env_args.get("map_name", ""))
    missing = [name for name in map_names() if sc2_install.map_trouble(folder, name)]
    if wanted in missing:
        return blame("SMAC maps", sc2_install.map_trouble(folder, wanted), sc2_install.INSTALL_GAME)
    if missing:
        return note("SMAC maps", f"missing: {', '.join(missing)}", sc2_install.INSTALL_GAME)
    return good("SMAC maps", f"all {len(map_names())}, {wanted} has hash {sc2_install.map_hash(folder, wanted)}")


def check_libraries(blame: Callable[..., Finding]) -> Finding:
    """The game's client and SMAC's."""
    from envs import sc2_install

    trouble = sc2_install.library_trouble()
    if trouble:
        return blame("SC2 libraries", trouble, sc2_install.INSTALL_LIBRARIES)
    return good("SC2 libraries", f"pysc2 {version('pysc2')}, smac {version('smac')}, protobuf {version('protobuf')}")


def check_protobuf() -> Finding:
    """Protobuf's pure Python parser is 40 times slower than the compiled one."""
    try:
        from google.protobuf.internal import api_implementation
    except ImportError:
        return note("protobuf", "not installed; only StarCraft II needs it")
    kind = api_implementation.Type()
    if kind == "python":
        return note("protobuf", "its slow Python form is in use", "unset PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION")
    return good("protobuf", f"compiled ({kind})")


def check_port() -> Finding:
    """Whether a port of this machine can be listened on, as the game does."""
    try:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            return good("port", f"127.0.0.1:{listener.getsockname()[1]} can be listened on")
    except OSError as error:
        return bad("port", f"127.0.0.1 cannot be listened on: {error}", "allow local sockets (firewall, sandbox)")


def check_env(config: Config, spec: EnvSpec, quick: bool) -> list[Finding]:
    """One environment: made; reset and stepped unless in a hurry; the memory its replay buffer takes."""
    from utils.errors import UserError

    env = None
    try:
        env = spec.single()
        memory = check_memory(config, env.env_info)
        if quick:
            return [note("reset and step", "left out (--quick)"), memory]
        return [try_step(config, env), memory]
    except UserError as error:
        seen, _, remedy = str(error).rpartition("; ")
        return [bad("reset and step", seen or remedy, remedy if seen else "see the message")]
    finally:
        if env is not None:
            env.close()


def try_step(config: Config, env: Any) -> Finding:
    """Start an episode and take one step of available actions."""
    import numpy as np

    begin = time.monotonic()
    seen = env.reset(0)
    ready = time.monotonic()
    if seen.avail_actions is None:
        actions: Any = np.zeros((env.env_info.n_agents, env.env_info.action_space.action_dim), np.float32)
    else:
        actions = seen.avail_actions.argmax(-1)[:, None]
    out = env.step(actions)
    took = f"reset in {ready - begin:.1f} s, step in {1000 * (time.monotonic() - ready):.0f} ms"
    if out.info.get("aborted"):
        return bad("reset and step", f"the game was lost in the first step ({took})", "see the warning above")
    info = env.env_info
    return good("reset and step", f"{took}; {info.engine} {info.engine_version}".strip())


def check_memory(config: Config, info: EnvInfo) -> Finding:
    """Whether a full replay buffer fits."""
    from components.episode_buffer import ReplayBuffer
    from utils.errors import UserError

    try:
        buffer = ReplayBuffer(info, config.buffer_size, 0, config.buffer_obs_dtype)
    except UserError as error:
        seen, _, remedy = str(error).partition(": ")
        return bad("memory", seen, remedy)
    return good("memory", buffer.describe())


def check_mongo(config: Config) -> Finding:
    """Whether the MongoDB server that runs are copied to answers, within 3 seconds."""
    from pymongo import MongoClient
    from pymongo.errors import PyMongoError

    from mirror.server import find_server, reason
    from utils.errors import UserError

    try:
        server = find_server(config.mongo_url)
    except UserError as error:
        return bad("MongoDB", str(error), "correct MONGO_URL or mongo_url")
    if server is None:
        return note("MongoDB", "not configured (neither MONGO_URL nor mongo_url); results stay local")
    client: Any = MongoClient(
        server.url, serverSelectionTimeoutMS=PING_MS, connectTimeoutMS=PING_MS, socketTimeoutMS=PING_MS
    )
    try:
        client[server.database].list_collection_names() if "@" in server.url else client.admin.command("ping")
    except PyMongoError as error:
        remedy = "start the server or correct MONGO_URL; runs go on without it and sync_mongo.py uploads them later"
        return note("MongoDB", f"{server.place}: {reason(error)}", remedy)
    finally:
        client.close()
    return good("MongoDB", f"{server.place} answers, database {server.database}")


def check_disk(config: Config) -> Finding:
    """Room for results."""
    folder = Path(config.local_results_path).absolute()
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if not os.access(there, os.W_OK):
        return bad("disk", f"{there} cannot be written to", "give local_results_path=FOLDER, or change its owner")
    free = shutil.disk_usage(there).free / GIB
    seen, remedy = f"{free:.1f} GiB free for {folder}", "make room, or give local_results_path=FOLDER"
    if free < ROOM["FAIL"]:
        return bad("disk", seen, remedy)
    return note("disk", seen, remedy) if free < ROOM["note"] else good("disk", seen)
