"""VDAC: the loss by hand, sum and mixture of values, no target networks, the matrix game's easy relative."""

import pytest

from cases import GAMMA, LAMBDA, constant, mean_square, play, returns_by_hand, two_episodes
from helpers import CONTINUOUS, DISCRETE, make_config, make_info, make_learner
from utils.errors import UserError


@pytest.mark.parametrize(("alg", "v_tot"), [("vdac_sum", 6.0), ("vdac_mix", 5.0)])
def test_loss_by_hand(alg, v_tot):
    """V_i = 2 (sum 6) or a mixer that says 5, uniform policies.

    Mean over agents of -(R - V_tot) log(1 / n_i), plus .1 of the squared error, minus .01 of log n_i.
    """
    learner = make_learner(make_config(alg, gamma=GAMMA, td_lambda=LAMBDA), make_info())
    constant(learner.mac.agent, [0.0, 0.0, 0.0, 0.0, 2.0])
    if alg == "vdac_mix":
        constant(learner.mixer, 5.0)
    batch = two_episodes(DISCRETE)
    returns = returns_by_hand(v_tot)
    logs = [batch.avail_actions[b, t].sum(-1).double().log().mean().item() for b, t in ((0, 0), (0, 1), (1, 0))]
    policy_loss = sum((r - v_tot) * log for r, log in zip(returns, logs, strict=True)) / 3
    metrics = learner.update(batch, 0)
    assert metrics["policy_loss"].item() == pytest.approx(policy_loss, rel=1e-4)
    assert metrics["value_loss"].item() == pytest.approx(mean_square(v_tot, returns), rel=1e-4)
    loss = policy_loss + 0.1 * mean_square(v_tot, returns) - 0.01 * sum(logs) / 3
    assert metrics["loss"].item() == pytest.approx(loss, rel=1e-4)


def test_no_targets_and_discrete_only():
    """Nothing is copied; a box is refused in one line."""
    assert not make_learner(make_config("vdac_sum"), make_info()).targets
    with pytest.raises(UserError, match="vdac_sum needs discrete actions"):
        make_learner(make_config("vdac_sum"), make_info(CONTINUOUS))


@pytest.mark.parametrize("alg", ["vdac_sum", "vdac_mix"])
def test_solves_a_game_where_every_better_action_helps(alg):
    """Payoff [[4, 2], [2, 0]]: the greedy joint action earns 4."""
    keys = {"lr": 3e-3, "batch_size": 8, "updates_per_episode": 0.125, "epsilon_finish": 0.5}
    _, end = play(alg, "matrix_game", 1600, 0, env_args={"payoff": [[4.0, 2.0], [2.0, 0.0]]}, **keys)
    assert end == 4.0
