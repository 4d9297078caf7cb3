"""FOP's own configuration keys. `fop.yaml` is the paper, `fop_official.yaml` the released code's numerics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from components.action_space import ActionSpace, DiscreteActions
from utils.config import Copies, Count, Fraction, Positive, Rate, Width
from utils.errors import Range, UserError, WrongActionsError


@dataclass(frozen=True)
class FOPParams:
    """Keys that fop yamls add; meaning and effect of each in docs/algorithms/fop.md."""

    mixing: Literal["igo", "igo_literal", "dop", "vdn"]  # eq. (7) with our routing, as printed, DOP's, additive
    mixing_embed_dim: Width  # units of V_jt's hidden layer
    lambda_net: Literal["auto", "heads", "mlp"]  # auto: heads, or mlp where there is only one state
    lambda_heads: Copies  # heads of the lambda network
    lambda_max: Annotated[float, Range(0.0)]  # upper bound of lambda_i of lambda_net=mlp; 0: none
    n_critics: Annotated[int, Range(0, 256)]  # K; targets use the minimum over K; 0: as `members` says
    critic: Literal["rnn", "mlp"]
    critic_last_action: bool  # whether Q_i reads the previous own action
    td_lambda: Fraction  # lambda of the return target; 0 is eq. (9) as printed
    v_function: Literal["auto", "closed", "unmasked", "network"]  # log-sum-exp, the released code's, eq. (10)
    v_samples: Positive  # action samples for eq. (10), continuous actions only
    entropy_sum: bool  # log pi_jt = sum_i log pi_i (paper) or mean over agents (released code)
    entropy_in_return: bool  # entropy inside the discounted return (paper) or added once after it (released code)
    terminal_entropy: bool  # entropy bonus also after the last step (released code)
    alpha_mode: Literal["fixed", "linear", "auto"]  # alpha_start for ever, annealed, learned as in SAC
    alpha_start: Rate  # initial temperature, in units of the learning reward
    alpha_finish: Rate  # final temperature of alpha_mode=linear
    alpha_anneal_time: Count  # env steps from alpha_start to alpha_finish
    alpha_lr: Rate  # learning rate of alpha_mode=auto
    alpha_individual: Literal["shared", "lambda"]  # alpha_i = alpha, or the paper's rule (guarded)
    target_entropy: Annotated[float, Range()]  # alpha_mode=auto: times log|available actions|, or times -D

    def __post_init__(self) -> None:
        """Check what depends on two keys."""
        if self.alpha_individual == "lambda" and not self.mixing.startswith("igo"):
            raise UserError(f"alpha_individual=lambda needs mixing=igo or igo_literal, got mixing={self.mixing}")

    def members(self, space: ActionSpace) -> int:
        """K: `n_critics`, or if that is 0 two for discrete actions and one for a box, where the minimum diverges."""
        return self.n_critics or (2 if isinstance(space, DiscreteActions) else 1)

    def value_function(self, space: ActionSpace) -> str:
        """What `v_function` means for an action space: auto is closed for discrete actions, network for a box.

        Raises:
            WrongActionsError: a log-sum-exp over the actions of a box, which has no closed form.
        """
        discrete = isinstance(space, DiscreteActions)
        if self.v_function == "auto":
            return "closed" if discrete else "network"
        if not discrete and self.v_function != "network":
            raise WrongActionsError(
                f"v_function={self.v_function} needs discrete actions; use v_function=network or auto"
            )
        return self.v_function
