"""The learner of a run and the device it learns on."""

from __future__ import annotations

import torch as th

from controllers import REGISTRY as CONTROLLERS
from envs.multiagentenv import EnvInfo
from learners import REGISTRY as LEARNERS
from learners import Learner
from utils.compilation import check_compile, compile_mixers
from utils.config import Config
from utils.cuda_graphs import record_updates
from utils.logging import Logger

CPU = th.device("cpu")


def device_of(config: Config) -> th.device:
    """The GPU if there is one and `use_cuda` is set, else the CPU."""
    return th.device("cuda" if config.use_cuda and th.cuda.is_available() else "cpu")


def choose_device(config: Config, logger: Logger) -> th.device:
    """`device_of`, and says which."""
    device = device_of(config)
    name = th.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {th.get_num_threads()} threads"
    logger.info(f"device: {name}")
    return device


def build_learner(config: Config, info: EnvInfo, device: th.device) -> Learner:
    """Controller and learner, initialised from the run's seed, on `device`.

    Raises:
        UserError: what does not fit together, see `try_learner`.
    """
    if device.type == "cuda":  # the recurrence in full precision, as PyTorch keeps the other products by default
        th.backends.cudnn.allow_tf32 = False
    learner = _networks(config, info, device)
    check_compile(config.torch_compile, learner, device)
    if config.torch_compile == "default":
        compile_mixers(learner)
    elif config.torch_compile == "cuda_graphs":
        record_updates(learner)
    return learner


def try_learner(config: Config, info: EnvInfo, here: bool = True) -> None:
    """Make a learner and forget it, on the CPU whatever the run's device.

    Raises:
        UserError: environment and algorithm do not fit together, or `torch_compile` and this machine, if the run is to
            take place `here`.
    """
    learner = _networks(config, info, CPU)
    if here:
        check_compile(config.torch_compile, learner, device_of(config))


def _networks(config: Config, info: EnvInfo, device: th.device) -> Learner:
    mac = CONTROLLERS[LEARNERS[config.learner].mac_class](config, info).to(device)
    return LEARNERS[config.learner](config, info, mac)
