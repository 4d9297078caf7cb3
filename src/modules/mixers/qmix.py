"""QMIX (Rashid et al., 2018): monotonic mixing with state-conditioned weights."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from modules.layers import mlp
from modules.mixers.mixer import Mixer, MixerShape

HYPER_HIDDEN = 64  # hidden units of the two weight hypernetworks, as in the second PyMARL release


class QMIXMixer(Mixer):
    """Q_tot = |H2(s)|^T ELU(|H1(s)|^T q + b1(s)) + v(s).

    Absolute values make the weights, not the biases, non-negative.
    """

    monotonic = True
    igm = True

    def __init__(self, shape: MixerShape) -> None:
        super().__init__(shape)
        state, embed = shape.state_dim, shape.embed_dim
        self.hyper_w1 = mlp(state, HYPER_HIDDEN, embed * shape.n_agents)
        self.hyper_w2 = mlp(state, HYPER_HIDDEN, embed)
        self.hyper_b1 = nn.Linear(state, embed)
        self.v = mlp(state, embed, 1)

    @staticmethod
    def sign(weights: Tensor) -> Tensor:
        """Weights made non-negative."""
        return weights.abs()

    def mix(self, utilities: Tensor, state: Tensor, actions: Tensor | None, baseline: Tensor | None) -> Tensor:
        """`[B,T,N]` -> `[B,T,1]`."""
        n_agents, embed = self.shape.n_agents, self.shape.embed_dim
        w1 = self.sign(self.hyper_w1(state)).view(*state.shape[:-1], n_agents, embed)  # [B,T,N,embed]
        hidden = F.elu((utilities.unsqueeze(-1) * w1).sum(-2) + self.hyper_b1(state))  # [B,T,embed]
        w2 = self.sign(self.hyper_w2(state))  # [B,T,embed]
        q_tot: Tensor = (hidden * w2).sum(-1, keepdim=True) + self.v(state)
        return q_tot
