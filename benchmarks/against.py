"""Another PyMARL-family checkout, in an interpreter of its own, for `learner.py --against PATH`.

Run as a program, this file is the other side: `python against.py CHECKOUT FOLDER ALG` reads `FOLDER/batch.npz`
and, for every line "update" on stdin, makes one update with the checkout's own learner and prints the seconds it took;
for "losses", it takes over the weights and uniform numbers in `FOLDER/given.npz`, makes one update and prints its
losses. Nothing of ours is imported there: both sides have modules of the same names.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from argparse import Namespace

    from components.episode_buffer import TrainBatch
    from envs.multiagentenv import EnvInfo

WARM = 3  # updates before those that are timed
T_ENV = 100_000  # where schedules stand
NAMES = {"fop_official": "fop"}  # our preset of the released numerics -> the released algorithm


class Reference:
    """The other learner, waiting for its turn.

    Args:
        checkout: folder with `src/learners`, `src/config` and so on.
        alg: our name of the algorithm.
        info: sizes.
        batch: whose numbers it gets.
        args: `threads` of its PyTorch and its `device`.

    Raises:
        UserError: if `checkout` has no such algorithm or its learner does not start.
    """

    def __init__(self, checkout: Path, alg: str, info: EnvInfo, batch: TrainBatch, args: Namespace) -> None:
        from utils.errors import UserError

        alg = NAMES.get(alg, alg)
        if not (checkout / "src/config/algs" / f"{alg}.yaml").exists():
            known = sorted(path.stem for path in (checkout / "src/config/algs").glob("*.yaml"))
            raise UserError(f"--against {checkout}: no algorithm {alg}; it has: {', '.join(known) or 'none'}")
        self.folder = tempfile.TemporaryDirectory()
        self._write(Path(self.folder.name), info, batch)
        command = [sys.executable, "-W", "ignore", __file__, str(checkout), self.folder.name, alg]
        command += [str(args.threads), args.device.type]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if self._line() != "ready":
            raise UserError(f"--against {checkout}: its learner for {alg} did not start; see the message above")
        for _ in range(WARM):
            self.update()

    @staticmethod
    def _write(folder: Path, info: EnvInfo, batch: TrainBatch) -> None:
        """The batch in PyMARL's own layout: as many rows of everything as of observations."""
        avail, rows = batch.avail_actions, batch.obs.shape[1]
        if avail is None:
            raise ValueError("only discrete actions can be compared")

        def longer(x: Any) -> np.ndarray:
            array = x.numpy()
            return np.concatenate((array, np.zeros_like(array[:, : rows - array.shape[1]])), axis=1)

        mask = batch.mask.numpy()
        filled = np.concatenate((np.ones_like(mask[:, :1]), mask), axis=1)
        np.savez(
            folder / "batch.npz",
            obs=batch.obs.numpy(),
            state=batch.state.numpy(),
            avail_actions=avail.numpy().astype(np.int32),
            actions=longer(batch.actions),
            reward=longer(batch.reward),
            terminated=longer(batch.terminated).astype(np.uint8),
            filled=filled.astype(np.int64),
            limit=info.episode_limit,
        )

    def _line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def _ask(self, what: str) -> str:
        assert self.process.stdin is not None
        self.process.stdin.write(what + "\n")
        self.process.stdin.flush()
        return self._line()

    def update(self) -> float:
        """Seconds of one update."""
        return float(self._ask("update"))

    def losses(self, weights: dict[str, np.ndarray], uniform: np.ndarray, epsilon: float) -> list[float]:
        """What one update minimises, in its order, with these weights.

        Args:
            weights: by the checkout's names, `mac.agent.fc1.weight` and so on; targets become their copies.
            uniform: numbers in [0, 1) that its samples of actions are drawn with, `[B,T+1,N]`.
            epsilon: share of random actions in its policies.
        """
        np.savez(Path(self.folder.name) / "given.npz", uniform=uniform, epsilon=epsilon, **weights)
        losses: list[float] = json.loads(self._ask("losses"))
        return losses

    def close(self) -> None:
        """End the other interpreter."""
        self.process.kill()
        self.process.wait()
        self.folder.cleanup()


class _Silent:
    """A logger that keeps nothing."""

    def __init__(self) -> None:
        self.console_logger = SimpleNamespace(info=lambda *_: None)

    def log_stat(self, *_: Any) -> None:
        """Forget a number."""


def other_learner(checkout: Path, data: dict[str, np.ndarray], alg: str, device: str) -> tuple[Any, Any, Any]:
    """The checkout's learner, a batch of its own class, and its arguments."""
    sys.path.insert(0, str(checkout / "src"))
    import torch as th
    import yaml
    from components.transforms import OneHot

    from components.episode_buffer import EpisodeBatch  # the checkout's
    from controllers import REGISTRY as CONTROLLERS
    from learners import REGISTRY as LEARNERS

    keys: dict[str, Any] = {"env_args": {}}
    for path in (checkout / "src/config/default.yaml", checkout / "src/config/algs" / f"{alg}.yaml"):
        keys |= yaml.safe_load(path.read_text())
    count, rows, n_agents, n_actions = data["avail_actions"].shape
    state_dim, obs_dim = data["state"].shape[-1], data["obs"].shape[-1]
    keys |= {"n_agents": n_agents, "n_actions": n_actions, "state_shape": state_dim, "obs_shape": obs_dim}
    keys |= {"use_cuda": device == "cuda", "device": device, "batch_size": count, "episode_limit": rows - 1}
    args = SimpleNamespace(**keys)
    scheme = {
        "state": {"vshape": state_dim},
        "obs": {"vshape": obs_dim, "group": "agents"},
        "actions": {"vshape": (1,), "group": "agents", "dtype": th.long},
        "avail_actions": {"vshape": (n_actions,), "group": "agents", "dtype": th.int},
        "reward": {"vshape": (1,)},
        "terminated": {"vshape": (1,), "dtype": th.uint8},
    }
    groups, onehot = {"agents": n_agents}, {"actions": ("actions_onehot", [OneHot(out_dim=n_actions)])}
    batch = EpisodeBatch(scheme, groups, count, rows, preprocess=onehot, device=device)
    batch.update({name: th.from_numpy(data[name]) for name in scheme if name != "filled"})
    batch.data.transition_data["filled"][:] = th.from_numpy(data["filled"]).to(device)
    th.manual_seed(1)
    mac = CONTROLLERS[args.mac](batch.scheme, groups, args)
    learner = LEARNERS[args.learner](mac, batch.scheme, _Silent(), args)
    if device == "cuda":
        learner.cuda()
    return learner, batch, args


def take_over(learner: Any, path: Path) -> None:
    """Put the given weights in place, targets too, and let actions be drawn with the given numbers."""
    import torch as th

    with np.load(path) as given:
        arrays = dict(given)
    uniform = th.from_numpy(arrays.pop("uniform")).double().unsqueeze(-1)
    learner.mac.action_selector.epsilon = float(arrays.pop("epsilon"))
    for name, values in arrays.items():
        *modules, weight = name.split(".")
        owner = learner
        for part in modules:
            owner = getattr(owner, part)
        getattr(owner, weight).data.copy_(th.from_numpy(values))
    learner._update_targets()
    if hasattr(learner, "p_optimiser"):  # released FOP steps its policy before the critics' loss: keep these weights
        learner.p_optimiser.param_groups[0]["lr"] = 0.0

    def sample(policy: Any) -> Any:
        cdf = policy.probs.double().cumsum(-1)
        return (cdf <= uniform.to(cdf.device) * cdf[..., -1:]).sum(-1)

    th.distributions.Categorical.sample = sample  # type: ignore[method-assign, assignment]


def recorded_losses() -> list[float]:
    """A list that every `backward` from now on adds its loss to."""
    import torch as th

    losses: list[float] = []
    backward = th.Tensor.backward

    def record(loss: Any, *args: Any, **kwargs: Any) -> None:
        losses.append(float(loss))
        backward(loss, *args, **kwargs)

    th.Tensor.backward = record  # type: ignore[method-assign, assignment]
    return losses


def serve(checkout: Path, folder: Path, alg: str, threads: int, device: str) -> None:
    """One update for every line on stdin."""
    import torch as th

    th.set_num_threads(threads)
    with np.load(folder / "batch.npz") as arrays:
        data = dict(arrays)
    learner, batch, args = other_learner(checkout, data, alg, device)
    print("ready", flush=True)
    for number, line in enumerate(sys.stdin):
        if line == "losses\n":
            take_over(learner, folder / "given.npz")
            losses = recorded_losses()
            learner.train(batch, T_ENV, 0)
            print(json.dumps(losses), flush=True)
            return
        start = time.perf_counter()
        learner.train(batch, T_ENV, number * args.batch_size)
        if device == "cuda":
            th.cuda.synchronize()
        print(time.perf_counter() - start, flush=True)


if __name__ == "__main__":
    serve(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]), sys.argv[5])
