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
    """PyTorch's; its state, keys and checkpoints are those of that one. With any of OPTIONS the step is, too."""

    @th.no_grad()
    def step(self, closure: Any = None) -> Any:
        """One step of all parameters that have a gradient; what the closure returns, if there is one."""
        parameters = [weight for group in self.param_groups for weight in group["params"]]
        plain = not any(group[option] for group in self.param_groups for option in OPTIONS)
        if closure is not None or not plain or not all(takes_kernels(x) and x.is_contiguous() for x in parameters):
            return super().step(closure)
        for group in self.param_groups:
            given: tuple[list[Any], ...] = [], [], [], [], [], []
            self._init_group(group, *given)
            weights, grads, means, _, _, steps = given
            sizes = tuple(np.float32(x) for x in (group["lr"], group["alpha"], 1.0 - group["alpha"], group["eps"]))
            for weight, grad, mean, count in zip(weights, grads, means, steps, strict=True):
                count.add_(1)
                arrays = (x.detach().view(-1).numpy() for x in (weight, grad.contiguous(), mean))
                share(rmsprop_kernels.step, parts_for(COST * weight.numel()), *arrays, sizes)
        return None
