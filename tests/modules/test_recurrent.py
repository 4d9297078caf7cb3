"""Input layer, GRU and output layer in one kernel against the layers one by one in double precision."""

import pytest
import torch as th

from components.inputs import InputSpec, agent_inputs, build_inputs
from helpers import CONTINUOUS, DISCRETE
from modules.agents.trunk import AgentShape, Head, MLPTrunk, RNNTrunk
from modules.dense import Packed, numbers_alone
from modules.recurrent import recurrent

STEPS, BATCH, N_AGENTS, OBS = 9, 40, 3, 5
LENGTHS = {"equal": [STEPS] * BATCH, "ragged": [STEPS, STEPS, *range(STEPS, 1, -1)] + [1] * 30}


def some_inputs(space, spec=None):
    """The same inputs in two parts and at once, `[B,T,N,I]`; time first in memory, as batches are."""
    th.manual_seed(0)
    obs, state = th.randn(STEPS, BATCH, N_AGENTS, OBS).transpose(0, 1), th.randn(BATCH, STEPS, 7)
    if space is DISCRETE:
        actions = th.randint(space.n_actions, (BATCH, STEPS - 1, N_AGENTS, 1))
    else:
        actions = 2 * th.rand(BATCH, STEPS - 1, N_AGENTS, space.dim) - 1
    encoded = space.encode(actions)
    last = th.cat((th.zeros_like(encoded[:, :1]), encoded), 1)
    spec = InputSpec() if spec is None else spec
    return agent_inputs(spec, obs, state, actions, space), build_inputs(spec, obs, state, last)


def slopes(out, chosen):
    """Gradients of outputs `[K,B,T,N,F]`: numbers; or one in a row at most, none at the last step."""
    numbers = th.sin(th.arange(out.numel(), dtype=out.dtype)).view(out.shape)
    if not chosen:
        return numbers
    place = th.arange(out[..., 0].numel()).view(out.shape[:-1])
    mask = th.nn.functional.one_hot(place * 7 % 5, out.shape[-1]) * (place % 3 > 0).unsqueeze(-1)
    mask[:, :, -1] = 0
    return numbers * mask


@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)
@pytest.mark.parametrize("space", [DISCRETE, CONTINUOUS], ids=["ones", "numbers"])
@pytest.mark.parametrize("shared", [True, False], ids=["shared", "own"])
@pytest.mark.parametrize("trunk", [RNNTrunk, MLPTrunk])
@pytest.mark.parametrize(("ensemble", "chosen"), [(1, False), (2, False), (1, True)])
def test_networks_are_their_layers_one_by_one(trunk, shared, space, lengths, ensemble, chosen):
    """Outputs and all gradients; each agent's own network has 40 rows a step, several blocks and parts at most."""
    inputs, at_once = some_inputs(space)
    net = Head(trunk(AgentShape(N_AGENTS, at_once.shape[-1], 8, shared, ensemble)), 6)
    rows, results = [sum(length > t for length in lengths) for t in range(STEPS)], []
    for cast, given in ((th.float32, inputs), (th.float64, at_once.double())):
        net.to(cast).zero_grad()
        out = net(given, rows)
        (out * slopes(out, chosen)).sum().backward()
        results.append([out.detach(), *(weight.grad.clone() for weight in net.parameters())])
        with th.no_grad():
            th.testing.assert_close(net(given, rows), out, rtol=0.0, atol=0.0)  # nothing kept, the same result
    for single, double in zip(*results, strict=True):
        assert single.dtype == th.float32
        assert (single - double).abs().max() < 5e-6 * max(1.0, double.abs().max().item())


def test_states_before_the_first_step():
    """Zeros given as such are zeros not given; gradients, too, and that of the states is the formula's."""
    th.manual_seed(0)
    x, counts, results = th.randn(1, 900, 8), [300, 300, 300], []
    cell = [th.randn(1, *shape, requires_grad=True) for shape in ((8, 24), (1, 24), (8, 24), (1, 24))]
    last, weight = (th.randn(1, 8, 3), th.randn(1, 1, 3)), th.randn(1, 900, 3)
    for h_0 in (None, th.zeros(1, 300, 8)):
        out = recurrent(numbers_alone(x), counts, h_0, tuple(cell), last=last)
        results.append([out, *th.autograd.grad((out * weight).sum(), cell)])
    for one, other in zip(*results, strict=True):
        th.testing.assert_close(one, other, rtol=1e-6, atol=1e-6)
    h_0, gradients = th.randn(1, 300, 8, requires_grad=True), []
    w_in, b_in, w_hidden, b_hidden = (y.detach().double() for y in cell)
    h = h_0.double()
    for step in x.double().split(300, 1):
        r, z, n = (step @ w_in + b_in).chunk(3, -1)
        of_r, of_z, of_n = (h @ w_hidden + b_hidden).chunk(3, -1)
        z = (z + of_z).sigmoid()
        h = (1 - z) * (n + (r + of_r).sigmoid() * of_n).tanh() + z * h
        gradients.append(th.autograd.grad(h.sum(), h_0, retain_graph=True)[0])
    for steps, expected in enumerate(gradients, 1):
        states = recurrent(numbers_alone(x[:, : 300 * steps]), [300] * steps, h_0, tuple(cell))
        (found,) = th.autograd.grad(states[:, -300:].sum(), h_0)
        th.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_missing_ones_add_nothing():
    """Before the first step there is no action: -1."""
    th.manual_seed(0)
    x, ones = th.randn(1, 300, 4), th.full((1, 300, 2), -1)
    counts, h_0 = [300], th.zeros(1, 300, 8)
    cell = tuple(th.randn(1, *shape) for shape in ((8, 24), (1, 24), (8, 24), (1, 24)))
    weight, bias = th.randn(1, 9, 8), th.randn(1, 1, 8)
    without = recurrent(numbers_alone(x), counts, h_0, cell, (weight[:, :4].contiguous(), bias))
    assert th.equal(recurrent(Packed(x, ones), counts, h_0, cell, (weight, bias)), without)


def test_inputs_that_ask_for_a_gradient_are_refused():
    """Where the kernel would silently give none."""
    given, h_0 = numbers_alone(th.randn(1, 300, 4, requires_grad=True)), th.zeros(1, 300, 8)
    cell = tuple(th.randn(1, *shape) for shape in ((8, 24), (1, 24), (8, 24), (1, 24)))
    with pytest.raises(ValueError, match="get no gradient"):
        recurrent(given, [300], h_0, cell, (th.randn(1, 4, 8), th.randn(1, 1, 8)))


def test_a_network_passes_gradients_to_its_inputs():
    """Layer by layer then."""
    net, x, grads = Head(RNNTrunk(AgentShape(N_AGENTS, OBS, 8)), 6), th.randn(BATCH, STEPS, N_AGENTS, OBS), []
    for cast in (th.float32, th.float64):
        given = x.to(cast).requires_grad_()
        grads += th.autograd.grad(net.to(cast)(given, [BATCH] * STEPS).sum(), given)
    th.testing.assert_close(grads[0].double(), grads[1], rtol=1e-5, atol=1e-5)
