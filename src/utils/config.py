"""The configuration: typed, frozen, merged from default < environment < algorithm < command line.

Units and meanings of the keys stand in `config/default.yaml`, once.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Annotated, Any, Literal

from utils.configfile import CONFIG_DIR, available, read_named, read_yaml
from utils.errors import Range, UserError, check_keys, checked, hints_of, nearest, typed

Count = Annotated[int, Range(0, 2**63 - 1)]
Positive = Annotated[int, Range(1, 2**63 - 1)]
Width = Annotated[int, Range(1, 4096)]  # units of a layer: a GRU of 4096 takes 0.4 GB, for each copy of it
Copies = Annotated[int, Range(1, 256)]  # of networks or heads beside each other
Fraction = Annotated[float, Range(0.0, 1.0)]
Rate = Annotated[float, Range(above=0.0)]

DERIVED = ("env_info",)  # recorded with a run, not a key a user can set


@dataclass(frozen=True)
class Config:
    """Every key of the framework. The learner's own keys are in `params`, the environment's in `env_args`."""

    name: str
    env: str
    env_args: Mapping[str, Any]
    learner: str
    label: str
    seed: Annotated[int, Range(0, 2**32 - 1)]

    runner: Literal["auto", "episode", "parallel", "batched", "ray"]
    batch_size_run: Positive
    worker_timeout: Rate
    t_max: Positive

    test_interval: Positive
    test_nepisode: Count
    test_greedy: bool
    stop_tests: Count
    stop_metric: str
    stop_level: float
    log_interval: Positive
    save_model: bool
    save_model_interval: Positive
    save_every: Count
    save_every_minutes: Annotated[float, Range(0.0)]
    save_keep: Positive
    save_finished: bool
    resume: str
    checkpoint_path: str
    load_step: Count
    evaluate: bool
    use_tensorboard: bool
    tensorboard_backend: Literal["tensorboardX", "tensorboard-logger"]
    local_results_path: str
    mongo_url: str = field(repr=False)
    mongo_interval: Rate
    mongo_checkpoint: bool

    use_cuda: bool
    torch_threads: Annotated[int, Range(0, 1024)]
    torch_compile: Literal["none", "default", "cuda_graphs"]

    buffer_size: Positive
    buffer_obs_dtype: Literal["float32", "float16"]
    batch_size: Positive
    updates_per_episode: Rate
    learning_starts: Count

    gamma: Fraction
    lr: Rate
    critic_lr: Rate
    optimiser: Literal["rmsprop", "adam", "amsgrad"]
    optim_alpha: Annotated[float, Range(0.0, below=1.0)]
    optim_eps: Annotated[float, Range(0.0)]
    grad_norm_clip: Rate
    target_update_interval: Count
    target_tau: Fraction

    agent: Literal["rnn", "mlp"]
    hidden_dim: Width
    obs_agent_id: bool
    obs_last_action: bool
    share_parameters: bool
    agent_output_scale: Rate
    policy_std: Rate

    epsilon_start: Fraction
    epsilon_finish: Fraction
    epsilon_anneal_time: Count
    policy_epsilon: bool
    mask_before_softmax: bool
    uniform_steps: Count

    params: Any = None

    def __post_init__(self) -> None:
        """Check what depends on several keys."""
        if (self.target_update_interval == 0) == (self.target_tau == 0.0):
            raise UserError(
                "set one of target_update_interval (copies, then target_tau=0) and target_tau (mixing, then "
                f"target_update_interval=0), got {self.target_update_interval} and {self.target_tau}"
            )
        if self.buffer_size < max(self.batch_size, self.learning_starts):
            raise UserError(
                f"buffer_size ({self.buffer_size} episodes) must hold batch_size ({self.batch_size}) "
                f"and learning_starts ({self.learning_starts})"
            )
        if self.evaluate and not self.checkpoint_path:
            raise UserError("evaluate=True needs checkpoint_path=RUN_DIRECTORY, the run whose networks are tested")
        if self.evaluate and self.resume:
            raise UserError("evaluate=True tests a checkpoint, resume continues training: set one of them")
        if self.evaluate and self.test_nepisode == 0:
            raise UserError("evaluate=True needs test_nepisode of at least 1, got 0")


FRAMEWORK_KEYS = tuple(item.name for item in fields(Config) if item.name != "params")


def layers(alg: str | None, env: str | None) -> dict[str, Any]:
    """Merge default < `env` < `alg`: what the files say, before the command line.

    Args:
        alg: name of a file in config/algs, or None for none.
        env: name of a file in config/envs, or None for none.

    Raises:
        UserError: there is no such file, it cannot be read or has a key that is not the framework's.
    """
    merged = read_yaml(CONFIG_DIR / "default.yaml")
    check_keys(merged, FRAMEWORK_KEYS, "key in default.yaml")
    if env is not None:
        layer = read_named("envs", env)
        check_keys(layer, FRAMEWORK_KEYS, f"key in envs/{env}.yaml")
        merged = overlay(merged, layer)
    return merged if alg is None else overlay(merged, read_named("algs", alg))


def merge(alg: str | None, env: str | None, overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Merge default < `env` < `alg` < `overrides` and check the framework's keys. Nothing heavy is imported.

    Args:
        alg: name of a file in config/algs, or None if `overrides` name the learner.
        env: name of a file in config/envs, or None if `overrides` name the environment.
        overrides: nested mapping, as given on the command line.

    Returns:
        All keys at one level, `env_args` nested; the learner's own keys are not checked yet.

    Raises:
        UserError: unknown name or key in a file, wrong type, value out of range.
    """
    if alg is None and "learner" not in overrides:
        raise UserError(f"name an algorithm: --config=ALG, one of {', '.join(available('algs'))}")
    if env is None and "env" not in overrides:
        raise UserError(f"name an environment: --env-config=ENV, one of {', '.join(available('envs'))}")
    if not isinstance(overrides.get("env_args", {}), Mapping):
        raise UserError("env_args is a mapping: set its keys one by one, as env_args.key=value")
    merged = overlay(layers(alg, env), overrides)
    if merged["seed"] is None:
        merged["seed"] = random.SystemRandom().randint(1, 10**9)  # the range of Sacred's own seeds
    return merged | checked(Config, merged, "key")


def build_config(
    alg: str | None, env: str | None, overrides: Mapping[str, Any], registry: Mapping[str, Any] | None = None
) -> Config:
    """Return the complete, validated configuration; see `merge` for the arguments.

    Args:
        alg: name of a file in config/algs, or None if `overrides` name the learner.
        env: name of a file in config/envs, or None if `overrides` name the environment.
        overrides: nested mapping, as given on the command line.
        registry: learner name -> class with a nested dataclass `Params`; `learners.REGISTRY` if None.
    """
    return from_merged(merge(alg, env, overrides), registry)


def from_merged(merged: Mapping[str, Any], registry: Mapping[str, Any] | None = None) -> Config:
    """Split the keys of `merge` into the framework's and the learner's and build both."""
    known = _learners() if registry is None else registry
    name = merged["learner"]
    if name not in known:
        raise UserError(f"unknown learner {name!r}{nearest(name, known)}; known: {', '.join(known)}")
    params_cls = known[name].Params
    check_keys(merged, (*FRAMEWORK_KEYS, *own_keys(params_cls)), "key")
    own = {key: value for key, value in merged.items() if key not in FRAMEWORK_KEYS}
    params = typed(params_cls, own, "key")
    return typed(Config, {key: merged[key] for key in FRAMEWORK_KEYS if key in merged} | {"params": params}, "key")


def _learners() -> Mapping[str, Any]:
    from learners import REGISTRY  # here, because it imports PyTorch: a bad command line is refused without

    return REGISTRY


def own_keys(params_cls: type) -> list[str]:
    """Return the keys a learner's `Params` adds; it must not repeat the framework's."""
    keys = list(hints_of(params_cls))
    if clash := [key for key in keys if key in FRAMEWORK_KEYS]:
        raise TypeError(f"{params_cls.__qualname__} repeats keys of the framework: {', '.join(clash)}")
    return keys


def as_dict(config: Config) -> dict[str, Any]:
    """Return plain nested data: the framework's and the learner's keys at one level, as in the yaml files.

    Without `mongo_url`, which may hold a password: what this returns is recorded.
    """
    data = {key: getattr(config, key) for key in FRAMEWORK_KEYS} | {"mongo_url": ""}
    own = asdict(config.params) if config.params is not None else {}
    return data | own | {"env_args": dict(config.env_args)}


def overlay(low: Mapping[str, Any], high: Mapping[str, Any]) -> dict[str, Any]:
    """Return `low` with the values of `high`; mappings are merged key by key."""
    out = dict(low)
    for key, value in high.items():
        both = isinstance(value, Mapping) and isinstance(out.get(key), Mapping)
        out[key] = overlay(out[key], value) if both else value
    return out
