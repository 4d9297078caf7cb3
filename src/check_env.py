"""Check an environment against the contract: `python src/check_env.py NAME [with env_args.key=value ...]`.

NAME is module:Class of your own MultiAgentEnv (looked for in the current folder and in src), or a registered
environment such as sc2. Prints one line per check. Exit codes: 0 all hold, 1 some do not, 2 bad input.

Examples:
  python src/check_env.py my_env:MyEnv
  python src/check_env.py my_env:MyEnv with env_args.size=5
  python src/check_env.py gymma with env_args.key=mpe2.simple_spread_v3
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import envs
from envs.contract import Report, check
from utils.cli import read_updates
from utils.errors import UserError
from utils.lineparser import LineParser


def run(argv: Sequence[str] | None) -> int:
    """Check as asked; returns the exit code."""
    parser = LineParser(prog="check_env.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", metavar="NAME", help="module:Class, or a registered environment")
    parser.add_argument("rest", nargs="*", metavar="with env_args.key=value", help="arguments of the environment")
    args = parser.parse_args(argv)
    sys.path.insert(1, str(Path.cwd()))
    report = check(envs.resolve(args.name, _arguments(args.rest)))
    show(report)
    return 1 if report.problems else 0


def _arguments(rest: Sequence[str]) -> dict[str, object]:
    if rest and rest[0] != "with":
        raise UserError(f"write `with` before the first assignment: ... with {rest[0]}")
    updates = read_updates(rest[1:])
    if unknown := [key for key in updates if key != "env_args"]:
        raise UserError(f"only env_args.key=value can be set here, got {unknown[0]!r}")
    given = updates.get("env_args", {})
    if not isinstance(given, dict):
        raise UserError("env_args is a mapping: set its keys one by one, as env_args.key=value")
    return given


def show(report: Report) -> None:
    """Print the environment's facts and one line per check."""
    if (info := report.info) is not None:
        print(f"{info.engine} {info.engine_version}: {info.n_agents} agents, {info.action_space},")
        print(f"observations of {info.obs_dim}, states of {info.state_dim}, at most {info.episode_limit} steps")
    for finding in report.findings:
        print(
            f"{'FAILED' if finding.problem else 'ok':8}{finding.check}" + f": {finding.problem}" * bool(finding.problem)
        )
    if (trace := report.trace) is not None:
        steps = len(trace.transitions)
        end = "terminated" if trace.transitions[-1].terminated else "truncated"
        rate = steps / max(trace.seconds, 1e-9)
        print(f"the episode: {steps} steps, {end}, return {trace.total:.4g}, {rate:,.0f} steps a second")
    print(f"{len(report.problems)} of {len(report.findings)} checks failed" if report.problems else "all checks hold")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    try:
        return run(argv)
    except UserError as error:
        print("error:", " ".join(str(error).split()), file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
