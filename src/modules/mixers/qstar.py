"""The unrestricted central Q* of Weighted QMIX (Rashid et al., NeurIPS 2020)."""

from __future__ import annotations

import torch as th
from torch import Tensor

from components.inputs import Inputs
from modules.layers import mlp
from modules.mixers.mixer import Mixer, MixerShape


class QStarMixer(Mixer):
    """Q* = MLP([s, q_1..q_N]) + V(s) with three hidden layers; no sign constraint, so neither monotonic nor IGM."""

    def __init__(self, shape: MixerShape) -> None:
        super().__init__(shape)
        state, hidden = shape.state_dim, shape.embed_dim
        self.net = mlp(state + shape.n_agents, hidden, hidden, hidden, 1)
        self.v = mlp(state, hidden, 1)

    def mix(self, utilities: Tensor, state: Tensor, actions: Inputs | None, baseline: Tensor | None) -> Tensor:
        """`[B,T,N]` -> `[B,T,1]`."""
        q_star: Tensor = self.net(th.cat((state, utilities), dim=-1)) + self.v(state)
        return q_star
