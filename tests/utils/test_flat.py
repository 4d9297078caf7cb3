"""utils/flat.py: the same steps as PyTorch's own optimisers take on separate parameters."""

from __future__ import annotations

import copy

import pytest
import torch as th
from torch import Tensor, nn

from utils.flat import FlatParameters

CPU = th.device("cpu")


def _network() -> nn.Sequential:
    th.manual_seed(3)
    return nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3))


def _loss(network: nn.Module, x: Tensor) -> Tensor:
    return network(x).square().sum()


@pytest.mark.parametrize("clip", [0.5, 1e6])
@pytest.mark.parametrize("name", ["Adam", "RMSprop"])
def test_same_weights_after_clipped_steps(name: str, clip: float) -> None:
    ours, theirs = _network(), _network()
    flat = FlatParameters(ours.parameters(), CPU)
    optimiser, reference = (getattr(th.optim, name)(w, lr=0.01) for w in ([flat.vector], theirs.parameters()))
    for step in range(5):
        x = th.randn(4, 5, generator=th.Generator().manual_seed(step))
        flat.differentiate(_loss(ours, x))
        norm = flat.clip(clip)
        optimiser.step()
        reference.zero_grad()
        _loss(theirs, x).backward()
        assert norm == pytest.approx(nn.utils.clip_grad_norm_(theirs.parameters(), clip).item(), rel=1e-6)
        reference.step()
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        th.testing.assert_close(one, other, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("dtype", [th.float32, th.float64])
@pytest.mark.parametrize("value", [th.nan, th.inf, 1e-30, 1e12])
def test_clipping_is_that_of_pytorch(dtype: th.dtype, value: float) -> None:
    weight = nn.Parameter(th.zeros(1500, dtype=dtype))
    flat = FlatParameters([weight], CPU)
    grad = th.randn(1500, dtype=dtype, generator=th.Generator().manual_seed(0))
    grad[700] = value
    assert flat.vector.grad is not None
    flat.vector.grad[:1500] = grad
    theirs = nn.Parameter(th.zeros(1500, dtype=dtype))
    theirs.grad = grad.clone()
    norm, expected = flat.clip(10.0), nn.utils.clip_grad_norm_([theirs], 10.0)
    th.testing.assert_close(norm, expected, equal_nan=True)
    th.testing.assert_close(flat.vector.grad[:1500], theirs.grad, equal_nan=True)


def test_parameters_are_views_and_keep_their_values() -> None:
    network, before = _network(), _network()
    flat = FlatParameters(network.parameters(), CPU)
    for one, other in zip(network.parameters(), before.parameters(), strict=True):
        assert th.equal(one, other)
        assert one.untyped_storage().data_ptr() == flat.vector.untyped_storage().data_ptr()
    with th.no_grad():
        flat.vector.zero_()
    assert all((weight == 0.0).all() for weight in network.parameters())


def test_loading_weights_and_copies_keep_the_views() -> None:
    network, other = _network(), _network()
    flat = FlatParameters(network.parameters(), CPU)
    slow = copy.deepcopy(network)
    with th.no_grad():
        other[0].bias.fill_(2.0)
    network.load_state_dict(other.state_dict())
    assert (flat.vector[48 : 48 + 7] == 2.0).all()  # 7 x 5 weights fill three lines of 16
    assert not (slow[0].bias == 2.0).any()
    assert slow[0].bias.untyped_storage().data_ptr() != flat.vector.untyped_storage().data_ptr()


def test_unused_parameters_get_zero_and_other_networks_nothing() -> None:
    network, judge = _network(), _network()
    flat = FlatParameters(network.parameters(), CPU)
    x = th.ones(2, 5)
    flat.differentiate(_loss(network, x))
    flat.differentiate(judge(th.nn.functional.pad(network[0](x)[:, :3], (0, 2))).sum())  # the last layer is not used
    assert flat.vector.grad is not None
    used = 48 + 16
    assert flat.vector.grad[:used].abs().sum() > 0
    assert (flat.vector.grad[used:] == 0.0).all()
    assert all(weight.grad is None for weight in judge.parameters())


def test_one_parameter_in_two_vectors_is_refused() -> None:
    network = _network()
    FlatParameters(network[0].parameters(), CPU)
    with pytest.raises(ValueError, match="one optimiser trains it at most"):
        FlatParameters(network.parameters(), CPU)
    with pytest.raises(ValueError, match="no parameters to train"):
        FlatParameters([], CPU)
