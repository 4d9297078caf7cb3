"""The compiled step against PyTorch's."""

import copy

import pytest
import torch as th

from modules.rmsprop import RMSprop, advance

KEYS = {"lr": 5e-3, "alpha": 0.99, "eps": 1e-5}


def both(start, **keys):
    """The compiled optimiser and PyTorch's, each with a parameter of its own, after a first step from zeros."""
    weights = [th.nn.Parameter(start.clone()) for _ in range(2)]
    pairs = [
        (weight, kind([weight], **KEYS | keys))
        for weight, kind in zip(weights, (RMSprop, th.optim.RMSprop), strict=True)
    ]
    for weight, optimiser in pairs:
        weight.grad = th.zeros_like(weight)
        optimiser.step()
    return pairs


@pytest.mark.parametrize("size", [1, 37, 300_000])
@pytest.mark.parametrize("dtype", [th.float32, th.float64])
def test_steps_are_those_of_pytorch(size, dtype):
    """Weights and means to rounding over some steps; huge, tiny and no gradients among them; then from its state."""
    th.manual_seed(0)
    pair, loaded = both(th.randn(size, dtype=dtype)), both(th.zeros(size, dtype=dtype))[0]
    for step in range(6):
        grad = th.randn(size, dtype=dtype) * 10.0 ** th.randint(-12, 8, (size,))
        for weight, optimiser in pair:
            weight.grad = grad.clone() if step != 3 else None
            optimiser.step()
    (ours, one), (theirs, other) = pair
    th.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6)
    for name, value in other.state[theirs].items():
        th.testing.assert_close(one.state[ours][name], value, rtol=1e-6, atol=0.0)
    weight, optimiser = loaded
    weight.data.copy_(ours.data)
    optimiser.load_state_dict(copy.deepcopy(other.state_dict()))
    for parameter, some in ((weight, optimiser), pair[1]):
        parameter.grad = th.ones(size, dtype=dtype)
        some.step()
    th.testing.assert_close(weight, theirs, rtol=1e-6, atol=1e-6)


def test_what_is_not_a_number_is_not_hidden():
    weight, optimiser = both(th.zeros(40))[0]
    weight.grad = th.ones(40)
    weight.grad[7] = th.nan
    optimiser.step()
    assert weight.isnan().nonzero().flatten().tolist() == [7]


def test_the_learning_rate_may_change():
    """Each step takes what the group holds."""
    for weight, optimiser in both(th.zeros(20)):
        optimiser.param_groups[0]["lr"] = 0.0
        weight.grad = th.ones(20)
        optimiser.step()
        assert not weight.any()


@pytest.mark.parametrize("option", [{"momentum": 0.9}, {"weight_decay": 0.1}, {"centered": True}, {"maximize": True}])
def test_options_are_not_ignored(option):
    """What the kernel does not know is PyTorch's step."""
    pair = both(th.ones(20), **option)
    for step in range(3):
        for weight, optimiser in pair:
            weight.grad = th.full((20,), 0.5 + step)
            optimiser.step()
    assert th.equal(pair[0][0], pair[1][0])


def test_a_closure_is_called():
    weight, optimiser = both(th.ones(20))[0]
    weight.grad = th.ones(20)
    assert optimiser.step(lambda: 7.0) == 7.0


@pytest.mark.parametrize("kind", [RMSprop, th.optim.RMSprop, th.optim.Adam])
def test_a_step_of_any_optimiser(kind):
    """`advance` is `step`, the first one included; the compiled one goes without `step` after that."""
    weights, calls = [], []
    for move in (advance, lambda optimiser: optimiser.step()):
        weight = th.nn.Parameter(th.ones(40))
        optimiser = kind([weight], lr=0.1)
        for _ in range(3):
            weight.grad = weight.detach().cos()
            move(optimiser)
        weights.append(weight)
    assert th.equal(*weights)
    optimiser.register_step_post_hook(lambda *_: calls.append(1))
    advance(optimiser)
    assert len(calls) == (0 if kind is RMSprop else 1)
