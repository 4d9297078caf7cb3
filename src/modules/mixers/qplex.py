"""QPLEX (Wang et al., ICLR 2021): duplex dueling, all and only the functions that satisfy IGM.

    Q_tot(tau,u) = sum_i Q_i(tau,u_i) + sum_i (lambda_i(s,u) - 1) sg(A_i),    A_i = Q_i(tau,u_i) - V_i <= 0
    Q_i(tau,.) = w_i(s) Q_i(tau_i,.) + b_i(s),    V_i = max over available actions of Q_i(tau,.),    w_i, lambda_i > 0

Shape legend: B episodes, T steps, N agents, S state, U encoded action, P heads, I inputs.
"""

from __future__ import annotations

import torch as th
from torch import Tensor, nn

from components.inputs import Inputs, full
from modules.layers import GroupedLinear, mlp
from modules.mixers.igo import HeadLambda
from modules.mixers.mixer import Mixer, MixerShape
from modules.mixers.qatten import UnitAttention

DEEP_HEADS = 10  # heads of the lambda network of the authors' one-state games
LAMBDA_HIDDEN = 64  # units of hidden layers of lambda networks
LOG_LAMBDA_BOUND = 20.0  # |log lambda| of ExpLambda stays below this
WEIGHT_FLOOR = 1e-10  # keeps w_i > 0


class HeadMLP(nn.Module):
    """A three-layer network for each of P heads: `[B,T,I]` -> `[P,B,T,out]`."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        sizes = ((n_in, LAMBDA_HIDDEN), (LAMBDA_HIDDEN, LAMBDA_HIDDEN), (LAMBDA_HIDDEN, n_out))
        self.layers = nn.ModuleList([GroupedLinear(DEEP_HEADS, *size) for size in sizes])

    def forward(self, x: Tensor) -> Tensor:
        """The same input to every head."""
        first, second, last = self.layers
        hidden = th.relu(second(th.relu(first(x.expand(DEEP_HEADS, *x.shape)))))
        out: Tensor = last(hidden)
        return out


class DeepHeadLambda(nn.Module):
    """lambda_i = sum_p |a_p(s)| sigmoid(b_p(s))_i sigmoid(c_p(s,u))_i with 10 heads of three-layer networks."""

    def __init__(self, shape: MixerShape) -> None:
        super().__init__()
        joint = shape.state_dim + shape.n_agents * shape.action_dim
        self.key = HeadMLP(shape.state_dim, 1)
        self.agents = HeadMLP(shape.state_dim, shape.n_agents)
        self.action = HeadMLP(joint, shape.n_agents)

    def forward(self, state: Tensor, actions: Inputs) -> Tensor:
        """`[B,T,S]`, `[B,T,N,U]` -> positive weights `[B,T,N]`."""
        gates = th.sigmoid(self.agents(state)) * th.sigmoid(
            self.action(th.cat((state, full(actions).flatten(-2)), dim=-1))
        )
        weights: Tensor = (self.key(state).abs() * gates).sum(0)
        return weights


class ExpLambda(nn.Module):
    """lambda = exp(MLP(s, u)) with two hidden layers, for one-state games.

    Where the best joint action still looks second best, its agents' advantages must pass through 0 while the penalties
    next to it, products lambda_i A_i, stay: lambda has to grow by orders of magnitude in few updates and to fall again
    once the ranks have changed. In the logarithm both are a matter of adding (docs/algorithms/qplex.md).
    """

    def __init__(self, shape: MixerShape) -> None:
        super().__init__()
        joint = shape.state_dim + shape.n_agents * shape.action_dim
        self.log_lambda = mlp(joint, LAMBDA_HIDDEN, LAMBDA_HIDDEN, shape.n_agents)

    def forward(self, state: Tensor, actions: Inputs) -> Tensor:
        """`[B,T,S]`, `[B,T,N,U]` -> positive weights `[B,T,N]`."""
        log_lambda: Tensor = self.log_lambda(th.cat((state, full(actions).flatten(-2)), dim=-1))
        return (LOG_LAMBDA_BOUND * th.tanh(log_lambda / LOG_LAMBDA_BOUND)).exp()  # a clamp would let no gradient back


LAMBDA_NETS: dict[str, type[nn.Module]] = {"heads": HeadLambda, "deep": DeepHeadLambda, "mlp": ExpLambda}


def make_lambda_net(shape: MixerShape) -> nn.Module:
    """The network `shape.lambda_net` names; "auto" is heads, or mlp where there is only one state."""
    kind = shape.lambda_net
    if kind == "auto":
        kind = "mlp" if shape.state_dim == 1 else "heads"
    return LAMBDA_NETS[kind](shape)


class QPLEXMixer(Mixer):
    """The formula above; `baseline` is the maximum of the utilities before the transformation.

    Since w_i > 0, the maximum of the transformed utilities is w_i max_a Q_i(tau_i,a) + b_i, so that the
    transformed advantage is w_i (Q_i - max Q_i). Each Q_i receives the gradient w_i, lambda is trained on
    detached advantages.
    """

    igm = True
    uses = frozenset({"actions", "baseline"})

    def __init__(self, shape: MixerShape) -> None:
        super().__init__(shape)
        self.lambda_net = make_lambda_net(shape)
        self.w: nn.Module = mlp(shape.state_dim, shape.embed_dim, shape.n_agents)
        self.b = mlp(shape.state_dim, shape.embed_dim, shape.n_agents)

    def weights(self, state: Tensor) -> Tensor:
        """w_i(s), `[B,T,N]`."""
        w: Tensor = self.w(state).abs() + WEIGHT_FLOOR
        return w

    def offsets(self, state: Tensor) -> Tensor:
        """b_i(s), `[B,T,N]`."""
        b: Tensor = self.b(state)
        return b

    def mix(self, utilities: Tensor, state: Tensor, actions: Inputs | None, baseline: Tensor | None) -> Tensor:
        """`[B,T,N]` -> `[B,T,1]`."""
        assert actions is not None
        assert baseline is not None
        w = self.weights(state)
        advantages = (w * (utilities - baseline)).detach()
        correction = (self.lambda_net(state, actions) - 1.0) * advantages
        q_tot: Tensor = (w * utilities + self.offsets(state) + correction).sum(-1, keepdim=True)
        return q_tot


class AttentionQPLEXMixer(QPLEXMixer):
    """The released StarCraft variant: w_i are Qatten's attention weights, b_i = c(s) / N, and logits are penalised."""

    def __init__(self, shape: MixerShape) -> None:
        super().__init__(shape)
        self.w = UnitAttention(shape)
        self.b = mlp(shape.state_dim, shape.embed_dim, 1)  # c(s)

    def offsets(self, state: Tensor) -> Tensor:
        """c(s) / N, `[B,T,1]`."""
        c: Tensor = self.b(state)
        return c / self.shape.n_agents

    def regulariser(self, state: Tensor) -> Tensor:
        """The penalty on attention logits, `[B,T,1]`."""
        assert isinstance(self.w, UnitAttention)
        return self.w.penalty(state)
