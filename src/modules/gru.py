"""A GRU over packed sequences with a leading group axis.

Sequences of different lengths are packed: rows are sorted by length, longest first, and step t holds only the
`counts[t]` rows that are that long. The P = sum(counts) packed rows stand one step after the other, so the state
before step t is a prefix of step t - 1's rows, and no work is done on padding. On full-length sequences it is the same
function as `torch.nn.GRU`. On the CPU it is compiled (`modules/recurrent.py`), on a GPU cuDNN's.

Shape legend: G groups of parameters (ensemble members, or agents that do not share), M rows, I inputs, H hidden.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch as th
from torch import Tensor, nn

from modules.dense import numbers_alone
from modules.recurrent import Cell, recurrent
from utils.threads import takes_kernels


def _stock(
    x: Tensor, h_0: Tensor, w_in: Tensor, b_in: Tensor, weight: Tensor, bias: Tensor, counts: list[int]
) -> Tensor:
    """The same on any device and in any precision, group by group; cuDNN on a GPU.

    The weights of a group are put into one piece of memory in cuDNN's order, or it would do so itself at every call.
    """
    ragged, train = counts[-1] < counts[0], th.is_grad_enabled()  # cuDNN keeps what a gradient needs only in training
    options = (True, 1, 0.0, train, False)  # biases, layers, dropout, training, both directions
    outputs = []
    for g in range(len(x)):
        parts = [w_in[g].t(), weight[g].t(), b_in[g, 0], bias[g, 0]]
        joined = th.cat([part.flatten() for part in parts]).split([part.numel() for part in parts])
        flat = [one.view(part.shape) for one, part in zip(joined, parts, strict=True)]
        first = h_0[g : g + 1].contiguous()
        if ragged:
            outputs.append(th._VF.gru(x[g], th.tensor(counts), first, flat, *options)[0])
        else:
            steps = x[g].view(len(counts), counts[0], -1)
            outputs.append(th._VF.gru(steps, first, flat, *options, False)[0].flatten(0, 1))
    return th.stack(outputs)


class GRU(nn.Module):
    """GRU with G independent parameter groups, initialised as `torch.nn.GRU`.

    Args:
        groups: G.
        n_in: I.
        n_hidden: H.
    """

    def __init__(self, groups: int, n_in: int, n_hidden: int) -> None:
        super().__init__()
        bound = 1.0 / math.sqrt(n_hidden)
        self.n_hidden = n_hidden
        self.weight_in = nn.Parameter(th.empty(groups, n_in, 3 * n_hidden).uniform_(-bound, bound))
        self.bias_in = nn.Parameter(th.empty(groups, 1, 3 * n_hidden).uniform_(-bound, bound))
        self.weight_hidden = nn.Parameter(th.empty(groups, n_hidden, 3 * n_hidden).uniform_(-bound, bound))
        self.bias_hidden = nn.Parameter(th.empty(groups, 1, 3 * n_hidden).uniform_(-bound, bound))

    def forward(self, x: Tensor, counts: Sequence[int], hidden: Tensor | None = None) -> Tensor:
        """All hidden states.

        Args:
            x: packed inputs, `[G,P,I]`.
            counts: rows of every step, never increasing, sum P.
            hidden: state before the first step, `[G,counts[0],H]`; zeros if None.

        Returns:
            `[G,P,H]`, packed as `x`.
        """
        if not takes_kernels(x):
            w_in, b_in, w_hidden, b_hidden = self.cell
            hidden = x.new_zeros(x.shape[0], counts[0], self.n_hidden) if hidden is None else hidden
            return _stock(x, hidden, w_in, b_in, w_hidden, b_hidden, list(counts))
        return recurrent(numbers_alone(x), counts, hidden, self.cell)

    @property
    def cell(self) -> Cell:
        """Weights and biases of the inputs and of the state."""
        return self.weight_in, self.bias_in, self.weight_hidden, self.bias_hidden
