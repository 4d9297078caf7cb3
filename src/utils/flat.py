"""Many parameters in one tensor, so that clipping and an optimiser's step are a few operations on one long vector.

A learner has some thirty small tensors. Treated one by one, or in PyTorch's foreach groups, they cost an optimiser more
in calls than in arithmetic.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch as th
from torch import Tensor, nn

from modules import clip_kernels
from utils.threads import parts_of, share, takes_kernels

ALIGN = 16  # elements: every parameter starts on a cache line of its own


class FlatParameters:
    """Moves parameters into one vector, of which they are views from then on; values are kept.

    Args:
        parameters: trained parameters of one device and type, none of them in another `FlatParameters`.
        device: where the vector is made, and so where the parameters are afterwards.

    Raises:
        ValueError: if there is none, or one is a part of another vector already.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], device: th.device) -> None:
        self.parameters = list(parameters)
        if not self.parameters:
            raise ValueError("no parameters to train")
        if any(len(weight.untyped_storage()) > weight.nbytes for weight in self.parameters):
            raise ValueError("a parameter is part of another tensor; one optimiser trains it at most")
        self._spans = [-(-weight.numel() // ALIGN) * ALIGN for weight in self.parameters]
        self.vector = nn.Parameter(th.zeros(sum(self._spans), device=device, dtype=self.parameters[0].dtype))
        self.vector.grad = th.zeros_like(self.vector)
        self._grads = self._views(self.vector.grad)
        for weight, view in zip(self.parameters, self._views(self.vector.data), strict=True):
            view.copy_(weight.data)
            weight.data = view

    def part(self, index: int) -> Tensor:
        """Where in `vector` entry `index` of every parameter's first axis lies, for example one agent's: booleans."""
        where = th.zeros_like(self.vector, dtype=th.bool, requires_grad=False)
        for view in self._views(where):
            view[index] = True
        return where

    def _views(self, vector: Tensor) -> list[Tensor]:
        parts = zip(vector.split(self._spans), self.parameters, strict=True)
        return [part[: weight.numel()].view(weight.shape) for part, weight in parts]

    def differentiate(self, loss: Tensor) -> None:
        """Make `vector.grad` the gradient of `loss`, zero for parameters it does not depend on, and no other's."""
        grads = th.autograd.grad(loss, self.parameters, allow_unused=True, materialize_grads=True)
        th._foreach_copy_(self._grads, grads)

    def clip(self, largest: float) -> Tensor:
        """Scale `vector.grad` down to the norm `largest`; returns its norm before."""
        assert self.vector.grad is not None
        if takes_kernels(self.vector):
            norm = th.empty(())
            share(clip_kernels.clip, parts_of(1), self.vector.grad.numpy(), float(largest), norm.view(1).numpy())
            return norm
        norm = th.linalg.vector_norm(self.vector.grad)
        self.vector.grad.mul_((largest / (norm + clip_kernels.EPS)).clamp(max=1.0))
        return norm
