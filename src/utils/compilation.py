"""Optional `torch.compile` and CUDA graphs for the mixing networks, which are many small operations.

Recurrence, first layers and softmax are compiled kernels on the CPU already (`modules/gru.py`, `modules/dense.py`,
`modules/categorical.py`) and stay outside. Measured gains: docs/performance.md.
"""

from __future__ import annotations

import os
import shutil
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch as th
from torch import Tensor, nn
from torch.utils._triton import has_triton

from modules.mixers.mixer import Mixer
from utils.errors import UserError

MODES = {"default": "default", "cuda_graphs": "reduce-overhead"}  # PyTorch's names


def check_compiler(mode: str, device: th.device) -> None:
    """Whether PyTorch can compile for `device` here.

    On a GPU too: triton builds each kernel's launcher in C, against Python's headers.

    Raises:
        UserError: it has no compiler, or `mode` needs a GPU and there is none.
    """
    gpu = device.type == "cuda"
    if mode == "cuda_graphs" and not gpu:
        raise UserError("torch_compile=cuda_graphs needs a GPU, this run is on the CPU: use default or none")
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


def compile_mixers(learner: nn.Module, mode: str, backend: str = "inductor") -> None:
    """Let every mixer's formula, forward and backward, be compiled at its first call, for all batch shapes at once.

    Args:
        learner: its mixers are changed in place; weights and checkpoints stay as they are.
        mode: "default" or "cuda_graphs".
        backend: PyTorch's compiler.

    Raises:
        UserError: see `check_compiler`.
    """
    kind = None
    if backend == "inductor":  # the others generate no code
        check_compiler(mode, next(learner.parameters()).device)
        kind = MODES[mode]
    for module in learner.modules():
        if isinstance(module, Mixer):
            compiled = th.compile(module.mix, dynamic=True, backend=backend, mode=kind)
            module.mix = _kept(compiled) if mode == "cuda_graphs" else compiled  # type: ignore[method-assign]


def _kept(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """`function` with results of their own: those of a replayed CUDA graph are overwritten by the next replay."""

    def call(*args: Any, **kwargs: Any) -> Tensor:
        return function(*args, **kwargs).clone()

    return call
