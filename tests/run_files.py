"""Files of finished runs, as tests of results need them."""

from __future__ import annotations

import json
from pathlib import Path


def make_run(folder: Path, alg="vdn", seed=1, values=(0.0, 0.5, 1.0), engine="embedded", task="3m", **config):
    """A finished run with a test win rate every 10k steps; `config` are keys of config.json."""
    folder.mkdir(parents=True)
    header = {"header": True, "alg": alg, "env": "sc2", "env_args": {"map_name": task}, "seed": seed, "engine": engine}
    header["versions"] = {"python": "3.11.7", "torch": "2.13.0"}
    rows = [{"t_env": 10000 * k, "time": k, "test_battle_won_mean": v} for k, v in enumerate(values)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in (header, *rows)))
    meta = {"status": "COMPLETED", "experiment": {"repositories": [{"commit": "0123456789", "dirty": True}]}}
    (folder / "run.json").write_text(json.dumps(meta | {"host": {"cpu": "Z80"}}))
    own = {"name": alg, "seed": seed, "env_args": {"map_name": task}, "lr": 0.1, "t_max": 20000} | config
    (folder / "config.json").write_text(json.dumps(own))
