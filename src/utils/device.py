"""Choosing where PyTorch computes."""

from __future__ import annotations

import torch as th

from utils.config import Config


def choose_device(config: Config) -> tuple[th.device, str]:
    """Set the number of CPU threads and choose the device, with a line of text that says which and why."""
    if config.torch_threads > 0:
        th.set_num_threads(config.torch_threads)
    if config.use_cuda and th.cuda.is_available():
        return th.device("cuda"), f"device: cuda ({th.cuda.get_device_name()})"
    why = "no GPU that PyTorch can use" if config.use_cuda else "use_cuda=False"
    return th.device("cpu"), f"device: cpu, {th.get_num_threads()} threads ({why})"
