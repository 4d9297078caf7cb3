"""VDN (Sunehag et al., 2018): additive mixing."""

from __future__ import annotations

from torch import Tensor

from components.inputs import Inputs
from modules.mixers.mixer import Mixer


class VDNMixer(Mixer):
    """Q_tot = sum_i Q_i."""

    monotonic = True
    igm = True

    def mix(self, utilities: Tensor, state: Tensor, actions: Inputs | None, baseline: Tensor | None) -> Tensor:
        """`[B,T,N]` -> `[B,T,1]`."""
        return utilities.sum(-1, keepdim=True)
