"""Transposed copies: every number in its place, for sizes beside those of the squares they are copied in."""

import pytest
import torch as th

from modules.turned import beside, in_rows, turned


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
    """Of some columns of each; with gaps after the rows if asked for."""
    weights = [th.randn(rows, columns) for rows, columns in ((4, 50), (40, 50), (1, 60), (33, 47))]
    for columns in (slice(47), slice(30), slice(5, 47), slice(47, 47)):
        expected = th.cat([weight[:, columns] for weight in weights]).t()
        assert th.equal(beside(weights, columns), expected)
        padded = beside(weights, columns, 16)
        assert padded.shape[1] == 80
        assert th.equal(padded[:, :78], expected)


def test_several_at_once_with_gaps_and_moved_rows():
    """Rows further down, the last ones first; what lies in the gaps has no meaning."""
    weights = [th.randn(2, 7, 33), th.randn(1, 40, 12), th.randn(3, 5, 0)]
    for shift, x, found in zip((11, 0, 0), weights, turned(weights, [11, 0, 0], pad=3), strict=True):
        assert found.shape == (len(x), x.shape[2], x.shape[1] + 3)
        assert th.equal(found[..., : x.shape[1]], x.transpose(1, 2).roll(shift, 1))
