"""The input of a per-agent network: fields, order, width; the same at once and in two parts."""

import itertools

import pytest
import torch as th

from components.inputs import AgentInputs, InputSpec, agent_inputs, build_inputs, encoded, full, joined
from helpers import CONTINUOUS, DISCRETE, make_info
from modules.dense import TALL, Packed
from modules.layers import AgentAxis


@pytest.mark.parametrize("fields", list(itertools.product([True, False], repeat=4))[:-1])
def test_width_is_what_the_specification_says(fields):
    """For every combination of fields."""
    info, spec = make_info(), InputSpec(*fields)
    out = build_inputs(spec, th.zeros(2, 4, 3, 5), th.zeros(2, 4, 7), th.zeros(2, 4, 3, DISCRETE.enc_dim))
    assert out.shape == (2, 4, 3, spec.dim(info))


def test_order_and_content():
    """obs, state (the same for each agent), last action, agent id."""
    obs, state, last = th.rand(1, 1, 3, 5), th.rand(1, 1, 7), th.rand(1, 1, 3, 4)
    out = build_inputs(InputSpec(state=True), obs, state, last)
    for agent in range(3):
        identity = th.eye(3)[agent]
        expected = th.cat((obs[0, 0, agent], state[0, 0], last[0, 0, agent], identity))
        assert th.equal(out[0, 0, agent], expected)


def actions_of(space, batch=2, steps=3):
    """Random ones, `[B,T,3,1|D]`."""
    if space is DISCRETE:
        return th.randint(space.n_actions, (batch, steps, 3, 1))
    return 2 * th.rand(batch, steps, 3, space.dim) - 1


@pytest.mark.parametrize("fields", list(itertools.product([True, False], repeat=4))[:-1])
@pytest.mark.parametrize("space", [DISCRETE, CONTINUOUS], ids=["discrete", "continuous"])
def test_two_parts_are_the_same_inputs(fields, space):
    """For every combination of fields, and for some of the episodes, steps and agents."""
    spec, obs, state, actions = InputSpec(*fields), th.rand(2, 4, 3, 5), th.rand(2, 4, 7), actions_of(space)
    last = space.encode(actions)
    expected = build_inputs(spec, obs, state, th.cat((th.zeros_like(last[:, :1]), last), 1))
    inputs = agent_inputs(spec, obs, state, actions, space)
    assert inputs.shape == tuple(expected.shape)
    assert len(inputs) == 2
    assert th.equal(full(inputs[1:, :-1, :2]), expected[1:, :-1, :2])
    assert th.equal(full(inputs), expected)
    assert full(inputs[1:]).data_ptr() == full(inputs)[1:].data_ptr()  # not built again
    assert th.equal(full(inputs[1:, :-1, :2]), expected[1:, :-1, :2])
    assert th.equal(full(inputs.transpose(0, 1)), expected.transpose(0, 1))


@pytest.mark.parametrize("space", [DISCRETE, CONTINUOUS], ids=["discrete", "continuous"])
def test_encoded_actions(space):
    """As the action space encodes them; joined, one agent's after the other."""
    actions = actions_of(space)
    chosen = encoded(actions, space)
    assert th.equal(full(chosen), space.encode(actions))
    assert th.equal(joined(chosen), space.encode(actions).flatten(-2))
    assert th.equal(joined(full(chosen)), joined(chosen))


def test_places_in_joined_actions():
    """Of many rows, whose kernels add weights' rows: agent i's action a is i A + a."""
    actions = actions_of(DISCRETE, TALL, 2)
    rows = joined(encoded(actions, DISCRETE))
    assert isinstance(rows, Packed)
    expected = actions.squeeze(-1).flatten(0, 1) + DISCRETE.n_actions * th.arange(3)
    assert th.equal(rows.ones[0], expected)
    assert rows.x.shape == (1, 2 * TALL, 0)


def test_packed_rows_are_made_once():
    """For all networks that ask for the same real steps."""
    axis, rows = AgentAxis(3), [2, 2, 1, 1]
    inputs = agent_inputs(InputSpec(), th.rand(2, 4, 3, 5), th.rand(2, 4, 7), actions_of(DISCRETE), DISCRETE)
    assert isinstance(inputs, AgentInputs)
    first, again = inputs.packed(axis, rows), inputs.packed(AgentAxis(3), rows)
    assert first.x is again.x
    assert first.x.shape == (1, 6 * 3, 5)
    assert th.equal(first.x, axis.pack(inputs.numbers, rows))
    assert inputs.packed(axis, rows[:3]).x.shape == (1, 5 * 3, 5)
