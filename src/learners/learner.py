"""The shell of every algorithm: networks, targets, optimisers, one update, state. Subclasses are the maths."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, TypeVar

import torch as th
from torch import Tensor, nn

from components.episode_buffer import ReplayBuffer, TrainBatch
from controllers.basic_controller import BasicMAC
from envs.multiagentenv import EnvInfo
from utils.config import Config
from utils.masking import masked_mean
from utils.targets import hard_update, soft_update

Metrics = dict[str, Tensor]
PART_ROWS = 8192  # observations of agents in a part of a batch: 2 MiB per layer of 64 units, inside common L2 + L3
REGISTRY: dict[str, type[Learner]] = {}
_L = TypeVar("_L", bound="type[Learner]")


def register(name: str) -> Callable[[_L], _L]:
    """Class decorator: make a learner selectable as `learner: name` in a yaml."""

    def add(cls: _L) -> _L:
        REGISTRY[name] = cls
        return cls

    return add


def td_metrics(values: Tensor, targets: Tensor, mask: Tensor) -> Metrics:
    """Means over real steps that every TD learner reports; `values`, `targets [...,B,T,1]`, `mask [B,T,1]`."""
    values = values.detach()
    return {
        "td_error_abs": masked_mean((values - targets).abs(), mask),
        "q_taken_mean": masked_mean(values, mask),
        "target_mean": masked_mean(targets, mask),
    }


def averaged(parts: list[Metrics]) -> Metrics:
    """Mean of every metric over the optimiser steps of one update."""
    return {name: th.stack([part[name] for part in parts]).mean() for name in parts[0]}


class Learner(nn.Module, ABC):
    """Networks are attributes; `build` makes them, `learn` is one update on one batch.

    Args:
        config: the run's configuration; learners read the training keys and `config.params`.
        env_info: sizes.
        mac: the controller, whose agent network is trained.
    """

    Params: ClassVar[type[Any]]  # a frozen dataclass: the keys the learner's yaml adds
    mac_class: ClassVar[str] = "basic_mac"
    separable: bool = False  # see `update`
    on_policy: ClassVar[bool] = False  # whether an update takes the newest episodes in place of random ones

    def __init__(self, config: Config, env_info: EnvInfo, mac: BasicMAC) -> None:
        super().__init__()
        self.config, self.env_info = config, env_info
        self.mac: Any = mac  # of class `mac_class`
        self.params: Any = config.params
        self.n_updates = 0
        self.targets = nn.ModuleDict()
        self.optimisers: dict[str, th.optim.Optimizer] = {}
        self._weight: float | None = None  # share of the batch's steps in the part at hand
        self._norms: Metrics = {}
        self.device = next(mac.parameters()).device
        self.build()
        self.to(self.device)
        self.rng = th.Generator(device=self.device).manual_seed(config.seed)

    @abstractmethod
    def build(self) -> None:
        """Make networks, then `add_targets` and `add_optimiser`."""

    @abstractmethod
    def learn(self, batch: TrainBatch, t_env: int) -> Metrics:
        """One update; returns detached scalars. Neither logs nor synchronises."""

    @abstractmethod
    def evaluate_actions(self, batch: TrainBatch) -> tuple[Tensor, Tensor]:
        """Q_tot `[B,T,1]` and the utilities `[B,T,N]` of the actions in `batch`, for tables and plots."""

    def sample(self, buffer: ReplayBuffer) -> TrainBatch:
        """The batch for one update; override for mixed or prioritised data."""
        choose = buffer.recent if self.on_policy else buffer.sample
        return choose(self.config.batch_size, self.device)

    def update(self, batch: TrainBatch, t_env: int) -> Metrics:
        """`learn`, then move the targets if they are due.

        On a CPU, a batch too large for its caches is learnt in parts whose gradients add up, if the learner is
        `separable`: its losses are means over real steps, and nothing in `learn` uses weights it has just changed.
        """
        parts = batch.parts(PART_ROWS) if self.separable and self.device.type == "cpu" else [batch]
        metrics = self.learn(batch, t_env) if len(parts) == 1 else self._learn_parts(parts, t_env)
        self.n_updates += 1
        self._update_targets()
        return metrics

    def _learn_parts(self, parts: list[TrainBatch], t_env: int) -> Metrics:
        """One optimiser step on the mean over all parts, as `learn` on the whole batch; means of its metrics."""
        for optimiser in self.optimisers.values():
            optimiser.zero_grad()
        self._norms = {}
        total = sum(sum(part.lengths) for part in parts)
        metrics: list[tuple[float, Metrics]] = []
        for part in parts:
            self._weight = sum(part.lengths) / total
            metrics.append((self._weight, self.learn(part, t_env)))
        self._weight = None
        for name, norm in self._norms.items():
            norm.copy_(self._step(name))
        return {name: th.stack([weight * part[name] for weight, part in metrics]).sum() for name in metrics[0][1]}

    def target(self, name: str) -> Any:
        """The slow copy of the module `name`, to be called as that is."""
        return self.targets[name]

    def add_targets(self, *names: str) -> None:
        """Keep a slow copy of the modules `names`, reached by `target`."""
        for name in names:
            self.targets[name] = copy.deepcopy(self.get_submodule(name)).requires_grad_(False)

    def parameters_of(self, names: Iterable[str]) -> list[nn.Parameter]:
        """Parameters of the modules `names`."""
        return [weight for name in names for weight in self.get_submodule(name).parameters()]

    def add_optimiser(self, name: str, parameters: Iterable[nn.Parameter], lr: float) -> None:
        """RMSprop or Adam, as configured, over `parameters`."""
        config = self.config
        weights = list(parameters)
        if config.optimiser == "adam":
            self.optimisers[name] = th.optim.Adam(weights, lr=lr, eps=config.optim_eps, fused=True)
        else:
            self.optimisers[name] = th.optim.RMSprop(
                weights, lr=lr, alpha=config.optim_alpha, eps=config.optim_eps, foreach=True
            )

    def optimise(self, name: str, loss: Tensor) -> Tensor:
        """Zero, backward, clip, step. Returns the norm of the gradient before clipping.

        In a part of a batch: only backward; the norm is filled in after the last part.
        """
        if self._weight is not None:
            (loss * self._weight).backward()
            return self._norms.setdefault(name, th.zeros((), device=self.device))
        self.optimisers[name].zero_grad()
        loss.backward()
        return self._step(name)

    def _step(self, name: str) -> Tensor:
        """Clip and step; returns the norm before."""
        optimiser = self.optimisers[name]
        weights = [weight for group in optimiser.param_groups for weight in group["params"]]
        norm = nn.utils.clip_grad_norm_(weights, self.config.grad_norm_clip, foreach=True)
        optimiser.step()
        return norm.detach()

    def _update_targets(self) -> None:
        interval, tau = self.config.target_update_interval, self.config.target_tau
        for name, target in self.targets.items():
            if tau > 0.0:
                soft_update(target, self.get_submodule(name), tau)
            elif self.n_updates % interval == 0:
                hard_update(target, self.get_submodule(name))

    def state(self) -> dict[str, Any]:
        """Networks (targets included), optimisers, counters and the generator."""
        return {
            "networks": self.state_dict(),
            "optimisers": {name: optimiser.state_dict() for name, optimiser in self.optimisers.items()},
            "n_updates": self.n_updates,
            "rng": self.rng.get_state(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state`."""
        self.load_state_dict(state["networks"])
        for name, optimiser in self.optimisers.items():
            optimiser.load_state_dict(state["optimisers"][name])
        self.n_updates = state["n_updates"]
        self.rng.set_state(state["rng"].cpu())
