"""MAAC's attention critic (Iqbal and Sha, ICML 2019), and its construction for continuous actions.

Shape legend: B episodes, T steps, N agents, A actions, U encoded action, I inputs, H hidden, P heads, d = H / P,
R real steps of all episodes, G and M groups and rows of `modules/layers.py`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch as th
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from components.action_space import ActionSpace, ContinuousActions
from components.inputs import Inputs, full
from modules.agents.trunk import AgentShape
from modules.critics.critic import SINGLE
from modules.critics.q_function import ContinuousQ, DiscreteQ, QFunction
from modules.layers import AgentAxis, GroupedLinear, Linear
from utils.errors import UserError


class AttentionCritic(nn.Module):
    """Q_i from the own observation and a weighted sum of what the others see and do.

        g_i = enc_s(o_i),   e_j = enc(o_j, u_j),   a_p,ij = softmax over j != i of (W_q g_i) . (W_k e_j) / sqrt(d)
        x_i = concat_p sum_j a_p,ij LeakyReLU(W_v e_j)
        discrete:   Q_i(o, (., u_-i)) = f([g_i, x_i]), one output per own action
        continuous: Q_i(o, (u_i, u_-i)) = f([e_i, x_i]), one value; x_i does not depend on u_i in either case

    Encoders have one layer, f two, with LeakyReLU, as published.

    Args:
        shape: sizes of the encoders; their parameters are shared or not, the attention's always are.
        action_space: the agents' actions.
        n_heads: P, a divisor of the hidden size.

    Raises:
        UserError: if it is none.
    """

    others: Tensor  # [N,N] bool, False on the diagonal

    def __init__(self, shape: AgentShape, action_space: ActionSpace, n_heads: int) -> None:
        super().__init__()
        width = shape.hidden_dim
        if width % n_heads:
            allowed = ", ".join(str(count) for count in range(1, width + 1) if width % count == 0)
            raise UserError(f"attention_heads={n_heads} must divide critic_hidden_dim={width}: {allowed}")
        self.action_space, self.heads = action_space, (n_heads, width // n_heads)
        self.axis = AgentAxis(shape.n_agents, 1, shape.share_parameters)
        groups, self.one_output = self.axis.groups, isinstance(action_space, ContinuousActions)
        self.own = GroupedLinear(groups, shape.n_inputs, width)
        self.pair = GroupedLinear(groups, shape.n_inputs + action_space.enc_dim, width)
        self.out = nn.Sequential(
            GroupedLinear(groups, 2 * width, width),
            nn.LeakyReLU(),
            GroupedLinear(groups, width, 1 if self.one_output else action_space.enc_dim),
        )
        self.query, self.key = (Linear(width, width, bias=False) for _ in range(2))
        self.value = Linear(width, width)
        self.register_buffer("others", ~th.eye(shape.n_agents, dtype=th.bool), persistent=False)

    def attend(self, own: Tensor, pair: Tensor) -> tuple[Tensor, Tensor]:
        """From g and e `[R,N,H]`: x `[R,N,H]`, and the squared logits, sum over heads, mean over pairs, `[R]`."""
        query, key = self.query(own).unflatten(-1, self.heads), self.key(pair).unflatten(-1, self.heads)
        value = F.leaky_relu(self.value(pair)).unflatten(-1, self.heads)  # [R,N,P,d]
        logits = th.einsum("ripd,rjpd->rpij", query, key)
        scaled = (logits / math.sqrt(self.heads[1])).masked_fill(~self.others, th.finfo(logits.dtype).min)
        weights = th.softmax(scaled, dim=-1) * self.others  # [R,P,N,N]; nothing to attend to alone
        x = th.einsum("rpij,rjpd->ripd", weights, value).flatten(-2)
        return x, (logits.square() * self.others).sum((1, 2, 3)) / self.others.sum().clamp(min=1)

    def judge(
        self, inputs: Inputs, rows: Sequence[int], avail: Tensor | None, encoded: Tensor, rng: th.Generator
    ) -> tuple[QFunction, Tensor]:
        """Q_i as a function of the own action, the others' given, and the squared logits, sum over heads, `[B,T,N]`.

        Args:
            inputs: `[B,T,N,I]`.
            rows: `rows[t]` of the B episodes are real at step t.
            avail: `[B,T,N,A]`, or None.
            encoded: everyone's encoded actions, `[B,T,N,U]`.
            rng: for samples of continuous actions.
        """
        axis, packed = self.axis, self.axis.pack(full(inputs), rows)  # [G,M,I]

        def pair(actions: Tensor) -> Tensor:
            taken = axis.pack(actions.flatten(3), rows).unflatten(-1, actions.shape[3:])  # [G,M,U] or [G,M,S,U]
            return F.leaky_relu(self.pair(th.cat((_repeated(packed, taken), taken), dim=-1)))  # [G,M,H], [G,M,S,H]

        own = F.leaky_relu(self.own(packed))
        x, squared = self.attend(axis.hidden_from_groups(own), axis.hidden_from_groups(pair(encoded)))
        attended = axis.hidden_to_groups(x)
        every = axis.hidden_to_groups(squared.view(-1, 1, 1).expand(-1, axis.n_agents, 1))  # the same for all agents
        penalised = axis.unpack(every, rows, len(inputs)).squeeze(0).squeeze(-1)

        def q(mine: Tensor) -> Tensor:
            values = self.out(th.cat((mine, _repeated(attended, mine)), dim=-1)).flatten(2)
            return axis.unpack(values, rows, len(inputs))  # [1,B,T,N,A|1|S]

        if not self.one_output:
            assert avail is not None
            return DiscreteQ(q(own), avail), penalised
        assert isinstance(self.action_space, ContinuousActions)

        def head(mine: Tensor) -> Tensor:
            values = q(pair(mine))
            return values if mine.dim() > SINGLE else values.squeeze(-1)

        def normal(size: th.Size) -> Tensor:
            return th.randn(size, generator=rng, device=inputs.device)

        return ContinuousQ(head, head, self.action_space, normal), penalised


def _repeated(known: Tensor, like: Tensor) -> Tensor:
    """`known [G,M,F]` as it is, or for every one of S rows `[G,M,S,F]` if `like` has them."""
    return known if known.dim() == like.dim() else known.unsqueeze(-2).expand(*like.shape[:-1], -1)
