"""A sweep over several Ray nodes of this machine, one of which is killed in the middle: what is complete or double.

    python benchmarks/node_loss.py --out results/node_loss

12 runs (fop and qmix on 3m and 2m_vs_1z, three seeds, embedded engine) on three nodes with one CPU each. The node is
killed without warning as soon as one of its runs has a checkpoint. Ends with 1 unless all runs are complete, each once.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

import sweep
from utils import raycluster
from utils.resume import checkpoints_in

NODES = 3


def killer(cluster, runs: Path, said: dict) -> None:
    """Wait for a run in progress that can be continued, then kill the node it is on (each node has its own port)."""
    while True:
        time.sleep(0.2)
        for run_dir in sorted(runs.glob("*_s[0-9]*")):
            if checkpoints_in(run_dir) and status(run_dir) == "RUNNING" and (node := node_of(cluster, run_dir)):
                said.update(run=run_dir.name, after=sum(status(one) == "COMPLETED" for one in runs.glob("*_s[0-9]*")))
                cluster.remove_node(node, allow_graceful=False)
                return


def status(run_dir: Path) -> str:
    try:
        return json.loads((run_dir / "run.json").read_text())["status"]
    except (OSError, ValueError):
        return ""


def node_of(cluster, run_dir: Path):
    """The node whose raylet is the grandparent of the process that holds the run's metrics file open."""
    import psutil

    for process in psutil.process_iter(["pid"]):
        try:
            if str(run_dir / "metrics.jsonl") in {file.path for file in process.open_files()}:
                above = {parent.pid for parent in process.parents()}
                for node in cluster.worker_nodes:
                    if node.all_processes["raylet"][0].process.pid in above:
                        return node
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("results/node_loss"))
    parser.add_argument("--t-max", type=int, default=4000)
    args = parser.parse_args()
    raycluster.load()
    from ray.cluster_utils import Cluster

    cluster, said = Cluster(initialize_head=True, head_node_args={"num_cpus": 0}), {}
    for _ in range(NODES):
        cluster.add_node(num_cpus=1)
    out = args.out.resolve()
    threading.Thread(target=killer, args=(cluster, out / "runs", said), daemon=True).start()
    begin = time.monotonic()
    command = ["--config", "fop,qmix", "--env-config", "sc2", "--maps", "3m,2m_vs_1z", "--seeds", "3"]
    command += ["--address", cluster.address, "--out", str(out), "with", "env_args.engine=embedded"]
    command += [f"t_max={args.t_max}", f"test_interval={args.t_max // 4}", "test_nepisode=8", "learning_starts=32"]
    command += [f"log_interval={args.t_max // 4}", "save_every=500", "save_model_interval=1000000", "buffer_size=500"]
    code = sweep.main(command)
    print(f"killed the node of {said.get('run', 'no run: it was over before')} with {said.get('after')} runs complete")
    print(f"{time.monotonic() - begin:.0f} s, exit code {code}")
    cluster.shutdown()
    return code if said else 1


if __name__ == "__main__":
    sys.exit(main())
