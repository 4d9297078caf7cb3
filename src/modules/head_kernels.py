"""The sum over heads of FOP's lambda network (`modules/mixers/heads.py`), compiled: one pass over the rows.

Arrays are float32; R rows, P heads, N agents. A row of `maps [R,P+2PN]` holds the keys k_p, then a_pi, then c_pi.
"""

from __future__ import annotations

import numpy as np

from modules.compiled import cached, mine
from modules.gru_kernels import sigmoid
from modules.lanes import elementwise

ZERO, ONE = np.float32(0.0), np.float32(1.0)
_SIGMOID, _SIGMOID_OF_SUM = elementwise(lambda x: (sigmoid(x),)), elementwise(lambda x, y: (sigmoid(x + y),))


@cached
def forward(part, maps, added, gates, out):  # type: ignore[no-untyped-def]
    """`out [R,N]` = sum_p |k_p| sigmoid(a_pi) sigmoid(c_pi + added_pi).

    Args:
        part: see `utils/threads.py`.
        maps: see above.
        added: `[R,PN]`.
        gates: `[R,2PN]`: written, the sigmoids.
        out: `[R,N]`: written.
    """
    n_agents, count = out.shape[1], added.shape[1]
    n_heads, (begin, end) = count // n_agents, mine(part, len(out))
    for r in range(begin, end):
        row, more, gate, total = maps[r], added[r], gates[r], out[r]
        _SIGMOID(count, ((row, n_heads),), ((gate, 0),))
        _SIGMOID_OF_SUM(count, ((row, n_heads + count), (more, 0)), ((gate, count),))
        total[:] = ZERO
        for p in range(n_heads):
            key, first = abs(row[p]), p * n_agents
            for i in range(n_agents):
                total[i] += key * gate[first + i] * gate[count + first + i]


@cached
def backward(part, maps, gates, grad, d_maps, d_added):  # type: ignore[no-untyped-def]
    """Gradients of `maps` and `added` from `grad [R,N]`; see `forward`."""
    n_agents, count = grad.shape[1], d_added.shape[1]
    n_heads, (begin, end) = count // n_agents, mine(part, len(grad))
    for r in range(begin, end):
        row, gate, g, d, d_more = maps[r], gates[r], grad[r], d_maps[r], d_added[r]
        for p in range(n_heads):
            key, first, total = abs(row[p]), p * n_agents, ZERO
            for i in range(n_agents):
                own, joint = gate[first + i], gate[count + first + i]
                total += g[i] * own * joint
                d[n_heads + first + i] = g[i] * key * joint * own * (ONE - own)
                d_more[first + i] = g[i] * key * own * joint * (ONE - joint)
            d[p] = total if row[p] > ZERO else (-total if row[p] < ZERO else ZERO)
        for j in range(count):
            d[n_heads + count + j] = d_more[j]
