"""Time of one update: `python benchmarks/learner.py [--algs fop,qmix] [--maps 3s_vs_3z,MMM2] [--against PATH]`.

32 episodes of the same length, so that nothing is saved on padding; with `--lengths played` as different in length as
the embedded engine's with untrained policies, the longest as long as before: what another checkout pads to is the same.
FLOPs are those of matrix products, counted; the peak is the best of square float32 products timed between the updates.
`--against PATH` times the learner of another PyMARL-family checkout on the same batch, in an interpreter of its own,
update by update in turn with ours. `--check` compares the losses of one update from the same weights, batch and random
numbers instead, for the algorithms whose networks are the published ones; exit code 1 if any differs by more than 1e-5.
Memory is what the update adds to the resident size; on a GPU (`--device cuda`) to what is allocated there, of recorded
updates what the recording keeps; "busy" is the share of an update in which it computes. `--torch-compile` is the key of
a run.
"""

from __future__ import annotations

import argparse
import dataclasses
import gc
import statistics
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import torch as th
from against import T_ENV, Reference
from batches import STEPS, device_of, make_learner, map_info, played_lengths, random_batch, report, seconds, wait
from flops import count_flops
from torch.profiler import ProfilerActivity, profile
from weights import PUBLISHED, published_weights

from components.episode_buffer import TrainBatch
from learners import Learner
from utils.cuda_graphs import is_recorded
from utils.errors import UserError, nearest

GEMM_SIZE = {"cpu": 1024, "cuda": 8192}
WARM = 3  # updates before those that are timed: compilers, memory, libraries' own choices
REST = 0.03  # seconds before an update, in which the other side's threads stop waiting on the cores
TOLERANCE = 1e-5  # relative difference of losses that `--check` accepts


def gemm_rate(device: th.device) -> float:
    """FLOP/s of one square matrix product."""
    size = GEMM_SIZE[device.type]
    a, b = (th.rand(size, size, device=device) for _ in range(2))
    return 2 * size**3 / min(seconds(lambda: a @ b) for _ in range(3))


def added_memory(learner: Learner, batch: TrainBatch) -> float | None:
    """MiB by which one update raises the memory in use at its highest; None where it is not known.

    Of a learner's first update, since the CPU keeps freed memory, and the second one is recorded.
    """
    if is_recorded(learner):
        learner.update(batch, T_ENV)
        before = reserved_memory()
        learner.update(batch, T_ENV)
        return (reserved_memory() - before) / 2**20
    if learner.device.type == "cuda":
        th.cuda.reset_peak_memory_stats()
        allocated = th.cuda.memory_allocated()
        learner.update(batch, T_ENV)
        return (th.cuda.max_memory_allocated() - allocated) / 2**20
    reset = Path("/proc/self/clear_refs")
    if not reset.exists():
        return None
    reset.write_text("5")
    before = psutil.Process().memory_info().rss
    learner.update(batch, T_ENV)
    status = Path("/proc/self/status").read_text()
    highest = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) * 1024
    return max(highest - before, 0) / 2**20


def reserved_memory() -> int:
    """Bytes of the GPU that this process holds, without those it would give back."""
    wait()
    gc.collect()  # recordings of learners that are gone
    th.cuda.empty_cache()
    return th.cuda.memory_reserved()


def gpu_seconds(learner: Learner, batch: TrainBatch, count: int = 5) -> float:
    """Time of one update's kernels and copies on the GPU, one after the other; mean of `count`."""
    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        for _ in range(count):
            learner.update(batch, T_ENV)
        wait()
    return sum(event.self_device_time_total for event in profiler.key_averages()) / count / 1e6


def episode_lengths(name: str, args: argparse.Namespace) -> list[int]:
    """Steps of each episode of a batch on a map."""
    longest = STEPS[name]
    return played_lengths(name, args.batch_size, longest) if args.lengths == "played" else [longest] * args.batch_size


def time_alg(alg: str, name: str, args: argparse.Namespace) -> dict[str, Any]:
    """One row: an algorithm on a map's shape."""
    info = map_info(name)
    lengths, keys, device = episode_lengths(name, args), {"batch_size": args.batch_size}, args.device
    here = random_batch(info, lengths)
    learner = make_learner(alg, info, keys | {"torch_compile": args.torch_compile}, device)
    pad_steps = learner.padded_to if is_recorded(learner) else 0
    batch = random_batch(info, lengths, device=device, pad_steps=pad_steps)
    first = device.type == "cpu" or is_recorded(learner)
    memory = added_memory(learner, batch) if first else None
    for _ in range(WARM):
        learner.update(batch, T_ENV)
    memory = memory if first else added_memory(learner, batch)
    flops = count_flops(make_learner(alg, info, keys), here)
    reference = Reference(args.against, alg, info, here, args) if args.against else None
    ours, theirs, peak = [], [], 0.0
    for _ in range(args.repeats):
        fresh = dataclasses.replace(batch)  # networks' inputs are built in the update, as in a run
        time.sleep(REST)
        ours.append(seconds(partial(learner.update, fresh, T_ENV)))
        peak = max(peak, gemm_rate(device))
        if reference:
            time.sleep(REST)
            theirs.append(reference.update())
    row: dict[str, Any] = {"alg": alg, "map": name, "T": STEPS[name], "mean T": float(here.mask.sum(1).mean())}
    row["N"] = info.n_agents
    row |= {
        "ms": statistics.median(ours) * 1e3,
        "best ms": min(ours) * 1e3,
        "GFLOP": flops / 1e9,
        "peak GFLOP/s": peak / 1e9,
    }
    row |= {"share of peak": flops / statistics.median(ours) / peak, "MiB": memory}
    if device.type == "cuda":
        row["busy"] = gpu_seconds(learner, batch) / statistics.median(ours)
    if reference:
        reference.close()
        row |= {"theirs ms": statistics.median(theirs) * 1e3, "theirs best ms": min(theirs) * 1e3}
        row |= {"ratio": row["theirs ms"] / row["ms"], "ratio of best": row["theirs best ms"] / row["best ms"]}
    return row


def check_alg(alg: str, name: str, args: argparse.Namespace) -> list[dict[str, Any]]:
    """One row for each loss of an update: ours, theirs, and their relative difference."""
    if alg not in PUBLISHED:
        raise UserError(f"--check: {alg} has no published networks to compare with; one of {', '.join(PUBLISHED)}")
    info = map_info(name)
    lengths, device = episode_lengths(name, args), args.device
    learner = make_learner(alg, info, {"batch_size": args.batch_size}, device)
    state = learner.rng.get_state()
    uniform = th.rand((args.batch_size, STEPS[name] + 1, info.n_agents), generator=learner.rng, device=device).cpu()
    learner.rng.set_state(state)
    reference = Reference(args.against, alg, info, random_batch(info, lengths), args)
    theirs = reference.losses(published_weights(alg, learner), uniform.numpy(), learner.mac.epsilon(T_ENV))
    reference.close()
    metrics = learner.learn(random_batch(info, lengths, device=device), T_ENV)
    pairs = [("loss", theirs[0])]
    if "policy_loss" in metrics:  # the released FOP code: the policy's, then those of the two critics
        pairs = [("policy_loss", theirs[0]), ("loss", statistics.mean(theirs[1:]))]
    rows = []
    for what, other in pairs:
        ours = float(metrics[what])
        row = {"alg": alg, "map": name, "loss": what, "ours": f"{ours:.8g}", "theirs": f"{other:.8g}"}
        rows.append(row | {"difference": abs(ours - other) / abs(other)})
    return rows


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--algs", default="fop,fop_official,qmix", help="comma-separated")
    parser.add_argument("--maps", default=",".join(STEPS), help="comma-separated")
    parser.add_argument("--batch-size", type=int, default=32, help="episodes")
    parser.add_argument("--lengths", choices=["equal", "played"], default="equal", help="of the episodes of a batch")
    parser.add_argument("--repeats", type=int, default=9, help="updates whose median is taken")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--torch-compile", default="none", choices=["none", "default", "cuda_graphs"], help="ours only")
    parser.add_argument("--against", type=Path, help="another PyMARL-family checkout")
    parser.add_argument("--check", action="store_true", help="compare losses with --against, not times")
    parser.add_argument("--json", action="store_true", help="a list of objects in place of the table")
    return parser.parse_args()


def main() -> int:
    """Time what the command line asks for."""
    args = parse()
    th.set_num_threads(args.threads)
    try:
        args.device = device_of(args.device)
        for name in args.maps.split(","):
            if name not in STEPS:
                raise UserError(f"map {name}: no shape is set for it; one of {', '.join(STEPS)}{nearest(name, STEPS)}")
        if args.check and not args.against:
            raise UserError("--check needs --against PATH")
        cases = [(alg, name) for alg in args.algs.split(",") for name in args.maps.split(",")]
        if args.check:
            rows = [row for alg, name in cases for row in check_alg(alg, name, args)]
        else:
            rows = [time_alg(alg, name, args) for alg, name in cases]
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    report(rows, args.json)
    return int(any(row.get("difference", 0.0) > TOLERANCE for row in rows))


if __name__ == "__main__":
    sys.exit(main())
