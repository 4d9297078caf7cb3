"""Chains of affine maps: the compiled kernels against PyTorch's products in double precision."""

import itertools

import pytest
import torch as th

from modules import dense_kernels
from modules.dense import TALL, affine, chain

ROWS = 3 * dense_kernels.ROWS + 1  # several blocks, the last one with a single row


def made(groups, shared, sizes, rows=ROWS):
    """Inputs, weights, biases, with gradients."""
    th.manual_seed(0)
    x = th.randn(1 if shared else groups, rows, sizes[0])
    weights = [th.randn(groups, a, b) / a**0.5 for a, b in itertools.pairwise(sizes)]
    biases = [th.randn(groups, 1, size) for size in sizes[1:]]
    return x, weights, biases


def results(tensors, groups, relu, cast, chosen=False):
    """Output and all gradients, of all results or of one in a row at most."""
    x, weights, biases = tensors
    x, *parameters = (y.to(cast).requires_grad_() for y in (x, *weights, *biases))
    out = chain(x.expand(groups, -1, -1), parameters[: len(weights)], parameters[len(weights) :], relu)
    factor = th.sin(th.arange(out.numel(), dtype=cast)).view(out.shape)
    if chosen:
        place = th.arange(out[..., 0].numel()).view(out.shape[:-1])
        factor = factor * th.nn.functional.one_hot(place % out.shape[-1], out.shape[-1]) * (place % 4 > 0).unsqueeze(-1)
    return [out, *th.autograd.grad((out * factor).sum(), (x, *parameters))]


@pytest.mark.parametrize(("relu", "chosen"), [(False, False), (True, False), (False, True)])
@pytest.mark.parametrize("sizes", [(39, 64, 64, 9), (7, 20, 70), (33, 1), (5, 3, 2, 18)])
@pytest.mark.parametrize(("groups", "shared"), [(1, False), (2, True), (3, False)])
def test_values_and_gradients(groups, shared, sizes, relu, chosen):
    """Outputs, and gradients of inputs (summed over groups that share them), weights and biases."""
    tensors = made(groups, shared, sizes)
    for single, double in zip(
        *(results(tensors, groups, relu, cast, chosen) for cast in (th.float32, th.float64)), strict=True
    ):
        assert single.dtype == th.float32
        assert (single - double).abs().max() < 3e-6 * max(1.0, double.abs().max().item())


def test_without_gradients_nothing_is_kept_and_the_result_is_the_same():
    x, weights, biases = made(2, False, (10, 16, 4))
    kept = chain(x, [weight.requires_grad_() for weight in weights], biases)
    with th.no_grad():
        assert th.equal(chain(x, weights, biases), kept)
    assert kept.requires_grad


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_rows_do_not_depend_on_each_other_or_on_threads(threads):
    """The first rows by themselves give the same bits as among the others."""
    before = th.get_num_threads()
    x, weights, biases = made(1, False, (30, 64, 64, 5), rows=40 * TALL)
    try:
        th.set_num_threads(threads)
        whole = chain(x, weights, biases)
    finally:
        th.set_num_threads(before)
    assert th.equal(chain(x[:, :TALL], weights, biases), whole[:, :TALL])


def test_not_a_number_is_not_hidden_by_relu():
    """A diverged network must show in its outputs, as with PyTorch's ReLU."""
    x, weights, biases = made(1, False, (12, 8, 4))
    weights[0][0, 3, 5] = float("nan")
    assert chain(x, weights, biases).isnan().all()
    assert chain(x[:, :3], weights, biases).isnan().all()


def test_few_rows_take_pytorch_and_agree():
    x, weights, biases = made(1, False, (12, 8))
    th.testing.assert_close(affine(x[:, :3], weights[0], biases[0]), affine(x, weights[0], biases[0])[:, :3])


def test_biases_with_gaps_between_groups():
    """Slices of wider ones are taken as they are."""
    x, weights, (wide,) = made(2, True, (5, 32))
    narrow = weights[0][..., :16].contiguous()
    assert len(x[0]) > TALL
    found = affine(x, narrow, wide[..., :16])
    assert th.equal(found, affine(x, narrow, wide[..., :16].contiguous()))
