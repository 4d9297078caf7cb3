"""DOP's linear mixer with the numerics of the authors' released code; the paper's is `DOPMixer` in igo.py."""

from __future__ import annotations

import torch as th
from torch import Tensor

from components.inputs import Inputs
from modules.layers import Linear
from modules.mixers.igo import DOPMixer
from modules.mixers.mixer import Mixer, MixerShape

SUM_FLOOR = 1e-10  # keeps the normalisation finite where all products vanish


class NormalisedDOPMixer(DOPMixer):
    """Q_jt = sum_i k_i(s) Q_i with k = |W_1(s)| |w_2(s)| divided by its sum, and no b(s)."""

    def __init__(self, shape: MixerShape) -> None:
        Mixer.__init__(self, shape)
        self.w1 = Linear(shape.state_dim, shape.n_agents * shape.embed_dim)
        self.w2 = Linear(shape.state_dim, shape.embed_dim)

    def weights(self, state: Tensor) -> Tensor:
        """k_i(s), `[B,T,N]`, summing to 1."""
        w1 = self.w1(state).abs().unflatten(-1, (self.shape.n_agents, -1))  # [B,T,N,embed]
        k = th.einsum("...ne,...e->...n", w1, self.w2(state).abs())
        return k / k.sum(-1, keepdim=True).clamp(min=SUM_FLOOR)

    def mix(self, utilities: Tensor, state: Tensor, actions: Inputs | None, baseline: Tensor | None) -> Tensor:
        """`[B,T,N]` -> `[B,T,1]`."""
        return (self.weights(state) * utilities).sum(-1, keepdim=True)
