"""Action spaces: encodings, random actions by brute force, bounds, the distributions they make."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch as th
from hypothesis import given, settings
from hypothesis import strategies as st

from components.action_selectors import explore, mode, sample
from components.action_space import ContinuousActions, DiscreteActions
from modules.distributions import MaskedCategorical, SquashedNormal

BELOW_ONE = 1.0 - 2.0**-24  # the largest float32 uniform
many = settings(derandomize=True, deadline=None, max_examples=60)
bounds = st.tuples(st.floats(-100, 100), st.floats(0.01, 100)).map(lambda pair: (pair[0], pair[0] + pair[1]))


# --- discrete


def test_discrete_sizes() -> None:
    space = DiscreteActions(5)
    assert (space.kind, space.action_dim, space.enc_dim, space.head_dim) == ("discrete", 1, 5, 5)
    assert space.action_dtype == th.int64


@given(st.integers(1, 7), st.integers(0, 2**31))
@many
def test_discrete_encoding_is_one_hot(n_actions: int, seed: int) -> None:
    actions = th.randint(n_actions, (2, 3, 4, 1), generator=th.Generator().manual_seed(seed))
    encoded = DiscreteActions(n_actions).encode(actions)
    assert encoded.shape == (2, 3, 4, n_actions)
    assert encoded.dtype == th.float32
    np.testing.assert_array_equal(encoded, np.eye(n_actions)[actions.squeeze(-1)])


def test_random_actions_are_uniform_over_the_available_ones() -> None:
    space, points = DiscreteActions(4), 240
    uniform = ((th.arange(points) + 0.5) / points).unsqueeze(-1)  # one agent
    for pattern in product([False, True], repeat=4):
        if not any(pattern):
            continue
        avail = th.tensor(pattern).expand(points, 1, 4)
        actions = space.random(avail, uniform)
        assert actions.shape == (points, 1, 1)
        assert actions.dtype == th.int64
        counts = th.bincount(actions.flatten(), minlength=4)
        expected = np.array(pattern) * points / sum(pattern)
        np.testing.assert_allclose(counts, expected, atol=1)


@given(st.integers(1, 70), st.integers(0, 2**31))
@many
def test_random_actions_at_the_ends_of_the_unit_interval(n_actions: int, seed: int) -> None:
    rng = th.Generator().manual_seed(seed)
    avail = th.rand(3, n_actions, generator=rng) < 0.5
    avail[:, th.randint(n_actions, (1,), generator=rng)] = True
    for edge in (0.0, BELOW_ONE):
        actions = DiscreteActions(n_actions).random(avail, th.full((3,), edge))
        assert avail.gather(-1, actions).all()


def test_random_actions_of_a_padded_row_do_not_fail() -> None:
    actions = DiscreteActions(3).random(th.zeros(1, 3, dtype=th.bool), th.tensor([0.7]))
    assert 0 <= int(actions) < 3


# --- continuous


def test_continuous_sizes() -> None:
    space = ContinuousActions(3, -1.0, 1.0)
    assert (space.kind, space.action_dim, space.enc_dim, space.head_dim, space.noise_dim) == ("continuous", 3, 3, 6, 7)
    assert space.action_dtype == th.float32


@given(bounds, st.integers(0, 2**31))
@many
def test_continuous_encoding_is_linear_and_invertible(box: tuple[float, float], seed: int) -> None:
    space = ContinuousActions(2, *box)
    encoded = 2.0 * th.rand(5, 2, generator=th.Generator().manual_seed(seed), dtype=th.float64) - 1.0
    np.testing.assert_allclose(space.encode(space.decode(encoded)), encoded, atol=1e-9)
    ends = th.tensor([box[0], sum(box) / 2, box[1]], dtype=th.float64)
    np.testing.assert_allclose(space.encode(ends), [-1.0, 0.0, 1.0], atol=1e-9)


@given(bounds)
@many
def test_continuous_random_actions_fill_the_box(box: tuple[float, float]) -> None:
    uniform = th.linspace(0.0, BELOW_ONE, 101).unsqueeze(-1)
    actions = ContinuousActions(1, *box).random(None, uniform)
    tolerance = 1e-6 * (abs(box[0]) + abs(box[1]))
    assert float(actions.min()) == pytest.approx(box[0], abs=tolerance)
    assert float(actions.max()) == pytest.approx(box[1], abs=tolerance)
    np.testing.assert_allclose(actions.squeeze(-1), np.linspace(*box, 101), atol=tolerance)


@pytest.mark.parametrize("box", [(1.0, 1.0), (2.0, -2.0), (0.0, float("inf")), (float("nan"), 1.0)])
def test_boxes_without_an_inside_are_refused(box: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="low < high"):
        ContinuousActions(1, *box)


def test_sizes_below_one_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        DiscreteActions(0)
    with pytest.raises(ValueError, match="at least 1"):
        ContinuousActions(0, -1.0, 1.0)


# --- both


def test_policies_and_behaviour_of_both_kinds() -> None:
    rng = th.Generator().manual_seed(0)
    discrete, box = DiscreteActions(3), ContinuousActions(2, -10.0, 10.0)
    avail = th.tensor([[True, False, True], [False, True, True]])
    for space, mask in ((discrete, avail), (box, None)):
        head = th.randn(2, space.head_dim, generator=rng)
        policy = space.distribution(head, mask)
        assert isinstance(policy, MaskedCategorical if mask is not None else SquashedNormal)
        noise = th.rand(2, space.noise_dim, generator=rng)
        for actions in (sample(policy, noise, space), mode(policy, space)):
            assert actions.shape == (2, space.action_dim)
            assert policy.log_prob(actions if mask is not None else box.encode(actions)).shape == (2,)
            same = explore(actions, mask, 0.0, noise, space)
            np.testing.assert_array_equal(same, actions)
            other = explore(actions, mask, 1.0, noise, space)
            if mask is None:
                np.testing.assert_allclose(other, -10.0 + 20.0 * noise[:, 1:3])
            else:
                assert mask.gather(-1, other).all()
