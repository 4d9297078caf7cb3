"""One step of a GRU for one row, for compiled code: gates forward and backward; float32."""

from __future__ import annotations

from modules.lanes import Lane, elementwise

TANH_BOUND = 8.0  # beyond it tanh is 1 to float32 precision
# tanh(x) = x P(x^2) / Q(x^2) on [-8, 8]: least-squares fit, relative error 7e-9 before rounding, 3.2e-7 after it
P0, P1, P2, P3, P4 = 1.0, 0.13444533944, 3.5716404673e-3, 2.1895364625e-5, 1.5231414352e-8
Q0, Q1, Q2, Q3, Q4 = 1.0, 0.4677786231, 2.6164604351e-2, 3.4113615402e-4, 8.522849271e-7


def _tanh(x: Lane) -> Lane:
    x = x.within(TANH_BOUND)
    x2 = x * x
    x4 = x2 * x2
    top = (P0 + P1 * x2) + x4 * (P2 + P3 * x2 + P4 * x4)
    return x * top / ((Q0 + Q1 * x2) + x4 * (Q2 + Q3 * x2 + Q4 * x4))


def sigmoid(x: Lane) -> Lane:
    """1 / (1 + exp(-x)), by tanh."""
    return 0.5 * _tanh(0.5 * x) + 0.5


def _gates(*x: Lane) -> tuple[Lane, ...]:
    """From products and biases of r, z, n, h W_n + b_n, and h_{t-1}: r, z, n, h W_n + b_n, h_t."""
    x_r, x_z, x_n, inner, old = x
    r, z = sigmoid(x_r), sigmoid(x_z)
    n = _tanh(x_n + r * inner)
    return r, z, n, inner, n + z * (old - n)


def _through_gates(*x: Lane) -> tuple[Lane, ...]:
    """Back through h = n + z (h' - n), n = tanh(x_n + r inner) and the sigmoids of r and z.

    From the gradient of h, r, z, n, inner, h', and sums: the gradient with respect to h' but for its products, those
    of inner, r, z, x_n, and the sums with these added.
    """
    d, r, z, n, inner, old, *sums = x
    d_n = d * (1.0 - z) * (1.0 - n * n)
    d_inner = d_n * r
    d_gates = d_inner, d_inner * inner * (1.0 - r), d * (old - n) * z * (1.0 - z), d_n
    return d * z, *d_gates, *(total + more for total, more in zip(sums, d_gates, strict=True))


kept_gates = elementwise(_gates)
last_gates = elementwise(lambda *x: _gates(*x)[-1:])
through_gates = elementwise(_through_gates)
