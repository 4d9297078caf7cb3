"""Critics: networks that judge actions, seen by learners through a `QFunction`."""

from modules.critics.critic import ActionCritic, ContinuousCritic, DiscreteCritic, make_critic
from modules.critics.q_function import ContinuousQ, DiscreteQ, QFunction

__all__ = ["ActionCritic", "ContinuousCritic", "ContinuousQ", "DiscreteCritic", "DiscreteQ", "QFunction", "make_critic"]
