"""Registry of controllers: inputs to agent network to actions; decentralised execution."""

from controllers.basic_controller import BasicMAC
from controllers.deterministic_controller import DeterministicMAC
from controllers.mixture_controller import ActorCriticMAC, MixtureMAC
from controllers.soft_controller import SoftMAC

REGISTRY: dict[str, type[BasicMAC]] = {
    "basic_mac": BasicMAC,
    "soft_mac": SoftMAC,
    "deterministic_mac": DeterministicMAC,
    "mixture_mac": MixtureMAC,
    "actor_critic_mac": ActorCriticMAC,
}

__all__ = ["REGISTRY", "ActorCriticMAC", "BasicMAC", "DeterministicMAC", "MixtureMAC", "SoftMAC"]
