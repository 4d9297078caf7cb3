"""Registry of mixers: utilities of the agents into one joint value."""

from modules.mixers.dop import NormalisedDOPMixer
from modules.mixers.igo import DOPMixer, IGOMixer, LiteralIGOMixer
from modules.mixers.mixer import Mixer
from modules.mixers.nonmonotonic import NonmonotonicMixer
from modules.mixers.qatten import QattenMixer
from modules.mixers.qmix import QMIXMixer
from modules.mixers.qplex import AttentionQPLEXMixer, QPLEXMixer
from modules.mixers.qstar import QStarMixer
from modules.mixers.vdn import VDNMixer

REGISTRY: dict[str, type[Mixer]] = {
    "vdn": VDNMixer,
    "qmix": QMIXMixer,
    "igo": IGOMixer,
    "igo_literal": LiteralIGOMixer,
    "dop": DOPMixer,
    "dop_normalised": NormalisedDOPMixer,
    "nonmonotonic": NonmonotonicMixer,
    "qatten": QattenMixer,
    "qplex": QPLEXMixer,
    "qplex_attention": AttentionQPLEXMixer,
    "qstar": QStarMixer,
}

__all__ = [
    "REGISTRY",
    "AttentionQPLEXMixer",
    "DOPMixer",
    "IGOMixer",
    "LiteralIGOMixer",
    "Mixer",
    "NonmonotonicMixer",
    "NormalisedDOPMixer",
    "QMIXMixer",
    "QPLEXMixer",
    "QStarMixer",
    "QattenMixer",
    "VDNMixer",
]
