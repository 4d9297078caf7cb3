"""Memory of a long run: `python benchmarks/soak.py --out docs/results/soak [--t-max 1000000] [--map 3m]`.

Trains through `src/main.py` as a user would, reads the process's resident memory every few seconds, and compares the
memory after warm-up with its level at the end. Warm-up ends when the replay buffer is full: until then the memory
grows by design, since the buffer's pages are touched as episodes arrive. Writes OUT.csv, OUT.png and OUT.md; exit
code 1 if the memory moved by more than --limit.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import psutil

ROOT = Path(__file__).resolve().parents[1]
MIB = 1024**2
PARTS = 10  # tenths of the time after warm-up, whose medians are compared


def command(args: argparse.Namespace, results: str) -> list[str]:
    changes = [
        f"t_max={args.t_max}",
        f"buffer_size={args.buffer_size}",
        f"seed={args.seed}",
        "torch_threads=1",
        f"local_results_path={results}",
        *args.changes,
    ]
    env = [f"env_args.map_name={args.map}", "env_args.engine=embedded"]
    main = [sys.executable, str(ROOT / "src" / "main.py"), f"--config={args.alg}", "--env-config=sc2"]
    return [*main, "-l", "WARNING", "with", *env, *changes]


def progress(metrics: Path) -> tuple[int, int]:
    """(env steps, training episodes) of the last line that has both."""
    lines = metrics.read_bytes().split(b"\n")[:-1] if metrics.exists() else []
    for line in reversed(lines):
        row = json.loads(line)
        if "episode" in row:
            return int(row["t_env"]), int(row["episode"])
    return 0, 0


def samples(process: subprocess.Popen[bytes], metrics: Path, period: float) -> Iterator[dict[str, float]]:
    """Seconds, env steps, episodes and resident MiB (workers included) until the process ends."""
    start, watched = time.monotonic(), psutil.Process(process.pid)
    while process.poll() is None:
        try:
            family = [watched, *watched.children(recursive=True)]
            resident = sum(one.memory_info().rss for one in family) / MIB
        except psutil.NoSuchProcess:
            continue  # ended between two calls
        t_env, episodes = progress(metrics)
        seconds = round(time.monotonic() - start, 1)
        yield {"seconds": seconds, "t_env": t_env, "episodes": episodes, "mib": round(resident, 2)}
        time.sleep(period)


def watch(args: argparse.Namespace) -> list[dict[str, float]]:
    """Run the command; every sample goes to OUT.csv at once."""
    rows: list[dict[str, float]] = []
    args.out.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as results, args.out.with_suffix(".csv").open("w", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["seconds", "t_env", "episodes", "mib"])
        writer.writeheader()
        process = subprocess.Popen(command(args, results))
        try:
            for row in samples(process, Path(results) / "sacred" / "1" / "metrics.jsonl", args.period):
                rows.append(row)
                writer.writerow(row)
                file.flush()
        finally:
            process.terminate()
            process.wait()
        if process.returncode != 0:
            raise SystemExit(f"the run ended with exit code {process.returncode}")
    return rows


def judge(rows: Sequence[dict[str, float]], buffer_size: int) -> dict[str, Any]:
    """Warm-up's end and the change of the tenths' medians after it, in per cent of the first tenth's."""
    full = [k for k, row in enumerate(rows) if row["episodes"] >= buffer_size]
    if len(rows) - (full[0] if full else len(rows)) < PARTS:
        raise SystemExit("error: the run ended before the buffer was full: raise --t-max or lower --buffer-size")
    after = np.array([row["mib"] for row in rows[full[0] :]])
    medians = [float(np.median(part)) for part in np.array_split(after, PARTS)]
    changes = [100.0 * (value / medians[0] - 1.0) for value in medians]
    return {
        "warm_up_t_env": int(rows[full[0]]["t_env"]),
        "t_env": int(rows[-1]["t_env"]),
        "seconds": rows[-1]["seconds"],
        "start_mib": medians[0],
        "tenths_mib": [round(value, 1) for value in medians],
        "peak_mib": float(after.max()),
        "last_change_percent": round(changes[-1], 2),
        "largest_change_percent": round(max(changes, key=abs), 2),
    }


def picture(rows: Sequence[dict[str, float]], verdict: dict[str, Any], path: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axis = plt.subplots(figsize=(7, 3.5), layout="constrained")
    axis.plot([row["t_env"] for row in rows], [row["mib"] for row in rows], linewidth=1)
    axis.axvline(verdict["warm_up_t_env"], color="grey", linestyle=":", label="buffer full")
    axis.set(xlabel="env steps", ylabel="resident memory, MiB", ylim=(0, None))
    axis.legend()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def report(args: argparse.Namespace, verdict: dict[str, Any]) -> str:
    tenths = " ".join(f"{value:.1f}" for value in verdict["tenths_mib"])
    rows = {
        "env steps": f"{verdict['t_env']:,}",
        "time": f"{verdict['seconds'] / 60:.0f} min",
        "buffer full at": f"{verdict['warm_up_t_env']:,} env steps",
        "resident memory after warm-up, medians of ten equal parts, MiB": tenths,
        "last part against the first": f"{verdict['last_change_percent']:+.2f} %",
        "largest difference of a part from the first": f"{verdict['largest_change_percent']:+.2f} %",
        "highest sample": f"{verdict['peak_mib']:.1f} MiB",
    }
    table = "\n".join(f"| {name} | {value} |" for name, value in rows.items())
    asked = " ".join(f"--{key} {getattr(args, key.replace('-', '_'))}" for key in ("alg", "map", "t-max", "seed"))
    extra = "".join(f" {change}" for change in args.changes)
    return (
        f"# Memory of a long run\n\n    python benchmarks/soak.py {asked} --buffer-size {args.buffer_size}{extra}\n\n"
        f"| | |\n|---|---|\n{table}\n\n![resident memory against env steps]({args.out.with_suffix('.png').name})\n\n"
        "Warm-up ends when the replay buffer is full: its memory is reserved at the start but only becomes resident\n"
        "as episodes arrive.\n"
    )


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="soak.py", description=__doc__)
    parser.add_argument("changes", nargs="*", help="further assignments for main.py, key=value")
    parser.add_argument("--alg", default="fop")
    parser.add_argument("--map", default="3m")
    parser.add_argument("--t-max", type=int, default=1_000_000)
    parser.add_argument("--buffer-size", type=int, default=1000, help="episodes; default 1000")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--period", type=float, default=5.0, help="seconds between samples")
    parser.add_argument("--limit", type=float, default=2.0, help="allowed change, per cent")
    parser.add_argument("--out", type=Path, default=Path("soak"), help="the files' name without suffix")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    args = parse(argv)
    rows = watch(args)
    verdict = judge(rows, args.buffer_size)
    picture(rows, verdict, args.out.with_suffix(".png"))
    args.out.with_suffix(".md").write_text(report(args, verdict), encoding="utf-8")
    print(json.dumps(verdict, indent=1))
    return int(abs(verdict["last_change_percent"]) > args.limit)


if __name__ == "__main__":
    sys.exit(main())
