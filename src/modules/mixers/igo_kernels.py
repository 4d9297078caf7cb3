"""FOP's mixer on the CPU, compiled by numba: a block of states goes through all networks of all members at once.

Arrays are float32; K members, R rows, S state, N agents, U actions, J ones an agent, P heads, C = PN, E units of V(s).
The first maps of a member are W = P + 2C + E columns: k_p, a_pi, the state's share of c_pi, the units of V (see
`modules/mixers/igo.py`); those of all members lie side by side.
"""

from __future__ import annotations

import numba as nb
import numpy as np

from modules.compiled import cached, cleared, mine
from modules.dense_kernels import PLUS, RELU, ROWS, SAME, add_rows, one_after_the_other
from modules.gru_kernels import sigmoid
from modules.lanes import Lane, elementwise, summed
from modules.row_sums import sum_rows
from modules.tiles import multiply, multiply_plus

F = np.float32
ZERO = F(0.0)


def _through_head(d: Lane, own: Lane, joint: Lane, key: Lane) -> tuple[Lane, ...]:
    both = d * own * joint
    return both, both * key * (1.0 - own), both * key * (1.0 - joint)


def _through_units(units: Lane, weight: Lane, total: Lane, d: Lane) -> tuple[Lane, ...]:
    return (d * weight).where_positive(units), total + d * units


_SIGMOID, _THROUGH_UNITS = elementwise(lambda x: (sigmoid(x),)), elementwise(_through_units)
_DOT, _THROUGH_HEAD = summed(lambda x, y: (x * y,)), summed(_through_head)
_GATED = elementwise(lambda total, own, joint, key: (total + key * own * joint,))
_MIXED = summed(lambda q, v, weight: (q + (weight - 1.0) * (q - v),))
_OF_WEIGHT = elementwise(lambda q, v, d: ((q - v) * d,))


@nb.njit(inline="always")
def _taken(ones, weight, firsts):  # type: ignore[no-untyped-def]
    """Where the rows of a weight begin that a row's joint action, `ones [N,J]`, picks, into `firsts [NJ]`; how many.

    `weight` is (place of the first one, distance of rows, how many an agent has).
    """
    (w_0, apart, n_actions), count = weight, 0
    for i in range(len(ones)):
        for j in range(ones.shape[1]):
            if ones[i, j] >= 0:
                firsts[count] = w_0 + (i * n_actions + ones[i, j]) * apart
                count += 1
    return count


@cached
def forward(part, n_heads, given, weights, biases, layer, out):  # type: ignore[no-untyped-def]
    """`out [K,R]` = sum_i q_i + (lambda_i - 1) (q_i - v_i), plus V(s).

    Args:
        part: see `utils/threads.py`.
        n_heads: P.
        given: (states `[R,S]`; places of ones among each agent's U, -1 for none, `[R,N,J]`; q and v `[K,R,N]`).
        weights: (the first maps `[S,KW'>=KW]`; the joint action's share of c_pi `[NU,KC]`; the last maps of V, K times
            `[1,E]`).
        biases: of the first maps one by one, of the last ones of V, K times `[1]`.
        layer: written: k_p, the sigmoids of a_pi and c_pi, the units of V after their ReLU, `[R,KW]`; or memory of
            ROWS rows for every part, not kept then.
        out: written.
    """
    (state, ones, q, v), (w_first, w_taken, w_last), (b_firsts, b_last) = given, weights, biases
    (members, n_rows, n_agents), inner, every, units = q.shape, len(w_first), layer.shape[1], w_last[0].shape[1]
    count, width, n_actions, apart = n_heads * n_agents, every // members, len(w_taken) // n_agents, w_first.shape[1]
    memory, of_q, of_v, of_taken = layer.reshape(-1), q.reshape(-1), v.reshape(-1), w_taken.reshape(-1)
    weight, b_first, firsts = np.empty(n_agents, F), np.empty(every, F), np.empty(n_agents * ones.shape[2], np.int64)
    one_after_the_other(b_firsts, b_first)
    begin, end = mine(part, n_rows)
    for start in range(begin, end, ROWS):
        rows, here = min(ROWS, end - start), start if len(layer) == n_rows else part[0] * ROWS
        states, target = (state.reshape(-1), start * inner, inner, 1), (memory, here * every, every)
        sizes, maps, ahead = (rows, every, inner), (w_first.reshape(-1), 0, apart), (start + rows) * inner
        multiply_plus(sizes, states, maps, target, (b_first, 0, 0), False, (state.reshape(-1), ahead))
        for number in range(rows * members):
            m, k = number // members, number % members
            at, r = (here + m) * every + k * width, start + m
            gates, values, own = at + n_heads, at + n_heads + 2 * count, (k * n_rows + r) * n_agents
            picked = _taken(ones[r], (k * count, members * count, n_actions), firsts)
            joint = ((memory, gates + count),)
            sum_rows(count, joint, (of_taken, firsts, picked), joint)
            _SIGMOID(2 * count, ((memory, gates),), ((memory, gates),))
            RELU(units, ((memory, values),), ((memory, values),))
            weight[:] = ZERO
            for p in range(n_heads):
                gate, key = gates + p * n_agents, abs(memory[at + p])
                _GATED(n_agents, ((weight, 0), (memory, gate), (memory, gate + count), key), ((weight, 0),))
            mixed = _MIXED(n_agents, ((of_q, own), (of_v, own), (weight, 0)), ())
            out[k, r] = mixed + _DOT(units, ((memory, values), (w_last[k].reshape(-1), 0)), ()) + b_last[k][0]


@cached
def backward(part, n_heads, known, w_last, grad, d_q, sums):  # type: ignore[no-untyped-def]
    """Gradients from `grad [K,R]`; each q_i gets it as it is; states and v get none. See `forward`.

    Args:
        part: see `utils/threads.py`.
        n_heads: P.
        known: (states, places of ones, q, v, and what `forward` kept).
        w_last: the last maps of V, K times `[1,E]`.
        grad: of the outputs.
        d_q: written, `[K,R,N]`.
        sums: written, one for each part: of the weights (the first maps, transposed, `[parts,KW,S]`; the joint
            action's share `[parts,NU,KC]`; the last map of V `[parts,K,E]`), of the biases `[parts,KW]`, `[parts,K]`.
    """
    (state, ones, q, v, layer), number = known, part[0]
    cleared(number, sums)
    (members, n_rows, n_agents), (inner, every), units = q.shape, (state.shape[1], layer.shape[1]), w_last[0].shape[1]
    count, width, n_actions = n_heads * n_agents, every // members, sums[1].shape[1] // n_agents
    memory, of_q, of_v = layer.reshape(-1), q.reshape(-1), v.reshape(-1)
    d, d_weight, d_last = np.empty(ROWS * every, F), np.empty(n_agents, F), sums[2][number].reshape(-1)
    of_taken, d_own = sums[1][number].reshape(-1), d_q.reshape(-1)
    begin, end = mine(part, n_rows)
    for start in range(begin, end, ROWS):
        rows = min(ROWS, end - start)
        for index in range(rows * members):
            m, k = index // members, index % members
            r, g, at, to = start + m, grad[k, start + m], (start + m) * every + k * width, m * every + k * width
            own, values, shift = (k * n_rows + r) * n_agents, n_heads + 2 * count, n_heads + count
            SAME(n_agents, (g,), ((d_own, own),))
            _OF_WEIGHT(n_agents, ((of_q, own), (of_v, own), g), ((d_weight, 0),))
            for p in range(n_heads):
                key, gate = memory[at + p], n_heads + p * n_agents
                given = (d_weight, 0), (memory, at + gate), (memory, at + gate + count), abs(key)
                total = _THROUGH_HEAD(n_agents, given, ((d, to + gate), (d, to + gate + count)))
                d[to + p] = total if key > ZERO else (-total if key < ZERO else ZERO)
            of_units = (memory, at + values), (w_last[k].reshape(-1), 0), (d_last, k * units), g
            _THROUGH_UNITS(units, of_units, ((d, to + values), (d_last, k * units)))
            sums[4][number, k] += g
            for i in range(n_agents):
                for j in range(ones.shape[2]):
                    if ones[r, i, j] >= 0:
                        total_of = (of_taken, ((i * n_actions + ones[r, i, j]) * members + k) * count)
                        PLUS(count, (total_of, (d, to + shift)), (total_of,))
        add_rows(rows, (d, 0, every), sums[3][number])
        states, of_first = (state.reshape(-1), start * inner, inner), (sums[0][number].reshape(-1), 0, inner)
        multiply(
            (every, inner, rows), (d, 0, 1, every), states, of_first, True, (state.reshape(-1), (start + rows) * inner)
        )
