"""Compiled steps of mixers against the formulas in double precision: values and gradients."""

import pytest
import torch as th

from components.action_space import DiscreteActions
from components.inputs import encoded, full
from modules.layers import Ensemble
from modules.mixers.igo import IGOMixer
from modules.mixers.mixer import MixerShape
from modules.mixers.nonmonotonic import NonmonotonicMixer
from modules.mixers.qmix import QMIXMixer


def both(function, *tensors, scale=2e-6):
    """Outputs and gradients in single and in double precision agree to rounding."""
    results = []
    for cast in (th.float32, th.float64):
        inputs = [x.to(cast).requires_grad_() for x in tensors]
        out = function(cast, *inputs)
        factor = th.sin(th.arange(out.numel(), dtype=cast)).view(out.shape)
        results.append([out, *th.autograd.grad((out * factor).sum(), inputs)])
    for single, double in zip(*results, strict=True):
        assert single.shape == double.shape
        assert (single - double).abs().max() < scale * max(1.0, double.abs().max().item())


@pytest.mark.parametrize(("members", "n_heads", "n_agents"), [(1, 4, 3), (2, 1, 1), (2, 3, 10)])
def test_igo(members, n_heads, n_agents):
    """Values, gradients of utilities and of all weights; more rows than a block, actions that are not there."""
    th.manual_seed(0)
    shape, space = MixerShape(n_agents, 6, 5, embed_dim=9, n_heads=n_heads), DiscreteActions(5)
    ensemble = Ensemble([IGOMixer(shape) for _ in range(members)])
    with th.no_grad():
        ensemble.first.lambda_net.key.weight[0], ensemble.first.lambda_net.key.bias[0] = 0.0, 0.0  # |k_p| has slope 0
    actions = encoded(th.randint(-1, 5, (40, 30, n_agents, 1)), space)
    q, v, state = 3 * th.randn(members, 40, 30, n_agents), th.randn(members, 40, 30, n_agents), th.randn(40, 30, 6)
    names = [name for name, _ in ensemble.named_parameters()]

    def mixed(cast, utilities, *weights):
        chosen = actions if cast == th.float32 else full(actions).to(cast)  # kernels and formulas
        given = dict(zip(names, weights, strict=True)), (utilities, state.to(cast))
        return th.func.functional_call(ensemble, *given, {"actions": chosen, "baseline": v.to(cast)})

    both(mixed, q, *(weight.detach() for weight in ensemble.parameters()), scale=2e-5)
    with_gradient = ensemble(q, state, actions=actions, baseline=v)
    with th.no_grad():
        assert th.equal(ensemble(q, state, actions=actions, baseline=v), with_gradient)


def test_igo_gives_the_baseline_no_gradient():
    """A frozen mixer of a baseline with a gradient: as the formula, which detaches it."""
    ensemble = Ensemble([IGOMixer(MixerShape(3, 6, 5))]).requires_grad_(False)
    actions, v = encoded(th.randint(5, (30, 20, 3, 1)), DiscreteActions(5)), th.randn(1, 30, 20, 3, requires_grad=True)
    assert not ensemble(th.randn(1, 30, 20, 3), th.randn(30, 20, 6), actions=actions, baseline=v).requires_grad


@pytest.mark.parametrize("where", ["utilities", "state", "weights"])
def test_igo_does_not_hide_what_is_not_a_number(where):
    """In the row it stands in, or everywhere."""
    ensemble = Ensemble([IGOMixer(MixerShape(3, 6, 5)) for _ in range(2)])
    actions = encoded(th.randint(5, (30, 20, 3, 1)), DiscreteActions(5))
    q, v, state = th.randn(2, 30, 20, 3), th.randn(2, 30, 20, 3), th.randn(30, 20, 6)
    if where == "utilities":
        q[1, 4, 5, 0] = th.nan
    elif where == "state":
        state[4, 5, 0] = th.nan
    else:
        ensemble.members[1].lambda_net.agents.bias.data[0] = th.nan
    found = ensemble(q, state, actions=actions, baseline=v).isnan().squeeze(-1)
    expected = {"utilities": (1, 1), "state": (2, 2), "weights": (600, 600)}[where]
    assert found.sum() == expected[0]
    assert where == "weights" or found[1, 4, 5]


def test_not_a_number_is_not_hidden():
    mixer, utilities = QMIXMixer(MixerShape(4, 6, 5)), th.randn(2, 3, 4)
    utilities[1, 2, 0] = float("nan")
    assert mixer(utilities, th.randn(2, 3, 6)).isnan().flatten().tolist() == [False] * 5 + [True]


@pytest.mark.parametrize("kind", [QMIXMixer, NonmonotonicMixer])
@pytest.mark.parametrize("rows", [(2, 3), (40, 30)])
def test_qmix(kind, rows):
    """Through the whole mixer: utilities, state, and so the hypernetworks' outputs."""
    th.manual_seed(0)
    mixer = kind(MixerShape(4, 6, 5, embed_dim=9))
    utilities, state = 3 * th.randn(*rows, 4), th.randn(*rows, 6)
    both(lambda cast, q, s: mixer.to(cast)(q, s), utilities, state)
