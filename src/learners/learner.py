"""The shell of every algorithm: networks, targets, optimisers, one update, state. Subclasses are the maths."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, TypeVar

import torch as th
from torch import Tensor, nn

from components.episode_buffer import ReplayBuffer, TrainBatch
from components.schedules import Steps
from controllers.basic_controller import BasicMAC
from envs.multiagentenv import EnvInfo
from modules.rmsprop import RMSprop, advance
from utils.config import Config
from utils.errors import UserError
from utils.flat import FlatParameters
from utils.masking import masked_mean
from utils.seeding import derive_seed
from utils.targets import hard_update, soft_update

Metrics = dict[str, Tensor]
REGISTRY: dict[str, type[Learner]] = {}
ADAM_BETAS = (0.9, 0.999)  # PyTorch's
_L = TypeVar("_L", bound="type[Learner]")


def register(name: str) -> Callable[[_L], _L]:
    """Class decorator: make a learner selectable as `learner: name` in a yaml."""

    def add(cls: _L) -> _L:
        REGISTRY[name] = cls
        return cls

    return add


def td_metrics(values: Tensor, targets: Tensor, mask: Tensor) -> Metrics:
    """Means over real steps that every TD learner reports; `values`, `targets [...,B,T,1]`, `mask [B,T,1]`."""
    values, targets = th.broadcast_tensors(values.detach(), targets)
    each = th.stack(((values - targets).abs(), values, targets))
    means = masked_mean(each, mask, keep=1)
    return dict(zip(("td_error_abs", "q_taken_mean", "target_mean"), means, strict=True))


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
    on_policy: ClassVar[bool] = False  # whether an update takes the newest episodes in place of random ones
    padded_to: int = 8  # recorded updates: a batch has a multiple of so many steps (utils/cuda_graphs.py); 0: never

    def __init__(self, config: Config, env_info: EnvInfo, mac: BasicMAC) -> None:
        super().__init__()
        self.config, self.env_info = config, env_info
        self.mac: Any = mac  # of class `mac_class`
        self.params: Any = config.params
        self.n_updates = 0
        self.t_env = config.t_max  # env steps when the last update was made; schedules' end before the first
        self.targets = nn.ModuleDict()
        self.flat: dict[str, FlatParameters] = {}  # by optimiser: the parameters it trains
        self.optimisers: dict[str, th.optim.Optimizer] = {}
        self.device = next(mac.parameters()).device
        self.build()
        self.to(self.device)
        self.rng = th.Generator(device=self.device).manual_seed(config.seed)

    @abstractmethod
    def build(self) -> None:
        """Make networks, then `add_targets` and `add_optimiser`."""

    @abstractmethod
    def learn(self, batch: TrainBatch, t_env: Steps) -> Metrics:
        """One update; returns detached scalars. Neither logs nor synchronises. `t_env` is for schedules."""

    @abstractmethod
    def evaluate_actions(self, batch: TrainBatch) -> tuple[Tensor, Tensor]:
        """Q_tot `[B,T,1]` and the utilities `[B,T,N]` of the actions in `batch`, for tables and plots."""

    def sample(self, buffer: ReplayBuffer) -> TrainBatch:
        """The batch for one update; override for mixed or prioritised data."""
        choose = buffer.recent if self.on_policy else buffer.sample
        return choose(self.config.batch_size, self.device)

    def update(self, batch: TrainBatch, t_env: int) -> Metrics:
        """`learn`, then move the targets if they are due."""
        metrics = self.learn(batch, t_env)
        self.n_updates, self.t_env = self.n_updates + 1, t_env
        self._update_targets()
        return metrics

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
        """The configured optimiser over `parameters`, which become views of one vector (`utils/flat.py`)."""
        config, flat = self.config, FlatParameters(parameters, self.device)
        keys: dict[str, Any] = {"lr": lr, "eps": config.optim_eps, "capturable": self.device.type == "cuda"}
        optimiser: th.optim.Optimizer
        if config.optimiser == "rmsprop":
            optimiser = RMSprop([flat.vector], alpha=config.optim_alpha, **keys)
        elif config.optimiser == "amsgrad":  # once a fit is exact, Adam's denominators vanish and its steps explode
            betas = (ADAM_BETAS[0], config.optim_alpha)
            optimiser = th.optim.Adam([flat.vector], betas=betas, amsgrad=True, fused=True, **keys)
        else:
            optimiser = th.optim.Adam([flat.vector], betas=ADAM_BETAS, fused=True, **keys)
        self.flat[name], self.optimisers[name] = flat, optimiser

    def optimise(self, name: str, loss: Tensor) -> Tensor:
        """Gradient of `loss`, clip, step. Returns the norm of the gradient before clipping."""
        flat = self.flat[name]
        flat.differentiate(loss)
        norm = flat.clip(self.config.grad_norm_clip)
        advance(self.optimisers[name])
        return norm

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
            "t_env": self.t_env,
            "rng": self.rng.get_state(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state`, before the first update: a recorded one keeps the memory it was recorded with.

        The state of another kind of device's generator says nothing here: then random numbers begin anew.

        Raises:
            UserError: the state is of other networks.
        """
        try:
            self.load_state_dict(state["networks"])
        except RuntimeError as error:
            detail = " ".join(str(error).split())[:160]
            raise UserError(f"checkpoint: not of {self.config.name} at these sizes (map, keys); {detail}") from error
        for name, optimiser in self.optimisers.items():
            saved, device = state["optimisers"][name], {"capturable": self.device.type == "cuda"}
            optimiser.load_state_dict(saved | {"param_groups": [group | device for group in saved["param_groups"]]})
        self.n_updates = state["n_updates"]
        self.t_env = state.get("t_env", self.config.t_max)  # not in checkpoints of versions before
        if state["rng"].shape == self.rng.get_state().shape:
            self.rng.set_state(state["rng"].cpu())
        else:
            self.rng.manual_seed(derive_seed(self.config.seed, "learner", self.n_updates))
