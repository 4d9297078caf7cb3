"""Registry of controllers: inputs to agent network to actions; decentralised execution."""

from controllers.basic_controller import BasicMAC
from controllers.soft_controller import SoftMAC

REGISTRY: dict[str, type[BasicMAC]] = {"basic_mac": BasicMAC, "soft_mac": SoftMAC}

__all__ = ["REGISTRY", "BasicMAC", "SoftMAC"]
