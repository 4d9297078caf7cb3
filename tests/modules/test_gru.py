"""The hand-written GRU against torch.nn.GRU: values, all gradients, groups, ragged lengths, one step at a time."""

import pytest
import torch as th

from modules.gru import GRU
from modules.layers import AgentAxis

FULL, RAGGED = [4] * 7, [4, 4, 3, 3, 2, 1, 1]


def reference(gru, group):
    """torch.nn.GRU with the weights of one group."""
    n_in, width = gru.weight_in.shape[1:]
    ref = th.nn.GRU(n_in, width // 3).to(gru.weight_in.dtype)
    with th.no_grad():
        ref.weight_ih_l0.copy_(gru.weight_in[group].T)
        ref.weight_hh_l0.copy_(gru.weight_hidden[group].T)
        ref.bias_ih_l0.copy_(gru.bias_in[group, 0])
        ref.bias_hh_l0.copy_(gru.bias_hidden[group, 0])
    return ref


def packed(counts):
    """(step, row) of every packed row."""
    return [(t, m) for t, count in enumerate(counts) for m in range(count)]


@pytest.mark.parametrize("counts", [FULL, RAGGED])
@pytest.mark.parametrize("groups", [1, 3])
def test_values_and_gradients(groups, counts):
    """Outputs and the gradients of inputs, first state and all four parameters agree to 1e-10."""
    th.manual_seed(0)
    gru = GRU(groups, 5, 8).double()
    x = th.randn(groups, sum(counts), 5, dtype=th.float64, requires_grad=True)
    h = th.randn(groups, 4, 8, dtype=th.float64, requires_grad=True)
    weight = th.randn(groups, sum(counts), 8, dtype=th.float64)
    out = gru(x, counts, h)
    grads = th.autograd.grad((out * weight).sum(), (x, h, *gru.parameters()))
    t, m = (th.tensor(index) for index in zip(*packed(counts), strict=True))
    for g in range(groups):
        ref = reference(gru, g)
        padded = th.zeros(len(counts), 4, 5, dtype=th.float64).index_put((t, m), x[g])
        expected = ref(padded, h[g : g + 1])[0][t, m]
        assert (out[g] - expected).abs().max() < 1e-12
        wanted = th.autograd.grad((expected * weight[g]).sum(), (x, h, *ref.parameters()))
        ours = [grads[0][g], grads[1][g], grads[2][g].T, grads[4][g].T, grads[3][g, 0], grads[5][g, 0]]
        theirs = [wanted[0][g], wanted[1][g], *wanted[2:]]
        for a, b in zip(ours, theirs, strict=True):
            assert (a - b).abs().max() < 1e-10


@pytest.mark.parametrize("counts", [FULL, RAGGED])
@pytest.mark.parametrize("groups", [1, 2])
def test_compiled_single_precision_path(groups, counts):
    """float32 on the CPU takes the compiled kernels; they agree with the double-precision path to rounding."""
    th.manual_seed(3)
    gru = GRU(groups, 5, 16)
    x, h = 3.0 * th.randn(groups, sum(counts), 5), th.randn(groups, 4, 16)
    weight = th.randn(groups, sum(counts), 16)
    results = []
    for cast in (th.float32, th.float64):
        gru = gru.to(cast)
        inputs = [tensor.to(cast).detach().requires_grad_() for tensor in (x, h)]
        out = gru(inputs[0], counts, inputs[1])
        results.append([out, *th.autograd.grad((out * weight.to(cast)).sum(), (*inputs, *gru.parameters()))])
    for single, double in zip(*results, strict=True):
        assert single.dtype == th.float32
        assert (single.double() - double).abs().max() < 2e-5 * max(1.0, double.abs().max().item())


def test_finite_differences():
    """gradcheck on a ragged pack with a loss on some outputs only."""
    th.manual_seed(1)
    gru = GRU(2, 3, 4).double()
    x = th.randn(2, 6, 3, dtype=th.float64, requires_grad=True)
    assert th.autograd.gradcheck(lambda y: gru(y, [3, 2, 1])[:, 2:], (x,))


def test_unroll_equals_single_steps():
    """T steps at once equal T calls of one step: acting and learning see the same network."""
    th.manual_seed(2)
    gru = GRU(1, 3, 4)
    x = th.randn(1, 30, 3)
    whole = gru(x, [5] * 6)
    hidden = None
    for t in range(6):
        hidden = gru(x[:, 5 * t : 5 * t + 5], [5], hidden)
        th.testing.assert_close(hidden, whole[:, 5 * t : 5 * t + 5])


@pytest.mark.parametrize("share", [True, False])
@pytest.mark.parametrize("ensemble", [1, 2])
def test_packing_leaves_out_padding_and_comes_back(share, ensemble):
    """pack keeps exactly the real steps, in (t, b, n) order per group; unpack restores them with zeros elsewhere."""
    axis = AgentAxis(3, ensemble, share)
    rows = [2, 2, 1]
    x = th.arange(2 * 3 * 3 * 2, dtype=th.float32).view(2, 3, 3, 2) + 1
    y = axis.pack(x, rows)
    assert y.shape == (axis.groups, sum(axis.counts(rows)), 2)
    first = x.transpose(0, 1).reshape(6, 3, 2)[[0, 1, 2, 3, 4]]
    assert th.equal(y[0], first.reshape(-1, 2) if share else first[:, 0])
    back = axis.unpack(y, rows, 2)
    expected = x.clone()
    expected[1, 2] = 0
    assert back.shape == (ensemble, 2, 3, 3, 2)
    assert all(th.equal(member, expected) for member in back)
