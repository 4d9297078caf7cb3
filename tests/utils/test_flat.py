"""Parameters as views of one: steps equal PyTorch's on the separate parameters, missing gradients count as zero."""

import copy

import pytest
import torch as th
from torch import nn

from utils.flat import collect_gradient, flatten


def network():
    """Two layers."""
    th.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2))


@pytest.mark.parametrize("max_norm", [0.01, 1e6])
def test_steps_equal_those_of_separate_parameters(max_norm):
    """Five RMSprop steps with and without clipping; the norm is that before clipping."""
    ours, theirs = network(), network()
    weights = list(ours.parameters())
    flat = flatten(weights)
    optimisers = [th.optim.RMSprop([flat], lr=0.01), th.optim.RMSprop(theirs.parameters(), lr=0.01)]
    for step in range(5):
        x = th.full((4, 3), float(step))
        for net in (ours, theirs):
            net.zero_grad()
            net(x).square().sum().backward()
        before = weights[0].grad.clone()
        norm = collect_gradient(flat, weights, max_norm)
        assert th.equal(weights[0].grad, before)
        th.testing.assert_close(norm, nn.utils.clip_grad_norm_(theirs.parameters(), max_norm))
        for optimiser in optimisers:
            optimiser.step()
    for one, other in zip(weights, theirs.parameters(), strict=True):
        th.testing.assert_close(one, other)


def test_weights_stay_views_through_loading_and_copies_are_apart():
    """Loading writes through; a deep copy has memory of its own."""
    net = network()
    flat = flatten(list(net.parameters()))
    state = {name: th.ones_like(value) for name, value in net.state_dict().items()}
    net.load_state_dict(state)
    assert (flat == 1.0).all()
    copied = copy.deepcopy(net)
    with th.no_grad():
        flat.zero_()
    assert (net[0].weight == 0.0).all()
    assert (copied[0].weight == 1.0).all()


def test_missing_gradients_are_zero():
    """A weight that the loss does not reach does not move."""
    net = network()
    weights = list(net.parameters())
    flat = flatten(weights)
    net[0](th.ones(1, 3)).sum().backward()
    collect_gradient(flat, weights, 1e6)
    assert flat.grad is not None
    assert (flat.grad[20:] == 0.0).all()
    assert (flat.grad[:15] == 1.0).all()
