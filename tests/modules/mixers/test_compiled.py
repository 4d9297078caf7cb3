"""Compiled steps of mixers against the formulas in double precision: values and gradients."""

import pytest
import torch as th

from modules.mixers.heads import gated_sum
from modules.mixers.mixer import MixerShape
from modules.mixers.nonmonotonic import NonmonotonicMixer
from modules.mixers.qmix import QMIXMixer


def both(function, *tensors):
    """Outputs and gradients in single and in double precision agree to rounding."""
    results = []
    for cast in (th.float32, th.float64):
        inputs = [x.to(cast).requires_grad_() for x in tensors]
        out = function(cast, *inputs)
        factor = th.sin(th.arange(out.numel(), dtype=cast)).view(out.shape)
        results.append([out, *th.autograd.grad((out * factor).sum(), inputs)])
    for single, double in zip(*results, strict=True):
        assert single.shape == double.shape
        assert (single - double).abs().max() < 2e-6 * max(1.0, double.abs().max().item())


@pytest.mark.parametrize(("n_heads", "n_agents"), [(4, 3), (1, 1), (3, 10)])
def test_gated_sum(n_heads, n_agents):
    """Keys of both signs and an exact 0, whose absolute value has slope 0."""
    th.manual_seed(0)
    gates = n_heads * n_agents
    maps, added = 2 * th.randn(5, 7, n_heads + 2 * gates), th.randn(5, 7, gates)
    maps[0, 0, 0] = 0.0
    both(lambda _, x, y: gated_sum(x, y, n_agents), maps, added)


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
