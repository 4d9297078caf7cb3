"""Registry of controllers: inputs to agent network to actions; decentralised execution."""

from controllers.basic_controller import BasicMAC
from controllers.conditional_controller import ConditionalMAC
from controllers.deterministic_controller import DeterministicMAC
from controllers.mixture_controller import ActorCriticMAC, MixtureMAC
from controllers.soft_controller import SoftMAC

REGISTRY: dict[str, type[BasicMAC]] = {
    "basic_mac": BasicMAC,
    "soft_mac": SoftMAC,
    "deterministic_mac": DeterministicMAC,
    "mixture_mac": MixtureMAC,
    "actor_critic_mac": ActorCriticMAC,
    "conditional_mac": ConditionalMAC,
}

__all__ = ["REGISTRY", "ActorCriticMAC", "BasicMAC", "ConditionalMAC", "DeterministicMAC", "MixtureMAC", "SoftMAC"]
