"""Steps of a batch: values and gradients as indexing gives them, memory time first."""

import pytest
import torch as th

from modules.rows import at_steps, rows_of, shared_rows


@pytest.mark.parametrize("steps", [slice(-1), slice(1, None), slice(2, 4), slice(None), slice(0, 5, 2), slice(3, 3)])
def test_steps_and_their_gradient(steps):
    x = th.randn(5, 3, 2).transpose(0, 1).requires_grad_()  # [B,T,F], time first in memory
    out, plain = at_steps(x, steps), x[:, steps]
    assert th.equal(out, plain)
    factor = th.randn(out.shape)
    (grad,), (expected,) = (th.autograd.grad((y * factor).sum(), x) for y in (out, plain))
    assert th.equal(grad, expected)
    assert grad.stride() == x.stride()


def test_axes_along_which_all_is_the_same_are_left_out():
    """Row r of the whole is row r % R' of what is left."""
    avail = th.rand(5, 3, 4) < 0.5  # [T,B,A] in memory
    for x, count in ((avail.transpose(0, 1).expand(2, 3, 5, 4), 15), (avail[0, 0].expand(2, 3, 5, 4), 1)):
        order = [0, 2, 1, 3]
        rows, all_rows = shared_rows(x, order), rows_of(x, order)
        assert rows.shape == (count, 4)
        assert all((rows[r % count] == all_rows[r]).all() for r in range(len(all_rows)))
