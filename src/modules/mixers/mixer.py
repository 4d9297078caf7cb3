"""The mixer contract, checked once: utilities of N agents and the state into Q_tot.

Shape legend: B episodes, T steps, N agents, S state, U length of one encoded action.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch as th
from torch import Tensor, nn

from components.inputs import Inputs


@dataclass(frozen=True)
class MixerShape:
    """Sizes a mixer may need: agents N, state S, encoded action U, width of networks, heads, lambda network.

    The first N * unit_dim entries of the state are one slice per agent, for mixers that look at units.
    """

    n_agents: int
    state_dim: int
    action_dim: int
    embed_dim: int = 32
    n_heads: int = 4
    lambda_net: str = "auto"
    unit_dim: int = 1
    weighted_heads: bool = True  # of attention mixers: whether the state weighs the heads
    lambda_max: float = 0.0  # upper bound of FOP's lambda_i from an MLP; 0: none


class Mixer(nn.Module, ABC):
    """`forward` checks shapes and calls `mix`, which a subclass writes.

    Class attributes:
        monotonic: dQ_tot / dQ_i >= 0 is guaranteed.
        igm: the greedy joint action of Q_tot is the tuple of greedy individual actions, for any parameters.
        uses: optional inputs it needs, a subset of {"actions", "baseline"}.
    """

    monotonic: ClassVar[bool] = False
    igm: ClassVar[bool] = False
    uses: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, shape: MixerShape) -> None:
        super().__init__()
        self.shape = shape

    def forward(
        self, utilities: Tensor, state: Tensor, *, actions: Inputs | None = None, baseline: Tensor | None = None
    ) -> Tensor:
        """Joint value.

        Args:
            utilities: Q_i of the actions at hand, `[B,T,N]`.
            state: `[B,T,S]`.
            actions: the encoded joint action, `[B,T,N,U]`.
            baseline: V_i, `[B,T,N]`: soft value (FOP) or maximum (QPLEX).

        Returns:
            Q_tot, `[B,T,1]`.
        """
        self.check(utilities, state, actions, baseline)
        # time first, as batches lie in memory; to a mixer every step is a case of its own
        chosen = None if actions is None else actions.transpose(0, 1)
        value = None if baseline is None else baseline.transpose(0, 1)
        return self.mix(utilities.transpose(0, 1), state.transpose(0, 1), chosen, value).transpose(0, 1)

    def check(self, utilities: Tensor, state: Tensor, actions: Inputs | None, baseline: Tensor | None) -> None:
        """ValueError for a missing input or a wrong shape; see `forward`."""
        size = utilities.shape
        expected = {
            "state": (state, (*size[:-1], self.shape.state_dim)),
            "actions": (actions, (*size, self.shape.action_dim)),
            "baseline": (baseline, tuple(size)),
        }
        for name, (tensor, shape) in expected.items():
            if tensor is None and name in self.uses:
                raise ValueError(f"{type(self).__name__} needs {name}")
            if tensor is not None and tuple(tensor.shape) != shape:
                raise ValueError(f"{type(self).__name__}: {name} must be {list(shape)}, got {list(tensor.shape)}")
        if size[-1] != self.shape.n_agents:
            raise ValueError(f"{type(self).__name__}: {self.shape.n_agents} agents expected, got {size[-1]}")

    @abstractmethod
    def mix(self, utilities: Tensor, state: Tensor, actions: Inputs | None, baseline: Tensor | None) -> Tensor:
        """The formula: `[B,T,N]` -> `[B,T,1]`."""

    @classmethod
    def mix_all(
        cls, mixers: Sequence[Any], utilities: Tensor, state: Tensor, actions: Inputs | None, baseline: Tensor | None
    ) -> Tensor:
        """`mix` of K mixers of this class: `utilities` and `baseline [K,B,T,N]` -> `[K,B,T,1]`."""
        each = [None] * len(mixers) if baseline is None else baseline
        parts = zip(mixers, utilities, each, strict=True)
        return th.stack([mixer.mix(own, state, actions, value) for mixer, own, value in parts])

    def regulariser(self, state: Tensor) -> Tensor | None:
        """A term of the loss besides the TD error, `[B,T,S]` -> `[B,T,1]`; None where there is none."""
        return None
