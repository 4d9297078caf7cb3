"""RMSprop whose step on the CPU is one pass over memory instead of five."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch as th

from modules import rmsprop_kernels
from utils.threads import parts_for, share, takes_kernels

COST = 8  # of a weight, in multiply-adds


class RMSprop(th.optim.RMSprop):
    """PyTorch's, without momentum, centring and weight decay; its state, keys and checkpoints are those of that one."""

    @th.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One step of all parameters that have a gradient."""
        parameters = [weight for group in self.param_groups for weight in group["params"]]
        if closure is not None or not all(takes_kernels(weight) and weight.is_contiguous() for weight in parameters):
            super().step(closure)
            return
        for group in self.param_groups:
            given: tuple[list[Any], ...] = [], [], [], [], [], []
            self._init_group(group, *given)
            weights, grads, means, _, _, steps = given
            sizes = tuple(np.float32(x) for x in (group["lr"], group["alpha"], 1.0 - group["alpha"], group["eps"]))
            for weight, grad, mean, count in zip(weights, grads, means, steps, strict=True):
                count.add_(1)
                arrays = (x.detach().view(-1).numpy() for x in (weight, grad.contiguous(), mean))
                share(rmsprop_kernels.step, parts_for(COST * weight.numel()), *arrays, sizes)
