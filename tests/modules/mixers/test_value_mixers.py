"""IGM by enumeration for QPLEX, Qatten and WQMIX's Q_tot, its failure for Q*, and QPLEX's values and gradients."""

import itertools

import pytest
import torch as th

from modules.mixers import REGISTRY, AttentionQPLEXMixer, QattenMixer, QMIXMixer, QPLEXMixer, QStarMixer
from modules.mixers.mixer import MixerShape

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


def test_q_star_is_not_igm():
    """T16, negative: WQMIX's Q* is unrestricted, and for most random weights its argmax is another one."""
    assert not QStarMixer.igm
    assert not QStarMixer.monotonic
    assert violations(QStarMixer, "auto") > 30


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


def test_one_state_games_get_the_deep_lambda_network():
    """ "auto": ten heads of three layers where the state is a constant, the linear heads elsewhere."""
    deep = REGISTRY["qplex"](MixerShape(2, 1, 3)).lambda_net
    heads = REGISTRY["qplex"](MixerShape(2, 4, 3)).lambda_net
    assert [len(layer.weight) for layer in deep.action.layers] == [10, 10, 10]
    assert heads.n_heads == 4
    assert isinstance(heads.action, th.nn.Linear)


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
