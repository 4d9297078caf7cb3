"""Networks of many rows against PyTorch's layers; networks side by side against one after the other."""

import pytest
import torch as th
from torch.nn import functional as F

from modules.dense import TALL
from modules.layers import MLP, Ensemble, mlp, side_by_side
from modules.mixers.igo import IGOMixer, LiteralIGOMixer
from modules.mixers.mixer import MixerShape
from modules.mixers.qmix import QMIXMixer

ROWS = [3, TALL]


@pytest.mark.parametrize("rows", ROWS)
def test_mlp_is_the_sequence_of_its_layers(rows):
    th.manual_seed(0)
    nets, x = [mlp(11, 7, 3) for _ in range(2)], th.randn(2, rows, 11)
    expected = [net[2](F.relu(net[0](x))) for net in nets]
    th.testing.assert_close(nets[0](x), expected[0])
    th.testing.assert_close(MLP.together(nets, x), th.stack(expected))
    assert list(nets[0].state_dict()) == ["0.weight", "0.bias", "2.weight", "2.bias"]


@pytest.mark.parametrize("rows", ROWS)
def test_maps_side_by_side(rows):
    th.manual_seed(0)
    maps, x = [th.nn.Linear(9, size) for size in (4, 1, 20)], th.randn(rows, 9)
    joined = side_by_side(x, [one.weight for one in maps], [one.bias for one in maps])
    th.testing.assert_close(joined, th.cat([one(x) for one in maps], dim=-1))
    th.testing.assert_close(side_by_side(x, [maps[0].weight]), x @ maps[0].weight.T)


@pytest.mark.parametrize("steps", [2, TALL])
@pytest.mark.parametrize("kind", [IGOMixer, LiteralIGOMixer, QMIXMixer])
@pytest.mark.parametrize("lambda_net", ["heads", "mlp"])
def test_ensemble_is_its_members(kind, lambda_net, steps):
    """Values and gradients of K mixers together are those of each by itself."""
    th.manual_seed(0)
    shape = MixerShape(3, 8, 5, lambda_net=lambda_net)
    ensemble, state = Ensemble([kind(shape) for _ in range(2)]), th.randn(2, steps, 8)
    utilities, baseline = (th.randn(2, 2, steps, 3).requires_grad_() for _ in range(2))
    actions = F.one_hot(th.randint(5, (2, steps, 3)), 5).float()
    together = ensemble(utilities, state, actions=actions, baseline=baseline)
    pairs = zip(ensemble.members, utilities, baseline, strict=True)
    apart = th.stack([mixer(q, state, actions=actions, baseline=v) for mixer, q, v in pairs])
    th.testing.assert_close(together, apart)
    inputs = (utilities, *ensemble.parameters())
    factor = th.sin(th.arange(apart.numel())).view(apart.shape)
    grads = [
        th.autograd.grad((out * factor).sum(), inputs, allow_unused=True, materialize_grads=True)
        for out in (together, apart)
    ]
    for a, b in zip(*grads, strict=True):
        th.testing.assert_close(a, b, atol=2e-5, rtol=2e-5)
