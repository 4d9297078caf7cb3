"""On a GPU, if there is one: the same updates as on the CPU, without a wait; recorded, compiled too."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch as th

import run as run_module
from components.train_batch import TrainBatch
from controllers import REGISTRY as CONTROLLERS
from envs import resolve
from helpers import CONTINUOUS, DISCRETE, make_config, make_info, random_buffer
from learners import REGISTRY as LEARNERS
from learners import Learner
from modules.gru import GRU
from utils.building import build_learner
from utils.configfile import available
from utils.cuda_graphs import FIELDS, is_recorded
from utils.logging import Logger
from utils.transfer import moved_together

CPU, GPU = th.device("cpu"), th.device("cuda")
needs_gpu = pytest.mark.skipif(not th.cuda.is_available(), reason="needs a GPU")
SPACES = {"discrete": (DISCRETE, "matrix_game"), "continuous": (CONTINUOUS, "mtq")}
WAITS = {"hasac"}  # the order of its agents is drawn on the device and needed on the host


def kinds_of(alg: str) -> frozenset[str]:
    """Kinds of actions an algorithm takes."""
    return CONTROLLERS[LEARNERS[make_config(alg).learner].mac_class].action_kinds


PAIRS = [(alg, kind) for alg in available("algs") for kind in SPACES if kind in kinds_of(alg)]


def make(alg: str, kind: str, device: th.device, **keys: Any) -> Learner:
    """A learner with weights drawn from seed 0."""
    space, env = SPACES[kind]
    extra = {"v_function": "network"} if alg == "fop_official" and kind == "continuous" else {}
    th.manual_seed(0)
    return build_learner(make_config(alg, env, **keys | extra), make_info(space), device)


def equal_batches(one: TrainBatch, other: TrainBatch) -> bool:
    """Whether all numbers of two batches are the same."""
    pairs = [(getattr(one, name), getattr(other, name)) for name in FIELDS]
    return all(a is b if a is None else th.equal(a, b.cpu()) for a, b in pairs)


@pytest.fixture
def drawn_on_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """Random numbers of a generator come from the host's wherever they are wanted: the same for both devices."""
    for name in ("rand", "randn", "randperm"):
        real = getattr(th, name)

        def draw(*size: Any, generator: Any = None, device: Any = None, real: Any = real) -> th.Tensor:
            return real(*size, generator=generator).to(device or CPU)

        monkeypatch.setattr(th, name, draw)


@pytest.mark.parametrize("kind", SPACES)
def test_one_copy_holds_every_field(kind: str) -> None:
    """The fields that go to a GPU in one piece come out as they were, memory order included."""
    batch = random_buffer(make_info(SPACES[kind][0])).recent(5)
    fields = {name: getattr(batch, name) for name in FIELDS if getattr(batch, name) is not None}
    for name, there in moved_together(fields, CPU, pin=False).items():
        assert th.equal(there, fields[name]), name
        assert there.dtype == fields[name].dtype
        assert there.transpose(0, 1).is_contiguous()


@needs_gpu
@pytest.mark.parametrize("kind", SPACES)
def test_a_batch_on_the_gpu_is_the_batch(kind: str) -> None:
    buffer = random_buffer(make_info(SPACES[kind][0]))
    assert equal_batches(buffer.recent(5), buffer.recent(5, GPU))


@needs_gpu
@pytest.mark.parametrize("counts", [[4] * 7, [4, 4, 3, 3, 2, 1, 1]])
def test_recurrence(counts: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """cuDNN's values and gradients are those of the compiled kernels."""
    monkeypatch.setattr(th.backends.cudnn, "allow_tf32", False)
    th.manual_seed(0)
    gru, x, h = GRU(2, 5, 64), th.randn(2, sum(counts), 5), th.randn(2, 4, 64)
    results = []
    for device in (CPU, GPU):
        gru = gru.to(device)
        leaves = [x.to(device).requires_grad_(), h.to(device).requires_grad_(), *gru.parameters()]
        out = gru(leaves[0], counts, leaves[1])
        results.append([out, *th.autograd.grad(out.square().sum(), leaves)])
    for ours, theirs in zip(*results, strict=True):
        th.testing.assert_close(theirs.cpu(), ours, rtol=1e-4, atol=1e-4)


@needs_gpu
@pytest.mark.parametrize(("alg", "kind"), PAIRS)
def test_updates_equal_those_on_the_cpu(alg: str, kind: str, drawn_on_the_host: None) -> None:
    """Three updates from the same weights, batches and random numbers: metrics to 1e-4."""
    host, there = make(alg, kind, CPU), make(alg, kind, GPU)
    there.rng = th.Generator().manual_seed(host.config.seed)
    for ours, theirs in zip(host.parameters(), there.parameters(), strict=True):
        assert th.equal(ours, theirs.cpu())
    for seed in (1, 2, 3):
        buffer = random_buffer(make_info(SPACES[kind][0]), seed=seed)
        metrics, others = host.update(buffer.recent(4), 0), there.update(buffer.recent(4, GPU), 0)
        for name, value in metrics.items():
            th.testing.assert_close(others[name].cpu(), value, rtol=1e-4, atol=1e-5, msg=lambda m, n=name: f"{n}: {m}")


@needs_gpu
@pytest.mark.parametrize(("alg", "kind"), [pair for pair in PAIRS if pair[0] not in WAITS])
def test_an_update_never_waits_for_the_gpu(alg: str, kind: str) -> None:
    """No number is read back between the sampling of a batch and the end of its update."""
    learner, buffer = make(alg, kind, GPU), random_buffer(make_info(SPACES[kind][0]))
    learner.update(learner.sample(buffer), 0)  # libraries that are loaded, memory that is pinned
    th.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(3):
            learner.update(learner.sample(buffer), 0)
    finally:
        th.cuda.set_sync_debug_mode("default")


@needs_gpu
@pytest.mark.parametrize("mode", ["none", "cuda_graphs"])
@pytest.mark.parametrize("alg", ["fop_official", "qmix", "qplex", "macpf"])
def test_the_same_seed_is_the_same_run(alg: str, mode: str, tmp_path: Path) -> None:
    """Twice six iterations on embedded 3m: equal weights."""
    ends = []
    for folder in ("a", "b"):
        small = {"t_max": 1000, "batch_size_run": 4, "buffer_size": 50, "updates_per_episode": 0.5}
        small |= {"torch_compile": mode}
        config = make_config(alg, "sc2", env_args={"engine": "embedded", "map_name": "3m"}, **small)
        (tmp_path / folder).mkdir()
        env = run_module.make_vec_env(resolve(config.env, config.env_args), config.runner, config.batch_size_run)
        th.manual_seed(config.seed)
        loop = run_module.TrainingLoop(config, Logger(tmp_path / folder), tmp_path / folder, env)
        for _ in range(6):
            loop._collect()
            loop._update()
        assert is_recorded(loop.learner) == (mode == "cuda_graphs")
        ends.append(loop.learner.state_dict())
        env.close()
    for name, value in ends[0].items():
        assert th.equal(value, ends[1][name]), name


@needs_gpu
@pytest.mark.parametrize("alg", ["fop", "qmix"])
def test_compiled_mixers_equal_the_others(alg: str) -> None:
    """Batches of different lengths, mixers compiled by inductor."""
    plain, compiled = make(alg, "discrete", GPU), make(alg, "discrete", GPU, torch_compile="default")
    for seed in (1, 2, 3, 1):
        batch = random_buffer(make_info(), seed=seed).recent(4, GPU)
        ours, theirs = plain.update(batch, 0), compiled.update(batch, 0)
        for name, value in ours.items():
            th.testing.assert_close(theirs[name], value, rtol=1e-4, atol=1e-5, msg=lambda m, n=name: f"{n}: {m}")


@needs_gpu
@pytest.mark.parametrize(("alg", "kind"), [pair for pair in PAIRS if pair[0] not in WAITS])
def test_recorded_updates_equal_the_others(alg: str, kind: str) -> None:
    """Twelve updates of three lengths, most of them replayed, schedules and targets moving: the same numbers."""
    keys = {"target_update_interval": 2, "target_tau": 0.0, "epsilon_anneal_time": 6000, "uniform_steps": 1500}
    plain, recorded = make(alg, kind, GPU, **keys), make(alg, kind, GPU, torch_compile="cuda_graphs", **keys)
    buffers = []
    for seed in (1, 2, 3):
        buffer = random_buffer(make_info(SPACES[kind][0]), seed=seed)
        buffer.pad_steps = plain.padded_to
        buffers.append(buffer)
    for t_env, buffer in zip(range(0, 12_000, 1000), (*buffers, *buffers, *buffers, *buffers), strict=True):
        batch = buffer.recent(4, GPU)
        ours, theirs = plain.update(batch, t_env), recorded.update(batch, t_env)
        for name, value in ours.items():
            th.testing.assert_close(theirs[name], value, rtol=1e-5, atol=1e-6, msg=lambda m, n=name: f"{n}: {m}")
    learn: Any = recorded.learn
    assert 1 <= len(learn.recordings) <= 3
    for ours, theirs in zip(plain.parameters(), recorded.parameters(), strict=True):
        th.testing.assert_close(theirs, ours, rtol=1e-4, atol=1e-6)


ASKING = """
import sys
sys.path[:0] = ["src", "tests"]
import torch as th
from helpers import make_config, make_info, random_buffer
from utils.building import build_learner
gpu = th.device("cuda")
learner = build_learner(make_config("qmix", torch_compile="cuda_graphs"), make_info(), gpu)
buffer = random_buffer(make_info())
buffer.pad_steps = learner.padded_to
usual = learner.learn.learn
learner.learn.learn = lambda batch, t_env: {"loss": th.full((), float(usual(batch, t_env)["loss"]), device=gpu)}
for _ in range(2):
    learner.update(buffer.recent(4, gpu), 0)
"""


@needs_gpu
def test_a_learner_that_asks_for_numbers_is_told_so() -> None:
    """What recording forbids is said with its remedy; in a process of its own, whose GPU is of no use afterwards."""
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", ASKING], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "an update of qmix cannot be recorded (docs/extending.md): use torch_compile=none" in done.stderr
