"""The sum over heads of FOP's lambda network (`modules/mixers/heads.py`), compiled: one pass over the rows.

Arrays are float32; R rows, K networks, P heads, N agents. `maps [R,K,P+2PN]` hold the keys k_p, then a_pi, then c_pi.
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
    """`out [K,R,N]` = sum_p |k_p| sigmoid(a_pi) sigmoid(c_pi + added_pi).

    Args:
        part: see `utils/threads.py`.
        maps: see above.
        added: `[R,K,PN]`.
        gates: `[R,K,2PN]`: written, the sigmoids.
        out: written.
    """
    (members, rows, n_agents), count = out.shape, added.shape[2]
    n_heads, (begin, end) = count // n_agents, mine(part, rows * members)
    for number in range(begin, end):
        r, k = number // members, number % members
        row, more, gate, total = maps[r, k], added[r, k], gates[r, k], out[k, r]
        _SIGMOID(count, ((row, n_heads),), ((gate, 0),))
        _SIGMOID_OF_SUM(count, ((row, n_heads + count), (more, 0)), ((gate, count),))
        total[:] = ZERO
        for p in range(n_heads):
            key, first = abs(row[p]), p * n_agents
            for i in range(n_agents):
                total[i] += key * gate[first + i] * gate[count + first + i]


@cached
def backward(part, maps, gates, grad, d_maps, d_added):  # type: ignore[no-untyped-def]
    """Gradients of `maps` and `added` from `grad [K,R,N]`; see `forward`."""
    (members, rows, n_agents), count = grad.shape, d_added.shape[2]
    n_heads, (begin, end) = count // n_agents, mine(part, rows * members)
    for number in range(begin, end):
        r, k = number // members, number % members
        row, gate, g, d, d_more = maps[r, k], gates[r, k], grad[k, r], d_maps[r, k], d_added[r, k]
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
