"""Speed of the embedded engine: `python benchmarks/engine.py [--maps a,b] [--envs 64] [--threads 1] [--json]`.

Random available actions; everything a learner needs is produced (observations, state, masks, reward, flags) and
episodes that end are reset. Only the engine's calls are timed, not the choice of random actions. `--peers` times
SMAX under JAX in the same run if `jaxmarl` is installed: 1024 environments, no resets, every core it finds.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from envs.skirmish import SkirmishVecEnv, list_maps, scripts
from utils.errors import UserError

SMAX_MAPS = ("3s_vs_5z", "27m_vs_30m")
SMAX_ENVS = 1024  # JAX needs many to be fast


def time_map(name: str, envs: int, threads: int, seconds: float, clock: Callable[[], float]) -> dict[str, Any]:
    env = SkirmishVecEnv(name, n_envs=envs, threads=threads)
    rng = np.random.default_rng(0)
    avail = np.asarray(env.reset(range(envs)).avail_actions)
    spent, steps = 0.0, 0
    while spent < seconds:
        actions = scripts.pick(avail, rng)[..., None]
        seeds = rng.integers(0, 2**63, envs)
        start = clock()
        out = env.step(actions)
        avail = np.asarray(out.observation.avail_actions)
        ended = np.asarray(out.terminated | out.truncated)
        if ended.any():
            env.reset_some(seeds, ended)
        spent += clock() - start
        steps += envs
    row = {"map": name, "envs": envs, "threads": env.sim.threads, "steps_per_s": round(steps / spent)}
    return {**row, "bytes_per_env": env.sim.bytes_per_env}


def time_smax(name: str, envs: int, seconds: float) -> dict[str, Any]:
    import jax
    from jaxmarl import make
    from jaxmarl.environments.smax import map_name_to_scenario

    env = make("HeuristicEnemySMAX", scenario=map_name_to_scenario(name))

    def step(carry: Any, _: Any) -> Any:
        key, state = carry
        key, pick, move = jax.random.split(key, 3)
        avail = jax.vmap(env.get_avail_actions)(state)
        keys = jax.random.split(pick, len(env.agents))
        actions = {
            agent: jax.random.categorical(k, jax.numpy.where(avail[agent], 0.0, -1e9))
            for agent, k in zip(env.agents, keys, strict=True)
        }
        out = jax.vmap(env.step_env)(jax.random.split(move, envs), state, actions)
        return (key, out[1]), (out[2][env.agents[0]].sum(), out[0]["world_state"].sum())

    run = jax.jit(lambda carry: jax.lax.scan(step, carry, None, length=100))
    key = jax.random.key(0)
    carry = (key, jax.vmap(env.reset)(jax.random.split(key, envs))[1])
    carry, _ = jax.block_until_ready(run(carry))
    start, steps = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        carry, _ = jax.block_until_ready(run(carry))
        steps += 100 * envs
    rate = round(steps / (time.perf_counter() - start))
    return {"map": f"SMAX {name}", "envs": envs, "threads": "all", "steps_per_s": rate, "bytes_per_env": None}


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--maps", default=",".join(name for name, _ in list_maps()), help="comma-separated")
    parser.add_argument("--envs", type=int, default=64)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=2.0, help="per map")
    parser.add_argument("--cpu-time", action="store_true", help="steps per second of CPU time, for a busy machine")
    parser.add_argument("--peers", action="store_true", help="time SMAX too")
    parser.add_argument("--json", action="store_true", help="a list of objects in place of the table")
    return parser.parse_args()


def main() -> int:
    args = parse()
    clock = time.process_time if args.cpu_time else time.perf_counter
    try:
        rows = [time_map(name, args.envs, args.threads, args.seconds, clock) for name in args.maps.split(",")]
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if args.peers:
        rows += [time_smax(name, SMAX_ENVS, args.seconds) for name in SMAX_MAPS]
    if args.json:
        print(json.dumps(rows))
        return 0
    print(f"| {'map':<18} | envs | threads | env-steps/s | bytes/env |")
    print(f"|{'-' * 20}|-----:|--------:|------------:|----------:|")
    for row in rows:
        memory = row["bytes_per_env"] or "-"
        print(f"| {row['map']:<18} | {row['envs']:4} | {row['threads']:>7} | {row['steps_per_s']:11} | {memory:>9} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
