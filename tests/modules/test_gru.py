"""The hand-written GRU against torch.nn.GRU: values, all gradients, groups, one step at a time."""

import pytest
import torch as th

from modules.gru import GRU


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


@pytest.mark.parametrize("groups", [1, 3])
def test_values_and_gradients(groups):
    """Outputs and the gradients of inputs, first state and all four parameters agree to 1e-10."""
    th.manual_seed(0)
    gru = GRU(groups, 5, 8).double()
    x = th.randn(groups, 7, 4, 5, dtype=th.float64, requires_grad=True)
    h = th.randn(groups, 4, 8, dtype=th.float64, requires_grad=True)
    weight = th.randn(groups, 7, 4, 8, dtype=th.float64)
    out, last = gru(x, h)
    assert th.equal(last, out[:, -1])
    grads = th.autograd.grad((out * weight).sum(), (x, h, *gru.parameters()))
    for g in range(groups):
        ref = reference(gru, g)
        expected, _ = ref(x[g], h[g : g + 1])
        assert (out[g] - expected).abs().max() < 1e-12
        wanted = th.autograd.grad((expected * weight[g]).sum(), (x, h, *ref.parameters()))
        ours = [grads[0], grads[1], grads[2].mT, grads[4].mT, grads[3][:, 0], grads[5][:, 0]]
        theirs = [wanted[0], wanted[1], *(w.unsqueeze(0) for w in wanted[2:])]
        for k, (a, b) in enumerate(zip(ours, theirs, strict=True)):
            b_g = b[g] if k < 2 else b[0]
            assert (a[g] - b_g).abs().max() < 1e-10


@pytest.mark.parametrize("groups", [1, 2])
def test_compiled_single_precision_path(groups):
    """float32 on the CPU takes the compiled kernels; they agree with the double-precision path to rounding."""
    th.manual_seed(3)
    gru = GRU(groups, 5, 16)
    x, h = 3.0 * th.randn(groups, 9, 4, 5), th.randn(groups, 4, 16)
    weight = th.randn(groups, 9, 4, 16)
    results = []
    for cast in (th.float32, th.float64):
        gru = gru.to(cast)
        inputs = [tensor.to(cast).detach().requires_grad_() for tensor in (x, h)]
        out, _ = gru(*inputs)
        results.append([out, *th.autograd.grad((out * weight.to(cast)).sum(), (*inputs, *gru.parameters()))])
    for single, double in zip(*results, strict=True):
        assert single.dtype == th.float32
        assert (single.double() - double).abs().max() < 2e-5 * max(1.0, double.abs().max().item())


def test_gradient_check_of_the_last_state_only():
    """A loss on the final state alone (gradient zero elsewhere) passes finite differences."""
    th.manual_seed(1)
    gru = GRU(2, 3, 4).double()
    x = th.randn(2, 5, 2, 3, dtype=th.float64, requires_grad=True)
    assert th.autograd.gradcheck(lambda y: gru(y)[1], (x,))


def test_unroll_equals_single_steps():
    """T steps at once equal T calls of one step: acting and learning see the same network."""
    th.manual_seed(2)
    gru = GRU(1, 3, 4)
    x = th.randn(1, 6, 5, 3)
    whole, _ = gru(x)
    hidden = None
    for t in range(6):
        out, hidden = gru(x[:, t : t + 1], hidden)
        th.testing.assert_close(out[:, 0], whole[:, t])
