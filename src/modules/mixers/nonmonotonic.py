"""FACMAC's unconstrained mixer (Peng et al., NeurIPS 2021): QMIX without the absolute values."""

from __future__ import annotations

from modules.mixers.qmix import QMIXMixer


class NonmonotonicMixer(QMIXMixer):
    """Q_tot = H2(s)^T ELU(H1(s)^T q + b1(s)) + v(s); weights of any sign, so the actors must follow dQ_tot/du."""

    monotonic = False
    igm = False
