"""RMSprop whose step on the CPU is one pass over memory instead of five."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch as th

from modules import rmsprop_kernels
from utils.threads import parts_for, share, takes_kernels

OPTIONS = "momentum", "weight_decay", "centered", "maximize", "differentiable"
COST = 8  # of a weight, in multiply-adds


class RMSprop(th.optim.RMSprop):
    """PyTorch's; its state, keys and checkpoints are its own. The first step, and all with any of OPTIONS, are, too."""

    @th.no_grad()
    def step(self, closure: Any = None) -> Any:
        """One step of all parameters that have a gradient; what the closure returns, if there is one."""
        return None if closure is None and self.step_compiled() else super().step(closure)

    @th.no_grad()
    def step_compiled(self) -> bool:
        """One step if the kernel can take it, and whether it could."""
        moved = [
            (group, weight) for group in self.param_groups for weight in group["params"] if weight.grad is not None
        ]
        plain = not any(group[option] for group in self.param_groups for option in OPTIONS)
        if not plain or not all(
            self.state.get(weight) and takes_kernels(weight) and weight.is_contiguous() for _, weight in moved
        ):
            return False
        for group, weight in moved:
            state, alpha = self.state[weight], group["alpha"]
            state["step"].add_(1)
            sizes = tuple(np.float32(x) for x in (group["lr"], alpha, 1.0 - alpha, group["eps"]))
            arrays = (x.detach().view(-1).numpy() for x in (weight, weight.grad.contiguous(), state["square_avg"]))
            share(rmsprop_kernels.step, parts_for(COST * weight.numel()), *arrays, sizes)
        return True


def advance(optimiser: th.optim.Optimizer) -> None:
    """One step of any optimiser; a compiled one without what PyTorch wraps around `step`, hooks for example."""
    if not isinstance(optimiser, RMSprop) or not optimiser.step_compiled():
        optimiser.step()
