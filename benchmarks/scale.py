"""What sweeps and remote rollout workers cost beside the training itself: the numbers of docs/scale.md.

    python benchmarks/scale.py             # about three minutes on one free core

CPU seconds of the processes concerned, not wall time, so that other work on the machine matters little.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import pickle
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

SOURCE = Path(__file__).resolve().parents[1] / "src"
sys.path.insert(0, str(SOURCE))
os.environ["PYTHONPATH"] = f"{SOURCE}{os.pathsep}{SOURCE.parent / 'benchmarks'}"

RUNS, STEPS, TRAINED = 1000, 300, 400


def cpu(action) -> float:
    """CPU seconds of this process."""
    begin = time.process_time()
    action()
    return time.process_time() - begin


def one_run(folder: Path, number: int) -> None:
    """A run of main.py that hardly trains."""
    from main import main

    command = ["--file_storage", str(folder), "--id", f"r{number}", "--config=vdn", "--env-config=matrix_game", "with"]
    command += [
        f"t_max={TRAINED}",
        "learning_starts=100000",
        "buffer_size=100000",
        "test_nepisode=1",
        "torch_threads=1",
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        assert main(command) == 0


def runs() -> list[str]:
    """A run in a new process, further ones in the same; the environment steps themselves are subtracted."""
    with tempfile.TemporaryDirectory() as folder:
        first = cpu(lambda: one_run(Path(folder), 0))
        more = [cpu(lambda n=n: one_run(Path(folder), n)) for n in range(1, 6)]
        rows = (json.loads(line) for line in (Path(folder) / "r5" / "metrics.jsonl").read_text().splitlines()[1:])
        trained = max(row["time"] for row in rows)
        size = sum(file.stat().st_size for file in (Path(folder) / "r5").rglob("*") if file.is_file())
    import psutil

    memory = psutil.Process().memory_info().rss / 2**20
    return [
        f"first run in a process   {first:6.2f} s CPU (imports, {TRAINED} steps of a matrix game without updates)",
        f"further run in it        {min(more):6.2f} s CPU, of which up to {trained:.2f} s (wall) were steps and tests",
        f"memory of the process    {memory:6.0f} MiB",
        f"files of such a run      {size / 1024:6.0f} KiB",
    ]


def board() -> list[str]:
    """One look at a sweep of 1,000 runs by the driver, and writing down 1,000 tasks."""
    from sweeping.board import rows_of
    from sweeping.plan import cells_of
    from sweeping.pool import Job, arguments, jobs_of

    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        cells = cells_of(["vdn"], "matrix_game", [], list(range(RUNS)), {})
        for cell in cells:
            run_dir = out / "runs" / cell.run_id
            run_dir.mkdir(parents=True)
            lines = ['{"header": true}', *(json.dumps({"t_env": t, "time": 1.0, "loss": 0.5}) for t in range(200))]
            (run_dir / "metrics.jsonl").write_text("\n".join(lines) + "\n")
            (run_dir / "run.json").write_text('{"status": "RUNNING"}')
            (run_dir / "config.json").write_text(json.dumps(cell.settings()))
        jobs = [Job(cell, attempts=1) for cell in cells]
        rows_of(jobs[:1], out)
        looked, skipped = cpu(lambda: rows_of(jobs, out)), cpu(lambda: jobs_of(cells, out))
        sent = sum(len(pickle.dumps(arguments(cell, out))) for cell in cells) / RUNS
    return [
        f"a look at {RUNS} runs      {looked:6.2f} s CPU of the driver (every 2 s on a terminal, else every 30 s)",
        f"which are finished       {skipped:6.2f} s CPU for {RUNS}, once",
        f"a task                   {sent:6.0f} bytes sent",
    ]


class Still:
    """An environment of SMAC's sizes (8 agents) that does nothing: what is left is the way there and back."""

    def __init__(self) -> None:
        from components.action_space import DiscreteActions
        from envs.multiagentenv import EnvInfo

        self.env_info = EnvInfo(8, 80, 168, 100, DiscreteActions(14), engine="still", engine_version="1")

    def reset(self, seed: int):
        """The same zeros always."""
        from envs.multiagentenv import Observation

        self.seen = Observation(np.zeros((8, 80), np.float32), np.zeros(168, np.float32), np.ones((8, 14), bool))
        return self.seen

    def step(self, actions):
        """The same zeros again."""
        from envs.multiagentenv import Transition

        return Transition(self.seen, 0.0, False, False, {"battle_won": 0.0})

    def close(self) -> None:
        """Nothing to free."""


def workers(count: int) -> list[str]:
    """CPU of the learner's process per environment step, by kind of runner."""
    from scale import Still as Remote  # by the name under which workers can import it

    from runners.ray_env import RayVecEnv
    from runners.vec_env import ProcessVecEnv

    out = []
    actions, active = np.zeros((count, 8, 1), np.int64), np.ones(count, bool)
    for name, make in (("parallel", ProcessVecEnv), ("ray", RayVecEnv)):
        env = make(Remote, count, 300.0)
        env.reset(list(range(count)))
        env.step(actions, active)
        begin = time.monotonic()
        spent = cpu(lambda env=env: [env.step(actions, active) for _ in range(STEPS)])
        wall = time.monotonic() - begin
        env.close()
        per = f"{1e3 * spent / STEPS / count:6.3f} ms CPU of the learner, {1e3 * wall / STEPS:.1f} ms wall a round"
        out.append(f"a step, runner={name:9} {per} of {count} workers")
    step = pickle.dumps(Still.step(_with_seen(), actions[0]))
    return [
        *out,
        f"a transition             {len(step):6d} bytes (8 agents, 80 observations, 168 state entries, 14 actions)",
    ]


def _with_seen() -> Still:
    env = Still()
    env.reset(0)
    return env


def acting(count: int) -> list[str]:
    """CPU of choosing the actions of `count` environments at once, and of storing the step."""
    import torch as th

    from runners.runner import Runner
    from runners.vec_env import EnvStack
    from utils.config import build_config
    from utils.timehelper import PhaseTimer

    th.set_num_threads(1)
    config = build_config("fop", "matrix_game", {"seed": 1})
    from controllers import REGISTRY

    env = EnvStack(Still, count)
    mac = REGISTRY["soft_mac"](config, env.env_info)
    timer = PhaseTimer()
    runner = Runner(env, mac, 0, timer)
    step, steps = env.step, iter(range(STEPS // 10))

    def stop(actions, active):
        seen = step(actions, active)
        return seen._replace(terminated=np.full(count, next(steps, None) is None))

    env.step = stop
    spent = cpu(lambda: runner.collect(0, count, 0))
    each = 1e3 * spent / (STEPS // 10 + 1) / count
    return [f"choosing and storing     {each:6.3f} ms CPU an environment step, {count} at once"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=2, help="rollout workers that are measured")
    parser.add_argument("--only", choices=("runs", "board", "workers", "acting"), help="one part")
    args = parser.parse_args()
    parts = {"runs": runs, "board": board, "workers": lambda: workers(args.workers), "acting": lambda: acting(500)}
    for name, part in parts.items():
        for line in part() if args.only in (None, name) else []:
            print(line, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
