"""`torch_compile=cuda_graphs`: an update as one CUDA graph, whose hundreds of small kernels start with a single call.

A graph repeats the same kernels on the same memory. So batches are padded to a multiple of `Learner.padded_to` steps,
one graph serves all batches of one shape, and schedules read the number of env steps from a tensor.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gc
from collections.abc import Callable, Iterator
from typing import Any

import torch as th
from torch import Tensor

from components.schedules import Steps
from components.train_batch import TrainBatch
from learners.learner import Learner, Metrics
from utils.errors import UserError

Learn = Callable[[TrainBatch, Steps], Metrics]
FIELDS = ("obs", "state", "avail_actions", "actions", "reward", "terminated", "mask", "on_policy")


def tensors_of(batch: TrainBatch) -> Iterator[tuple[str, Tensor]]:
    """The tensors that a batch is made of; those it has not are left out."""
    return ((name, getattr(batch, name)) for name in FIELDS if getattr(batch, name) is not None)


class _Recording:
    """One update on batches of one shape.

    Args:
        learner: whose random numbers the update draws.
        learn: the update.
        batch: one of the shape.
        t_env: env steps, a tensor that is filled before every replay.
        pool: memory shared with the other recordings, of which one is replayed at a time.

    Raises:
        UserError: `learn` does what cannot be recorded.
    """

    def __init__(self, learner: Learner, learn: Learn, batch: TrainBatch, t_env: Tensor, pool: Any) -> None:
        self.fields: dict[str, Any] = {name: x.clone() for name, x in tensors_of(batch)}
        self.graph = th.cuda.CUDAGraph()
        self.graph.register_generator_state(learner.rng)
        try:
            with _no_collections(), th.cuda.graph(self.graph, pool=pool, capture_error_mode="thread_local"):
                metrics = learn(dataclasses.replace(batch, **self.fields), t_env)  # encoded anew, so recorded too
                self.values = th.stack([value.to(th.float32) for value in metrics.values()])
        except RuntimeError as error:
            if isinstance(error, th.OutOfMemoryError) or isinstance(error.__context__, KeyboardInterrupt):
                raise
            what = f"torch_compile=cuda_graphs: an update of {learner.config.name} cannot be recorded"
            raise UserError(f"{what} (docs/extending.md): use torch_compile=none; {error}".splitlines()[0]) from error
        self.names = list(metrics)

    def replay(self, batch: TrainBatch) -> Metrics:
        """The update on a batch."""
        for name, x in tensors_of(batch):
            self.fields[name].copy_(x)
        self.graph.replay()
        return dict(zip(self.names, self.values.clone().unbind(), strict=True))


@contextlib.contextmanager
def _no_collections() -> Iterator[None]:
    """No garbage is collected: what an old graph or tensor does when it goes would be recorded, or forbidden."""
    gc.collect()
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


class RecordedUpdates:
    """`learner.learn`: done as usual for the first batch of a shape, recorded for the second, replayed from then on.

    Args:
        learner: on a GPU, its `padded_to` not 0.
        most: recordings made; batches of further shapes are learnt as usual.
    """

    def __init__(self, learner: Learner, most: int = 64) -> None:
        self.learner, self.learn, self.most = learner, learner.learn, most
        self.t_env = th.zeros((), dtype=th.float64, device=learner.device)
        self.pool = th.cuda.graph_pool_handle()
        self.seen: set[tuple[object, ...]] = set()
        self.recordings: dict[tuple[object, ...], _Recording] = {}

    def __call__(self, batch: TrainBatch, t_env: Steps) -> Metrics:
        """One update."""
        self.t_env.fill_(t_env)
        shape = (*batch.obs.shape, *batch.lengths, batch.on_policy is None, batch.bootstraps)
        if shape not in self.recordings:
            if shape not in self.seen or len(self.recordings) >= self.most:
                self.seen.add(shape)
                return self.learn(batch, self.t_env)
            self.recordings[shape] = _Recording(self.learner, self.learn, batch, self.t_env, self.pool)
        return self.recordings[shape].replay(batch)


def is_recorded(learner: Learner) -> bool:
    """Whether `record_updates` was called."""
    return isinstance(learner.learn, RecordedUpdates)


def record_updates(learner: Learner) -> None:
    """Let `learner.learn` be recorded and replayed, see `RecordedUpdates`."""
    learner.learn = RecordedUpdates(learner)  # type: ignore[method-assign]
