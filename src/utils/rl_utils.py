"""What is the target? One free function per equation.

Shape legend: B episodes, T transitions. `x_t` belongs to step t, `x_tp1` to the step after it.
"""

from __future__ import annotations

import torch as th
from torch import Tensor


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
    # whether step t + 1 is a real transition of the same episode
    continues = th.cat((mask[:, 1:], th.zeros_like(mask[:, :1])), dim=1) > 0
    returns = th.empty_like(reward)
    g_tp1 = next_value[:, -1]
    for t in range(reward.shape[1] - 1, -1, -1):
        v_tp1 = next_value[:, t]
        g_tp1 = th.where(continues[:, t], g_tp1, v_tp1)
        g_tp1 = reward[:, t] + discount[:, t] * th.lerp(v_tp1, g_tp1, td_lambda)
        returns[:, t] = g_tp1
    return returns
