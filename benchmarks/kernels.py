"""Where an update's time goes: `python benchmarks/kernels.py [--algs fop,qmix] [--maps 3s_vs_3z,MMM2]`.

Shares of the time of one update on the CPU: in each group of compiled kernels (both threads at work), in the rest of
the backward pass, in the mixers, in optimisers, and elsewhere: inputs, gathering, small operations, Python. Batches are
those of `benchmarks/learner.py`.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any
from unittest import mock

import torch as th
from against import T_ENV
from batches import STEPS, make_learner, map_info, random_batch, report

from modules.layers import Ensemble
from modules.mixers.mixer import Mixer
from utils.errors import UserError, nearest
from utils.flat import FlatParameters

KERNELS = {
    "modules.recurrent.share": "recurrent networks",
    "modules.dense.share": "dense layers",
    "modules.categorical.share": "policies",
    "modules.choice.share": "policies",
    "modules.mixers.igo.share": "mixing",
    "modules.mixers.qmix.share": "mixing",
}
OTHERS = ((Mixer, "forward", "mixers"), (Ensemble, "forward", "mixers"), (FlatParameters, "differentiate", "gradients"))


class Clock:
    """Seconds by name, each without those of what was timed inside of it."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._inner = [0.0]

    def timed(self, name: str, action: Callable[..., Any]) -> Callable[..., Any]:
        """`action`, its own time counted under `name`."""

        def call(*args: Any, **kwargs: Any) -> Any:
            start = time.perf_counter()
            self._inner.append(0.0)
            try:
                return action(*args, **kwargs)
            finally:
                whole = time.perf_counter() - start
                self.seconds[name] += whole - self._inner.pop()
                self._inner[-1] += whole

        return call


def split(alg: str, name: str, repeats: int) -> dict[str, Any]:
    """One row: ms of an update, and shares in per cent."""
    info = map_info(name)
    learner, batch = make_learner(alg, info, {"batch_size": 32}), random_batch(info, [STEPS[name]] * 32)
    clock = Clock()
    with ExitStack() as stack:
        for target, group in KERNELS.items():
            module, attribute = target.rsplit(".", 1)
            stack.enter_context(mock.patch(target, clock.timed(group, getattr(sys.modules[module], attribute))))
        for owner, attribute, group in OTHERS:
            stack.enter_context(mock.patch.object(owner, attribute, _method(clock, group, owner, attribute)))
        update = clock.timed("elsewhere", lambda: learner.update(dataclasses.replace(batch), T_ENV))
        for repeat in range(2 * repeats):
            if repeat == repeats:
                clock.seconds.clear()
            update()
    whole = sum(clock.seconds.values())
    row: dict[str, Any] = {"alg": alg, "map": name, "ms": whole / repeats * 1e3}
    groups = [*dict.fromkeys(KERNELS.values()), "mixers", "gradients", "elsewhere"]
    return row | {f"{group} %": 100 * clock.seconds[group] / whole for group in groups}


def _method(clock: Clock, group: str, owner: type, attribute: str) -> Callable[..., Any]:
    """A function that is bound like the method it replaces."""
    timed = clock.timed(group, getattr(owner, attribute))

    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        return timed(self, *args, **kwargs)

    return method


def main() -> int:
    """Split what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--algs", default="fop_official,fop,qmix", help="comma-separated")
    parser.add_argument("--maps", default=",".join(STEPS), help="comma-separated")
    parser.add_argument("--repeats", type=int, default=9, help="updates that are timed, after as many that are not")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", action="store_true", help="a list of objects in place of the table")
    args = parser.parse_args()
    th.set_num_threads(args.threads)
    try:
        for name in args.maps.split(","):
            if name not in STEPS:
                raise UserError(f"map {name}: no shape is set for it; one of {', '.join(STEPS)}{nearest(name, STEPS)}")
        rows = [split(alg, name, args.repeats) for alg in args.algs.split(",") for name in args.maps.split(",")]
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    report(rows, args.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
