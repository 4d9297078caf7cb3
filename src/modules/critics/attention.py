"""MAAC's attention critic (Iqbal and Sha, ICML 2019), and its construction for continuous actions.

Shape legend: B episodes, T steps, N agents, A actions, U encoded action, I inputs, H hidden, P heads, d = H / P.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch as th
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from components.action_space import ActionSpace, ContinuousActions
from modules.agents.trunk import AgentShape, Head, MLPTrunk
from modules.critics.q_function import ContinuousQ, DiscreteQ, QFunction
from utils.errors import UserError


class AttentionCritic(nn.Module):
    """Q_i from the own observation and a weighted sum of what the others see and do.

        g_i = enc_s(o_i),   e_j = enc(o_j, u_j),   a_p,ij = softmax over j != i of (W_q g_i) . (W_k e_j) / sqrt(d)
        x_i = concat_p sum_j a_p,ij LeakyReLU(W_v e_j)
        discrete:   Q_i(o, (., u_-i)) = f([g_i, x_i]), one output per own action
        continuous: Q_i(o, (u_i, u_-i)) = f([e_i, x_i]), one value; x_i does not depend on u_i in either case

    Args:
        shape: sizes of the encoders; their parameters are shared or not, the attention's always are.
        action_space: the agents' actions.
        n_heads: P, a divisor of the hidden size.
    """

    others: Tensor  # [N,N] bool, False on the diagonal

    def __init__(self, shape: AgentShape, action_space: ActionSpace, n_heads: int) -> None:
        super().__init__()
        width = shape.hidden_dim
        if width % n_heads:
            allowed = ", ".join(str(count) for count in range(1, width + 1) if width % count == 0)
            raise UserError(f"attention_heads={n_heads} must divide critic_hidden_dim={width}: {allowed}")
        self.action_space, self.heads = action_space, (n_heads, width // n_heads)
        self.one_output = isinstance(action_space, ContinuousActions)
        with_action = replace(shape, n_inputs=shape.n_inputs + action_space.enc_dim)
        self.own = Head(MLPTrunk(shape), width)
        self.pair = Head(MLPTrunk(with_action), width)
        n_outputs = 1 if self.one_output else action_space.enc_dim
        self.out = Head(MLPTrunk(replace(shape, n_inputs=2 * width)), n_outputs)
        self.query, self.key = (nn.Linear(width, width, bias=False) for _ in range(2))
        self.value = nn.Linear(width, width)
        self.register_buffer("others", ~th.eye(shape.n_agents, dtype=th.bool), persistent=False)

    def attend(self, own: Tensor, pair: Tensor) -> tuple[Tensor, Tensor]:
        """From g and e `[B,T,N,H]`: x `[B,T,N,H]` and the mean squared logits of each agent `[B,T,N]`."""
        query, key = self.query(own).unflatten(-1, self.heads), self.key(pair).unflatten(-1, self.heads)
        value = F.leaky_relu(self.value(pair)).unflatten(-1, self.heads)  # [B,T,N,P,d]
        logits = th.einsum("btipd,btjpd->btpij", query, key)
        scaled = (logits / math.sqrt(self.heads[1])).masked_fill(~self.others, th.finfo(logits.dtype).min)
        weights = th.softmax(scaled, dim=-1) * self.others  # [B,T,P,N,N]; nothing to attend to alone
        x = th.einsum("btpij,btjpd->btipd", weights, value).flatten(-2)
        squared = (logits.square() * self.others).sum((-1, -3)) / (self.heads[0] * max(len(self.others) - 1, 1))
        return x, squared

    def judge(
        self, inputs: Tensor, rows: Sequence[int], avail: Tensor | None, encoded: Tensor, rng: th.Generator
    ) -> tuple[QFunction, Tensor]:
        """Q_i as a function of the own action, the others' given, and the squared logits `[B,T,N]`.

        Args:
            inputs: `[B,T,N,I]`.
            rows: `rows[t]` of the B episodes are real at step t.
            avail: `[B,T,N,A]`, or None.
            encoded: everyone's encoded actions, `[B,T,N,U]`.
            rng: for samples of continuous actions.
        """
        own = F.leaky_relu(self.own(inputs, rows)[0])  # [B,T,N,H]
        x, squared = self.attend(own, self._pair(inputs, rows, encoded))
        if not self.one_output:
            assert avail is not None
            return DiscreteQ(self.out(th.cat((own, x), dim=-1), rows), avail), squared
        assert isinstance(self.action_space, ContinuousActions)

        def head(mine: Tensor) -> Tensor:
            both = th.cat((self._pair(inputs, rows, mine), x), dim=-1)
            return self.out(both, rows).squeeze(-1)

        def normal(size: th.Size) -> Tensor:
            return th.randn(size, generator=rng, device=inputs.device)

        return ContinuousQ(head, head, self.action_space, normal), squared

    def _pair(self, inputs: Tensor, rows: Sequence[int], encoded: Tensor) -> Tensor:
        """e_i, `[B,T,N,H]`."""
        return F.leaky_relu(self.pair(th.cat((inputs, encoded), dim=-1), rows)[0])
