"""The input of a per-agent network: fields, order, width."""

import itertools

import pytest
import torch as th

from components.inputs import InputSpec, build_inputs
from helpers import DISCRETE, make_info


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
