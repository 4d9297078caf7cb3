"""One command under Sacred: checks before it, records during it, an honest status after it."""

from __future__ import annotations

import pdb
import platform
import traceback
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sacred import SETTINGS, Experiment
from sacred.dependencies import Source
from sacred.run import Run

import envs
import run as run_module
from components.storage import check_buffer_fits, check_rollout_fits
from mirror.background import Mirror
from mirror.server import find_server
from utils import checkpoint, snapshots, tensorboard
from utils.building import try_learner
from utils.cli import Request
from utils.config import Config, as_dict, from_merged
from utils.console import LOG, Console, show_messages
from utils.errors import UserError, WrongActionsError
from utils.interrupt import StopRequest, requested
from utils.logging import Logger
from utils.metricsfile import FILE_NAME, read_metrics
from utils.resume import AUTO, find_run, read_record
from utils.runfolder import RunFolder, runs_base
from utils.runlock import RunLock
from utils.seeding import seed_everything
from utils.suggestions import algorithms_for

NAME = "pymarl"  # of the experiment, as users of PyMARL filter by it
SOURCE_DIR = Path(__file__).resolve().parents[1]
PACKAGES = ("torch", "numpy", "numba", "sacred")


def check_parts(merged: Mapping[str, Any], here: bool = True) -> tuple[Config, dict[str, Any]]:
    """Check all that can be wrong before a run directory exists.

    Args:
        merged: keys as from `config.merge`.
        here: the run takes place on this machine, so its memory counts; else the configuration is only shown.

    Returns:
        The configuration, and what is recorded beside it: the environment's complete arguments and its facts.

    Raises:
        UserError: an unknown learner, environment, key or value; a missing library; too little memory.
    """
    config = from_merged(merged)
    spec = envs.resolve(config.env, config.env_args)
    if config.use_tensorboard:
        tensorboard.require(config.tensorboard_backend)
    env = spec.single()
    info = env.env_info
    env.close()
    if here:
        check_rollout_fits(info, config.batch_size_run)
        check_buffer_fits(info, config.buffer_size, config.buffer_obs_dtype)
    try:
        try_learner(config, info, here)  # finds what does not fit together
    except WrongActionsError as error:
        kind = info.action_space.kind
        raise UserError(f"{error}; with {kind} actions: {', '.join(algorithms_for(info))}") from error
    facts = {
        "engine": info.engine,
        "engine_version": info.engine_version,
        "data_hash": info.data_hash,
        "n_agents": info.n_agents,
        "obs_dim": info.obs_dim,
        "state_dim": info.state_dim,
        "episode_limit": info.episode_limit,
    }
    return config, {"env_args": {**config.env_args, **spec.args}, "env_info": facts}


class _Experiment(Experiment):
    """Records the git commit once; Sacred asks git for each source file, which takes seconds."""

    def get_experiment_info(self) -> dict[str, Any]:
        """Sacred's information with the repository the sources come from, if git can tell."""
        info: dict[str, Any] = super().get_experiment_info()
        try:
            source = Source.create(str(SOURCE_DIR / "main.py"), True)
        except Exception as error:  # no git, not its owner, no commit yet: a run does not depend on it
            LOG.debug("no git information: %s", error)
            return info
        repository = {"url": source.repo, "commit": source.commit, "dirty": source.is_dirty}
        return info | {"repositories": [repository] if source.repo else []}


class Session:
    """Runs one command.

    Args:
        request: the command line.
        config: the validated configuration.
        below: the configuration without the command line, from `config.layers`.
        derived: entries of the recorded configuration that are found out rather than set.
    """

    def __init__(self, request: Request, config: Config, below: Mapping[str, Any], derived: Mapping[str, Any]) -> None:
        self.request, self.config, self.below = request, config, below
        self.recorded = as_dict(config) | dict(derived) | request.arguments
        self.options = dict(request.options)
        base = self.options.pop("--file_storage") or runs_base(config.local_results_path)
        self.continued = find_run(request, config, self.recorded, self.below, Path(base))
        if self.continued is not None:
            self.config = replace(config, seed=self.continued.config["seed"])
            self.recorded["seed"] = self.config.seed
        self.recorded["resume"] = ""  # config.json describes the run: who repeats it begins anew
        self.folder = RunFolder(Path(base), self.continued.run_dir if self.continued else None)
        self.console = Console(config.t_max, config.log_interval)
        self.entered = False  # whether our part has begun: errors before it are Sacred's
        self.lock = self.continued.lock if self.continued else None  # held until the status is recorded
        self.server = find_server(config.mongo_url)
        self.mirror: Mirror | None = None
        if self.continued is None:
            self._check_id()
            if config.checkpoint_path:
                checkpoint.find(config.checkpoint_path, config.load_step)

    def run(self) -> int:
        """Run the command; return the exit code."""
        base, changes = split_changes(self.recorded, self.below, self.request.overrides)
        experiment = self._experiment(base)
        try:
            with show_messages(self.console), StopRequest(last=True), self._mirrored():
                experiment.run(self.request.command, changes, info={}, meta_info={}, options=self.options)
        except KeyboardInterrupt:
            return 130
        except UserError:
            if not self._has_rows():
                self.folder.discard()
            raise
        except Exception as error:
            return self._failed(error)
        finally:
            if self.lock is not None:
                self.lock.release()
        if self.folder.dir is not None and self.request.command == "main" and not self.options["--queue"]:
            self._finish(self.folder.path)
        return 0

    def _finish(self, run_dir: Path) -> None:
        """Remove what the run could be resumed from, if it is recorded as complete: Sacred passes over failures."""
        if read_record(run_dir, "run.json").get("status") != "COMPLETED":
            raise UserError(f"the end of the run could not be recorded in {run_dir}; resume={run_dir} does it again")
        if not self.config.save_finished:
            snapshots.discard(run_dir)

    @contextmanager
    def _mirrored(self) -> Iterator[None]:
        """Send what is left to MongoDB when Sacred has written how the run ended, whatever that was."""
        stopped = False
        try:
            yield
        except KeyboardInterrupt:
            stopped = True
            raise
        except UserError:
            if self.mirror is not None and not self._has_rows():
                self.mirror.cancel()
                self.mirror = None
            raise
        finally:
            if self.mirror is not None:
                self.mirror.close(stopped)

    def _start_mirror(self, run_dir: Path) -> None:
        if self.server is not None:
            mirror = Mirror(self.server, run_dir, self.config.mongo_interval, self.config.mongo_checkpoint)
            mirror.start()
            self.mirror = mirror

    def _failed(self, error: Exception) -> int:
        if not self.entered and not self.options["--debug"]:
            self.folder.discard()
            raise UserError(f"Sacred: {error}") from error
        traceback.print_exception(error)
        if self.options["--pdb"]:
            pdb.post_mortem(error.__traceback__)
        return 1

    def _experiment(self, base: Mapping[str, Any]) -> Experiment:
        SETTINGS.CAPTURE_MODE = "no"  # "fd" can deadlock with workers, "sys" loses text: the console writes cout.txt
        SETTINGS.DISCOVER_SOURCES = "sys"  # every file of src that is imported
        SETTINGS.DISCOVER_DEPENDENCIES = "pkg"  # every installed package
        experiment = _Experiment(NAME, base_dir=str(SOURCE_DIR), save_git_info=False)
        experiment.logger = LOG
        experiment.observers.append(self.folder)
        experiment.add_config(base)
        experiment.main(self._main_function())
        return experiment

    def _main_function(self) -> Any:
        def main(_run: Run) -> None:  # Sacred reads name and arguments of a plain function
            """Train, or test with evaluate=True."""
            self._main(_run)

        return main

    def _main(self, sacred_run: Run) -> None:
        """The part of a run that Sacred watches."""
        self.entered = True
        if requested():
            raise KeyboardInterrupt
        seed_everything(self.config.seed)
        with ExitStack() as stack:
            observed = bool(sacred_run.observers)
            run_dir = self.folder.path if observed else Path(stack.enter_context(TemporaryDirectory()))
            self.lock = self.lock or RunLock(run_dir)
            if self.options["--capture"] in (None, "no"):
                self.console.attach(run_dir / "cout.txt")
            logger = self._logger(sacred_run, run_dir)
            if observed:
                stack.callback(lambda: self.folder.write_info(sacred_run.info))
                logger.info(f"results: {run_dir}")
            if self.config.resume == AUTO and self.continued is None:
                logger.info("resume=auto: no unfinished run of this configuration, a new one starts")
            stack.callback(lambda: self.console.end(logger.last))
            stack.callback(logger.close)
            self._guarded_run(logger, run_dir, observed)

    def _guarded_run(self, logger: Logger, run_dir: Path, observed: bool) -> None:
        try:
            if observed:
                self._start_mirror(run_dir)
            run_module.run(self.config, logger, run_dir, self.continued is not None)
        except UserError:
            LOG.disabled = True  # Sacred would report a failure; the one line of `main` says it all
            raise

    def _logger(self, sacred_run: Run, run_dir: Path) -> Logger:
        config = self.config
        header = {
            "run": sacred_run._id,
            "alg": config.name,
            "env": config.env,
            "env_args": self.recorded["env_args"],
            "seed": config.seed,
            **{key: self.recorded["env_info"][key] for key in ("engine", "engine_version", "data_hash")},
            "versions": {"python": platform.python_version()} | {name: version(name) for name in PACKAGES},
        }
        backend = config.tensorboard_backend if config.use_tensorboard else ""

        def publish(series: dict[str, list[Any]]) -> None:
            sacred_run.info = series

        return Logger(run_dir, header, self.console, publish, backend)

    def _check_id(self) -> None:
        chosen = self.options["--id"]
        if chosen is not None and (Path(self.folder.basedir) / chosen).exists():
            raise UserError(f"--id {chosen}: {Path(self.folder.basedir) / chosen} exists already")

    def _has_rows(self) -> bool:
        """Whether results were logged, which must not be thrown away."""
        return self.folder.dir is not None and bool(read_metrics(self.folder.path / FILE_NAME)[1])


def split_changes(
    recorded: Mapping[str, Any], below: Mapping[str, Any], overrides: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Split the recorded configuration for Sacred into what was there and what the command line changed.

    Both together give `recorded` again, so that Sacred marks changes and can decide nothing.

    Args:
        recorded: the final configuration.
        below: the configuration without the command line.
        overrides: what the command line set.
    """
    base, changes = dict(recorded), {}
    for key, value in overrides.items():
        if key not in recorded:
            continue
        old = below.get(key)
        if isinstance(value, Mapping) and isinstance(recorded[key], Mapping):
            inner = old if isinstance(old, Mapping) else {}
            base[key], changes[key] = split_changes(recorded[key], inner, value)
        elif type(old) is type(recorded[key]) and not isinstance(old, Mapping):  # Sacred warns of a change of type
            base[key], changes[key] = old, recorded[key]
    return base, changes
