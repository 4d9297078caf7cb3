"""FOP's mixer (Zhang et al., ICML 2021): the joint soft Q-function factorised under the IGO constraint, eq. (7).

    Q_jt(tau,u) = sum_i lambda_i(tau,u) [Q_i(tau_i,u_i) - V_i(tau_i)] + V_jt(tau),    lambda_i > 0

Shape legend: B episodes, T steps, N agents, S state, U encoded action, P heads.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch as th
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F  # noqa: N812

from components.inputs import AgentInputs, Inputs, full, joined
from modules.compiled import arrays
from modules.dense import tall
from modules.layers import MLP, mlp, side_by_side
from modules.mixers import igo_kernels
from modules.mixers.mixer import Mixer, MixerShape
from modules.nodes import node
from modules.part_sums import PartSums
from modules.tiles import LINE
from modules.turned import beside
from utils.errors import UserError
from utils.threads import parts_for, share

LAMBDA_HIDDEN = 64  # units of the hidden layers of the MLP lambda network
LAMBDA_FLOOR = 1e-3  # keeps lambda_i > 0 where softplus underflows
LAMBDA_BIAS = 2.0  # lambda_i starts at about 2.1: Q_jt starts low, and it is positive surprises that move Q_i


class HeadLambda(nn.Module):
    """lambda_i = sum_p |a_p(s)| sigmoid(b_p(s))_i sigmoid(c_p(s,u))_i, all maps linear (the released SMAC network)."""

    def __init__(self, shape: MixerShape) -> None:
        super().__init__()
        self.n_agents, self.n_heads = shape.n_agents, shape.n_heads
        joint = shape.state_dim + shape.n_agents * shape.action_dim
        self.key = nn.Linear(shape.state_dim, shape.n_heads)
        self.agents = nn.Linear(shape.state_dim, shape.n_heads * shape.n_agents)
        self.action = nn.Linear(joint, shape.n_heads * shape.n_agents)

    def forward(self, state: Tensor, actions: Inputs) -> Tensor:
        """`[B,T,S]`, `[B,T,N,U]` -> positive weights `[B,T,N]`."""
        return self.together([self], state, actions).squeeze(0)

    @staticmethod
    def together(nets: Sequence[Any], state: Tensor, actions: Inputs) -> Tensor:
        """What K networks make of the same states and actions, `[K,B,T,N]`: all their maps are two products."""
        first = nets[0].action
        parts = [net.action.weight.split([state.shape[-1], first.in_features - state.shape[-1]], dim=1) for net in nets]
        weights, biases = [], []
        for net, (of_state, _) in zip(nets, parts, strict=True):
            weights += [net.key.weight, net.agents.weight, of_state]
            biases += [net.key.bias, net.agents.bias, net.action.bias]
        maps = side_by_side(state, weights, biases).unflatten(-1, (len(nets), -1))  # [B,T,K,P+2PN]
        taken = side_by_side(joined(actions), [of_actions for _, of_actions in parts])
        taken = taken.view(*maps.shape[:-1], -1)  # [B,T,K,PN]
        count = taken.shape[-1]
        keys, own, joint = maps.split([count // nets[0].n_agents, count, count], dim=-1)
        gates = (th.sigmoid(own) * th.sigmoid(joint + taken)).unflatten(-1, (-1, nets[0].n_agents))
        return (keys.abs().unsqueeze(-1) * gates).sum(-2).movedim(-2, 0)


class MLPLambda(nn.Module):
    """lambda = softplus(x) - softplus(x - max) + 1e-3, x = MLP(s, u), above 1e-3, below max + 1e-3.

    Two hidden layers: one-state games need them. Where max is 0, lambda = softplus(x) + 1e-3 without a bound.
    """

    def __init__(self, shape: MixerShape) -> None:
        super().__init__()
        joint = shape.state_dim + shape.n_agents * shape.action_dim
        self.limit = shape.lambda_max
        self.net = mlp(joint, LAMBDA_HIDDEN, LAMBDA_HIDDEN, shape.n_agents)
        last = self.net[-1]
        assert isinstance(last, nn.Linear)
        nn.init.constant_(last.bias, LAMBDA_BIAS)

    def forward(self, state: Tensor, actions: Inputs) -> Tensor:
        """`[B,T,S]`, `[B,T,N,U]` -> positive weights `[B,T,N]`."""
        return self.together([self], state, actions).squeeze(0)

    @staticmethod
    def together(nets: Sequence[Any], state: Tensor, actions: Inputs) -> Tensor:
        """What K networks make of the same states and actions, `[K,B,T,N]`."""
        limit, joint = nets[0].limit, th.cat((state, full(actions).flatten(-2)), dim=-1)
        x = MLP.together([net.net for net in nets], joint)
        weights = F.softplus(x) - F.softplus(x - limit) if limit else F.softplus(x)
        return weights + LAMBDA_FLOOR


def make_lambda_net(shape: MixerShape) -> HeadLambda | MLPLambda:
    """The network `shape.lambda_net` names; "auto" is heads, or mlp where there is only one state.

    Raises:
        UserError: a bound on lambda_i for the heads, which have none.
    """
    kind = shape.lambda_net
    if kind == "auto":
        kind = "mlp" if shape.state_dim == 1 else "heads"
    if kind == "mlp":
        return MLPLambda(shape)
    if shape.lambda_max:
        raise UserError(
            f"lambda_max={shape.lambda_max:g} bounds lambda_net=mlp only, lambda_net={shape.lambda_net} is the heads "
            f"with {shape.state_dim} state features; allowed: lambda_max=0 or lambda_net=mlp"
        )
    return HeadLambda(shape)


class _HeadMixer(th.autograd.Function):
    """`IGOMixer` of K members whose lambda_i are `HeadLambda`s, in one node; float32 on the CPU.

    `q` and `v` are `[K,R,N]`, `state` `[R,S]`, `ones [R,N,J]` places among each agent's U actions, -1: none; for each
    member follow the weights of k_p, a_pi, c_pi and of both maps of V(s), for each their biases in the same order.
    State and v get no gradient.
    """

    @staticmethod
    def forward(ctx: Any, keep: bool, q: Tensor, v: Tensor, state: Tensor, ones: Tensor, *layers: Tensor) -> Tensor:
        q, v, state, ones = (x.contiguous() for x in (q, v, state, ones))
        (members, rows, _), count = q.shape, len(layers) // 2
        key, agents, action, units, last = (layers[k:count:5] for k in range(5))
        each = [weight for some in zip(key, agents, action, units, strict=True) for weight in some]
        first, taken = beside(each, slice(state.shape[1]), LINE), beside(action, slice(state.shape[1], None))
        b_first = [x for k in range(members) for x in layers[count + 5 * k : count + 5 * k + 4]]
        parts, every = parts_for(rows * first.numel()), sum(weight.shape[0] for weight in each)
        layer, out = q.new_empty(rows if keep else igo_kernels.ROWS * len(parts), every), q.new_empty(members, rows)
        weights, biases = (*arrays((first, taken)), arrays(last)), (arrays(b_first), arrays(layers[count + 4 :: 5]))
        passed = arrays((state, ones, q, v)), weights, biases, layer.numpy(), out.numpy()
        share(igo_kernels.forward, parts, key[0].shape[0], *passed)
        ctx.save_for_backward(state, ones, q, v, layer, *last)
        ctx.sizes = key[0].shape[0], action[0].shape[0], taken.shape[0], units[0].shape[0]
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        known, last = ctx.saved_tensors[:5], ctx.saved_tensors[5:]
        (state, _, q, _, layer), (n_heads, count, joint, n_units) = known, ctx.sizes
        every, members = layer.shape[1], len(last)
        parts = parts_for(2 * state.shape[0] * every * state.shape[1])
        shapes = (every, state.shape[1]), (joint, members * count), (members, n_units), (every,), (members,)
        sums, d_q = PartSums(parts, shapes), th.empty_like(q)
        passed = arrays(known), arrays(last), grad.contiguous().numpy(), d_q.numpy(), sums.arrays
        share(igo_kernels.backward, parts, n_heads, *passed)
        first, taken, d_last, b_first, b_last = sums.total()
        sizes, weights, biases = [n_heads, count, count, n_units], [], []
        for k, (of_first, bias) in enumerate(zip(first.chunk(members), b_first.chunk(members), strict=True)):
            key, agents, of_state, units = of_first.split(sizes)
            action = th.cat((of_state, taken[:, k * count : (k + 1) * count].t()), 1)
            weights += [key, agents, action, units, d_last[k : k + 1]]
            biases += [*bias.split(sizes), b_last[k : k + 1]]
        return None, d_q, None, None, None, *weights, *biases


class IGOMixer(Mixer):
    """Eq. (7) with V_jt = V(s) + sum_i V_i, written so that each Q_i receives gradient exactly 1.

        Q_jt = sum_i Q_i + V(s) + sum_i (lambda_i - 1) sg(Q_i - V_i)

    The value equals eq. (7); lambda is trained on detached advantages and V_i receives no gradient at all (the
    V_i that enters the value cancels: sum_i V_i in V_jt against the one in the advantage times 1). Differentiating
    eq. (7) as printed gives Q_i the gradient lambda_i, which fails to find the optimum: docs/algorithms/fop.md.
    """

    uses = frozenset({"actions", "baseline"})
    compiled: ClassVar[bool] = True  # whether the CPU's kernels are of this formula

    def __init__(self, shape: MixerShape) -> None:
        super().__init__(shape)
        self.lambda_net = make_lambda_net(shape)
        self.v = mlp(shape.state_dim, shape.embed_dim, 1)

    def lambda_weights(self, state: Tensor, actions: Inputs) -> Tensor:
        """lambda_i(s,u), `[B,T,N]`."""
        weights: Tensor = self.lambda_net(state, actions)
        return weights

    def mix(self, utilities: Tensor, state: Tensor, actions: Inputs | None, baseline: Tensor | None) -> Tensor:
        """`[B,T,N]` -> `[B,T,1]`."""
        assert baseline is not None
        return self.mix_all([self], utilities.unsqueeze(0), state, actions, baseline.unsqueeze(0)).squeeze(0)

    @classmethod
    def mix_all(
        cls, mixers: Sequence[Any], utilities: Tensor, state: Tensor, actions: Inputs | None, baseline: Tensor | None
    ) -> Tensor:
        """The networks of all members at once."""
        assert actions is not None
        assert baseline is not None
        nets, rows = [mixer.lambda_net for mixer in mixers], state.shape[0] * state.shape[1]
        heads = cls.compiled and isinstance(nets[0], HeadLambda) and not state.requires_grad and tall(utilities, rows)
        if heads and isinstance(actions, AgentInputs) and actions.numbers.shape[-1] == 0:
            return _together(mixers, utilities, state, actions.ones, baseline)
        weights, value = nets[0].together(nets, state, actions), MLP.together([mixer.v for mixer in mixers], state)
        return cls.joint(utilities, baseline, weights, value)

    @staticmethod
    def joint(utilities: Tensor, baseline: Tensor, weights: Tensor, value: Tensor) -> Tensor:
        """Q_jt `[...,1]` of Q_i, V_i, lambda_i `[...,N]` and V(s) `[...,1]`."""
        correction = (weights - 1.0) * (utilities - baseline).detach()
        return utilities.sum(-1, keepdim=True) + value + correction.sum(-1, keepdim=True)


def _together(mixers: Sequence[Any], utilities: Tensor, state: Tensor, ones: Tensor, baseline: Tensor) -> Tensor:
    """`IGOMixer.mix_all` by the kernels, of places of actions `ones [B,T,N,J]`."""
    members = [
        [mixer.lambda_net.key, mixer.lambda_net.agents, mixer.lambda_net.action, mixer.v[0], mixer.v[-1]]
        for mixer in mixers
    ]
    layers = [layer for some in members for layer in some]
    every = [*(layer.weight for layer in layers), *(layer.bias for layer in layers)]
    keep = th.is_grad_enabled() and any(x.requires_grad for x in (utilities, *every))
    given = (*(x.flatten(1, 2) for x in (utilities, baseline.detach())), *(x.flatten(0, 1) for x in (state, ones)))
    out: Tensor = node(_HeadMixer, keep, *given, *every)
    return out.view(*utilities.shape[:-1], 1)


class LiteralIGOMixer(IGOMixer):
    """Eq. (7) differentiated as printed: Q_jt = sum_i lambda_i [Q_i - sg V_i] + V_jt(s). For the ablation."""

    compiled = False

    @staticmethod
    def joint(utilities: Tensor, baseline: Tensor, weights: Tensor, value: Tensor) -> Tensor:
        """See `IGOMixer.joint`."""
        return (weights * (utilities - baseline.detach())).sum(-1, keepdim=True) + value


class DOPMixer(Mixer):
    """DOP's decomposition (paper eq. 1): Q_jt = sum_i k_i(s) Q_i + b(s), k_i >= 0. For the ablation and for DOP."""

    monotonic = True
    igm = True

    def __init__(self, shape: MixerShape) -> None:
        super().__init__(shape)
        self.k = mlp(shape.state_dim, shape.embed_dim, shape.n_agents)
        self.b = mlp(shape.state_dim, shape.embed_dim, 1)

    def weights(self, state: Tensor) -> Tensor:
        """k_i(s), `[B,T,N]`."""
        k: Tensor = self.k(state).abs()
        return k

    def mix(self, utilities: Tensor, state: Tensor, actions: Inputs | None, baseline: Tensor | None) -> Tensor:
        """`[B,T,N]` -> `[B,T,1]`."""
        q_joint: Tensor = (self.weights(state) * utilities).sum(-1, keepdim=True) + self.b(state)
        return q_joint
