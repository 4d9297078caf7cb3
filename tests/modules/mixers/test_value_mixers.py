"""IGM by enumeration for QPLEX, Qatten and WQMIX's Q_tot, its failure for Q*, and QPLEX's values and gradients."""

import itertools

import pytest
import torch as th

from modules.mixers import (
    REGISTRY,
    AttentionQPLEXMixer,
    IGOMixer,
    NonmonotonicMixer,
    QattenMixer,
    QMIXMixer,
    QPLEXMixer,
    QStarMixer,
)
from modules.mixers.mixer import MixerShape
from modules.mixers.qplex import ExpLambda
from value_helpers import Constant

N_AGENTS, N_ACTIONS = 3, 4
JOINT = list(itertools.product(range(N_ACTIONS), repeat=N_AGENTS))


def make(mixer, lambda_net="auto"):
    """A mixer with random weights, large enough for its networks to bend."""
    made = mixer(MixerShape(N_AGENTS, 7, N_ACTIONS, 8, 4, lambda_net, unit_dim=2))
    for weight in made.parameters():
        weight.data *= 3.0
    return made


def best_joint_action(mixer, tables, state, avail):
    """Argmax of Q_tot over available joint actions by enumeration; utilities `[N,A]`."""
    joint = [u for u in JOINT if all(avail[i, a] for i, a in enumerate(u))]
    utilities = th.stack([tables[range(N_AGENTS), u] for u in joint]).unsqueeze(0)  # [1,P,N]
    actions = th.nn.functional.one_hot(th.tensor(joint), N_ACTIONS).float().unsqueeze(0)
    best = tables.where(avail, -th.inf).amax(-1).expand(1, len(joint), -1)
    q_tot = mixer(utilities, state.expand(1, len(joint), -1), actions=actions, baseline=best)
    return joint[int(q_tot.argmax())]


CASES = [
    (QPLEXMixer, "heads"),
    (QPLEXMixer, "deep"),
    (QPLEXMixer, "mlp"),
    (AttentionQPLEXMixer, "heads"),
    (QattenMixer, "auto"),
    (QMIXMixer, "auto"),
]


@th.no_grad()
def violations(mixer_class, lambda_net, games=60):
    """Number of random games whose best available joint action is not the tuple of best individual ones."""
    th.manual_seed(3)
    count = 0
    for _ in range(games):
        mixer, tables, state = make(mixer_class, lambda_net), th.randn(N_AGENTS, N_ACTIONS), th.randn(7)
        avail = th.rand(N_AGENTS, N_ACTIONS) < 0.7
        avail[:, 0] |= ~avail.any(-1)
        individual = tuple(tables.where(avail, -th.inf).argmax(-1).tolist())
        count += best_joint_action(mixer, tables, state, avail) != individual
    return count


@pytest.mark.parametrize(("mixer", "lambda_net"), CASES)
def test_igm_by_enumeration(mixer, lambda_net):
    """T16, with unavailable actions: the individual argmaxes are the joint one."""
    assert mixer.igm
    assert violations(mixer, lambda_net) == 0


@pytest.mark.parametrize("mixer", [QStarMixer, NonmonotonicMixer])
def test_unconstrained_mixers_are_not_igm(mixer):
    """T16, negative: for most random weights of Q* and of FACMAC's ablation the joint argmax is another one."""
    assert not mixer.igm
    assert not mixer.monotonic
    assert violations(mixer, "auto") > 30


@pytest.mark.parametrize("mixer", REGISTRY.values())
def test_monotonic_exactly_where_claimed(mixer):
    """T17: larger utilities never lower Q_tot of those that claim it, whichever the state; they do of the others.

    QPLEX and FOP, which are not monotonic, are as long as the baselines of their advantages do not move.
    """
    th.manual_seed(5)
    made, size = make(mixer), (200, 5, N_AGENTS)
    low, state = th.randn(size), 2.0 * th.randn(200, 5, 7)
    high = low + th.rand(size)
    actions = th.nn.functional.one_hot(th.randint(N_ACTIONS, size), N_ACTIONS).float()
    extra = {"actions": actions, "baseline": high + 1.0} if mixer.uses else {}
    with th.no_grad():
        gain = made(high, state, **extra) - made(low, state, **extra)
    if mixer.monotonic or mixer.uses:
        assert (gain > -1e-4).all()
    else:
        assert (gain < -1e-3).float().mean() > 0.05


def test_qplex_is_not_monotonic():
    """T17: raising the best utility raises V_i and with it the distance of the actions below: Q_tot of others falls."""
    th.manual_seed(0)
    mixer, state = make(QPLEXMixer), th.randn(1, 1, 7)
    actions = th.nn.functional.one_hot(th.tensor([[[1, 0, 0]]]), N_ACTIONS).float()
    mixer.lambda_net = Constant(*[3.0] * N_AGENTS)
    values = [
        mixer(th.zeros(1, 1, N_AGENTS), state, actions=actions, baseline=th.tensor([[[top, 0.0, 0.0]]])).item()
        for top in (1.0, 2.0)
    ]
    assert values[1] < values[0]


def test_soft_values_break_igm_at_finite_temperature():
    """T3: FOP's mixer, Q_i = (0, -1), V_i = 0.313; lambda is 10 at the greedy joint action and 0.1 elsewhere."""
    mixer, soft = IGOMixer(MixerShape(2, 1, 2)), th.tensor([0.0, -1.0]).logsumexp(0)
    values = []
    for action, weight in ((0, 10.0), (1, 0.1)):  # both agents play it
        mixer.lambda_net = Constant(weight, weight)
        actions = th.nn.functional.one_hot(th.full((1, 1, 2), action), 2).float()
        q = th.full((1, 1, 2), -float(action))
        # Q_jt - V_jt with V_jt = V(s) + sum_i V_i
        values.append(mixer(q, th.ones(1, 1, 1), actions=actions, baseline=soft.expand(1, 1, 2)).item())
    assert not IGOMixer.igm
    assert values[1] - values[0] == pytest.approx(6.265 - 0.263, abs=0.01)


def test_qplex_value_and_gradients():
    """Q_tot = sum_i V_i + lambda_i A_i of transformed values; dQ_tot/dQ_i = w_i, whatever lambda; none to V_i."""
    th.manual_seed(0)
    mixer = make(QPLEXMixer)
    q, state = th.randn(2, 5, N_AGENTS, requires_grad=True), th.randn(2, 5, 7)
    best = (q.detach() + th.rand(2, 5, N_AGENTS)).requires_grad_()
    actions = th.nn.functional.one_hot(th.randint(N_ACTIONS, (2, 5, N_AGENTS)), N_ACTIONS).float()
    out = mixer(q, state, actions=actions, baseline=best)
    w, b = mixer.weights(state), mixer.offsets(state)
    v, a = w * best + b, w * (q - best)
    th.testing.assert_close(out, (v + mixer.lambda_net(state, actions) * a).sum(-1, keepdim=True))
    (grad,) = th.autograd.grad(out.sum(), q, retain_graph=True)
    th.testing.assert_close(grad, w)
    assert th.autograd.grad(out.sum(), best, allow_unused=True) == (None,)


def test_one_state_games_get_the_mlp_lambda_network():
    """ "auto": exp of a network with hidden layers where the state is a constant, the linear heads elsewhere."""
    alone, elsewhere = (REGISTRY["qplex"](MixerShape(2, size, 3)).lambda_net for size in (1, 4))
    deep = REGISTRY["qplex"](MixerShape(2, 1, 3, lambda_net="deep")).lambda_net
    assert isinstance(alone, ExpLambda)
    assert [len(layer.weight) for layer in deep.action.layers] == [10, 10, 10]
    assert elsewhere.n_heads == 4
    assert isinstance(elsewhere.action, th.nn.Linear)
    with th.no_grad():
        alone.log_lambda[-1].bias.fill_(1e6)
    assert alone(th.ones(1, 1, 1), th.zeros(1, 1, 2, 3)).log().tolist() == [[[pytest.approx(20.0)] * 2]]


def test_qatten_weights_are_a_mixture_of_attentions():
    """Weights sum to sum_p w_p(s): each head's attention is a distribution over the agents."""
    mixer = make(QattenMixer)
    state = th.randn(2, 5, 7)
    total = mixer.attention.head_weights(state).abs().sum(-1)
    th.testing.assert_close(mixer.attention(state).sum(-1), total)


def test_units_must_fit_into_the_state():
    """Three slices of three entries in a state of seven are an error."""
    with pytest.raises(ValueError, match="do not fit"):
        QattenMixer(MixerShape(3, 7, 4, unit_dim=3))
