"""Transposed copies: every number in its place, for sizes beside those of the squares they are copied in."""

import pytest
import torch as th

from modules.turned import beside, in_rows


@pytest.mark.parametrize("sizes", [(1, 1), (16, 16), (5, 40), (322, 33), (70, 300)])
def test_transposes(sizes):
    """As PyTorch's; what lies in rows already, and double precision, too."""
    weight = th.randn(3, *sizes)
    for x in (weight.transpose(1, 2), weight, weight.double().transpose(1, 2), weight[:, ::2].transpose(1, 2)):
        found = in_rows(x)
        assert found.is_contiguous()
        assert found.dtype == x.dtype
        assert th.equal(found, x)


def test_transposes_side_by_side():
    """Of the first columns of each."""
    weights = [th.randn(rows, columns) for rows, columns in ((4, 50), (40, 50), (1, 60), (33, 47))]
    assert th.equal(beside(weights, 47), th.cat([weight[:, :47] for weight in weights]).t())
