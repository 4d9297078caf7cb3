"""What is the target? One free function per equation.

Shape legend: B episodes, T transitions. `x_t` belongs to step t, `x_tp1` to the step after it.
"""

from __future__ import annotations

import torch as th
from torch import Tensor

from utils.scans import linear_recursion


def continues(mask: Tensor) -> Tensor:
    """Whether step t + 1 is a real transition of the same episode: mask `[B,T,1]` -> bool `[B,T,1]`."""
    return th.cat((mask[:, 1:], th.zeros_like(mask[:, :1])), dim=1) > 0


def lambda_returns(
    reward: Tensor, terminated: Tensor, next_value: Tensor, mask: Tensor, gamma: float, td_lambda: float
) -> Tensor:
    """TD(lambda) returns, right for terminated and for truncated episodes of any length in one batch.

        G_t = r_t + gamma (1 - d_t) [(1 - lambda) V_{t+1} + lambda G_{t+1}],  G_{t+1} := V_{t+1} at an episode's end

    Args:
        reward: r_t, `[B,T,1]`.
        terminated: d_t, 1 only for a true end (not for a cut by a time limit), `[B,T,1]`.
        next_value: V_{t+1} of the observation after step t, `[B,T,1]`.
        mask: 1 for real transitions, `[B,T,1]`.
        gamma: discount.
        td_lambda: lambda in [0, 1]; 0 gives one-step targets, 1 Monte-Carlo with a bootstrap at cuts.

    Returns:
        G_t, `[B,T,1]`; what stands in the padding is finite if next_value is and must be masked.
    """
    if not reward.shape == terminated.shape == next_value.shape == mask.shape:
        shapes = [list(x.shape) for x in (reward, terminated, next_value, mask)]
        raise ValueError(f"lambda_returns: shapes must agree, got {shapes}")
    discount = gamma * (1.0 - terminated)
    if td_lambda == 0.0:
        return reward + discount * next_value
    # G_t = a_t + c_t G_{t+1} with c_t = gamma lambda (1 - d_t) where the episode goes on, else 0
    carry = th.where(continues(mask), td_lambda * discount, 0.0)
    own = reward + (discount - carry) * next_value
    return linear_recursion(own, carry)


def tree_backup(
    q_taken: Tensor, td_error: Tensor, probability: Tensor, mask: Tensor, decay: float, n_steps: int
) -> Tensor:
    """n-step tree-backup returns: off-policy without importance ratios (Precup et al., 2000).

        y_t = Q(u_t) + sum_{j=0}^{n-1} decay^j [prod_{l=1}^{j} pi(u_{t+l})] delta_{t+j}

    Args:
        q_taken: Q of the stored action at step t, `[B,T,1]`.
        td_error: delta_t = r_t + gamma (1 - d_t) E_pi[Q_{t+1}] - Q(u_t), `[B,T,1]`.
        probability: pi(u_t), the current policy's probability of the stored joint action, `[B,T,1]`.
        mask: 1 for real transitions, `[B,T,1]`; nothing is backed up across an episode's end.
        decay: gamma times the trace parameter.
        n_steps: n.

    Returns:
        y_t, `[B,T,1]`.
    """
    if not q_taken.shape == td_error.shape == probability.shape == mask.shape:
        shapes = [list(x.shape) for x in (q_taken, td_error, probability, mask)]
        raise ValueError(f"tree_backup: shapes must agree, got {shapes}")
    trace = th.where(continues(mask), decay * probability.roll(-1, dims=1), 0.0)  # c_{t+1}
    total = td_error
    for _ in range(n_steps - 1):
        total = td_error + trace * th.where(trace > 0, total.roll(-1, dims=1), 0.0)
    return q_taken + total
