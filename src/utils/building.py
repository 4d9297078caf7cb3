"""The learner of a run and the device it learns on."""

from __future__ import annotations

import torch as th

from controllers import REGISTRY as CONTROLLERS
from envs.multiagentenv import EnvInfo
from learners import REGISTRY as LEARNERS
from learners import Learner
from utils.compilation import compile_mixers
from utils.config import Config
from utils.logging import Logger


def choose_device(config: Config, logger: Logger) -> th.device:
    """The GPU if there is one and `use_cuda` is set, else the CPU; says which."""
    device = th.device("cuda" if config.use_cuda and th.cuda.is_available() else "cpu")
    name = th.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {th.get_num_threads()} threads"
    logger.info(f"device: {name}")
    return device


def build_learner(config: Config, info: EnvInfo, device: th.device) -> Learner:
    """Controller and learner, initialised from the run's seed, on `device`."""
    if device.type == "cuda":  # the recurrence in full precision, as PyTorch keeps the other products by default
        th.backends.cudnn.allow_tf32 = False
    mac = CONTROLLERS[LEARNERS[config.learner].mac_class](config, info).to(device)
    learner = LEARNERS[config.learner](config, info, mac)
    if config.torch_compile != "none":
        compile_mixers(learner, config.torch_compile)
    return learner
