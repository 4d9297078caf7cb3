"""Registry of mixers: utilities of the agents into one joint value."""

from modules.mixers.igo import DOPMixer, IGOMixer, LiteralIGOMixer
from modules.mixers.mixer import Mixer
from modules.mixers.qmix import QMIXMixer
from modules.mixers.vdn import VDNMixer

REGISTRY: dict[str, type[Mixer]] = {
    "vdn": VDNMixer,
    "qmix": QMIXMixer,
    "igo": IGOMixer,
    "igo_literal": LiteralIGOMixer,
    "dop": DOPMixer,
}

__all__ = ["REGISTRY", "DOPMixer", "IGOMixer", "LiteralIGOMixer", "Mixer", "QMIXMixer", "VDNMixer"]
