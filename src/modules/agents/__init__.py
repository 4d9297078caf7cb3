"""Registry of agent networks: what turns inputs (or histories of inputs) into outputs, one row per agent."""

from modules.agents.trunk import MLPTrunk, RNNTrunk, Trunk

REGISTRY: dict[str, type[Trunk]] = {"rnn": RNNTrunk, "mlp": MLPTrunk}

__all__ = ["REGISTRY", "MLPTrunk", "RNNTrunk", "Trunk"]
