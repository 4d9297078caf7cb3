"""Optional `torch.compile` for the mixing networks, which are many small operations; what the other option needs.

On the CPU networks are compiled kernels already (`modules/recurrent.py`, `dense.py`, `categorical.py` and others); the
compiler sees mixers as PyTorch's operations. Measured gains: docs/performance.md.
"""

from __future__ import annotations

import os
import shutil
import sysconfig
from pathlib import Path

import torch as th
from torch import nn
from torch.utils._triton import has_triton

from learners.learner import Learner
from modules.layers import Ensemble
from modules.mixers.mixer import Mixer
from utils.errors import UserError


def check_compile(mode: str, learner: Learner, device: th.device) -> None:
    """Whether a `torch_compile` other than none is possible.

    Raises:
        UserError: see `check_compiler`; CUDA graphs without a GPU, or for an algorithm that cannot be recorded.
    """
    if mode == "default":
        check_compiler(device)
    if mode == "cuda_graphs" and device.type != "cuda":
        raise UserError("torch_compile=cuda_graphs needs a GPU, this run is on the CPU: use default or none")
    if mode == "cuda_graphs" and not learner.padded_to:
        raise UserError(
            f"torch_compile=cuda_graphs: an update of {learner.config.name} is not the same work every time: use none"
        )


def check_compiler(device: th.device) -> None:
    """Whether PyTorch can compile for `device` here.

    On a GPU too: triton builds each kernel's launcher in C, against Python's headers.

    Raises:
        UserError: it has no compiler.
    """
    gpu = device.type == "cuda"
    if gpu and not has_triton():
        raise UserError("torch_compile needs the package triton on a GPU: install it or use torch_compile=none")
    language, variable, usual = ("C", "CC", ("gcc", "clang")) if gpu else ("C++", "CXX", ("g++",))
    names = (os.environ[variable],) if variable in os.environ else usual
    if not any(shutil.which(name) for name in names):
        raise UserError(
            f"torch_compile needs a {language} compiler ({usual[0]}, or another in {variable}): use torch_compile=none"
        )
    if not Path(sysconfig.get_path("include", "posix_prefix"), "Python.h").exists():
        raise UserError("torch_compile needs Python's headers (Debian: python3-dev): use torch_compile=none")


def compile_mixers(learner: nn.Module, backend: str = "inductor") -> None:
    """Let every mixer's formula, forward and backward, be compiled at its first call, for all batch shapes at once.

    Args:
        learner: its mixers are changed in place; weights and checkpoints stay as they are.
        backend: PyTorch's compiler.
    """
    for module in learner.modules():
        if isinstance(module, Mixer):
            compiled = th.compile(module.mix, dynamic=True, backend=backend)
            module.mix = compiled  # type: ignore[method-assign]
        if isinstance(module, Ensemble) and len(module.members) > 1:
            module.first.mix_all = th.compile(module.first.mix_all, dynamic=True, backend=backend)
