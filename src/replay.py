"""Pictures of battles: `python src/replay.py RUN_OR_CHECKPOINT --episodes 3 --out battles/` writes GIFs.

Greedy episodes of a trained team, with health, shields, targets, terrain, step and reward. `--policy random`,
`heuristic` (attack the nearest), `focus`, `kite` or `stop` needs no checkpoint: give `--map` instead. The episodes of
a run that was trained in StarCraft II are played there and saved as one of its own replays (.SC2Replay).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from envs.multiagentenv import Observation, Transition, VecEnv
from envs.skirmish.env import SkirmishVecEnv
from envs.skirmish.flags import parse_flags
from envs.skirmish.render import Painter, write_gif
from envs.skirmish.scripts import FLAGS, POLICIES
from utils.errors import UserError
from utils.exitcodes import exit_code
from utils.lineparser import LineParser

if TYPE_CHECKING:
    from runners import Runner
    from utils.trained import Trained

SCRIPTS = {"heuristic": "nearest", **{name: name for name in POLICIES}}
DEFAULT_MAP = "3s_vs_3z"  # of a scripted team
VERDICTS = {1: "won", -1: "lost", 0: "both_dead"}


class Filmed(VecEnv):
    """One battle that keeps a picture of every step."""

    def __init__(self, env: SkirmishVecEnv) -> None:
        self.env, self.env_info, self.n_envs = env, env.env_info, 1
        self.painter = Painter(env.sim)
        self.frames: list[Image.Image] = []
        self.total = 0.0

    def reset(self, seeds: Sequence[int]) -> Observation:
        """Start an episode and a new film."""
        seen = self.env.reset(seeds)
        self.total, self.frames = 0.0, [self.painter.frame()]
        return seen

    def step(self, actions: np.ndarray, active: np.ndarray) -> Transition:
        """Take a step and a picture."""
        transition = self.env.step(actions, active)
        self.total += float(transition.reward[0])
        self.frames.append(self.painter.frame(self.total))
        return transition

    def verdict(self) -> str:
        """How the episode ended: won, lost, both_dead or timeout."""
        return VERDICTS.get(int(self.env.sim.world.envs["code"][0]), "timeout")


def play_script(film: Filmed, name: str, episode: int, seed: int) -> None:
    """One episode of a scripted team."""
    rng = np.random.default_rng([seed, episode])
    film.reset([int(rng.integers(2**63))])
    ended, active = False, np.ones(1, bool)
    while not ended:
        out = film.step(POLICIES[name](film.env.sim, rng)[..., None], active)
        ended = bool(out.terminated[0] or out.truncated[0])


def make_env(env_args: dict[str, Any], changes: dict[str, Any]) -> Filmed:
    """A filmed battle of the embedded engine."""
    flags = parse_flags({**env_args, **changes})
    return Filmed(SkirmishVecEnv.from_flags(flags, 1, threads=1))


def play_team(args: argparse.Namespace, write: Any) -> None:
    """Greedy test episodes of a checkpoint, the same ones as in its test."""
    from utils.maps import on_map
    from utils.trained import load_trained

    trained = load_trained(args.run, args.load_step)
    if trained.config.env != "sc2":
        raise UserError(f"replays show battles (--env-config=sc2); this run's environment is {trained.config.env}")
    config = on_map(trained.config, args.map)
    env_args = dict(config.env_args)
    if env_args.get("engine") == "starcraft2":
        play_in_game(args, trained, env_args)
        return
    film = make_env(env_args, {})
    runner = make_runner(trained, film)
    for episode in range(args.episodes):
        runner.collect(episode, 1, trained.t_env, config.test_greedy, test=True)
        write(film, f"{film.env.sim.scenario.name}_{config.name}_{trained.t_env}_{episode}")


def make_runner(trained: Trained, env: VecEnv) -> Runner:
    """A runner with the checkpoint's networks."""
    from runners import Runner
    from utils.timehelper import PhaseTimer
    from utils.trained import trained_mac

    mac = trained_mac(trained, trained.config, env.env_info)
    return Runner(env, mac, trained.config.seed, PhaseTimer())


def play_in_game(args: argparse.Namespace, trained: Trained, env_args: dict[str, Any]) -> None:
    """The same in StarCraft II: one replay of all episodes. An episode that the game breaks off is played again."""
    import envs
    from runners import EnvStack

    stack = EnvStack(envs.resolve("sc2", {**env_args, "replay_dir": str(args.out.absolute())}).single, 1)
    try:
        runner = make_runner(trained, stack)
        shown = 0
        while shown < args.episodes:
            rollout = runner.collect(shown, 1, trained.t_env, trained.config.test_greedy, test=True)
            shown = shown + 1 if rollout.kept else 0  # a new game has a new replay
            for stats in rollout.stats:
                verdict = "won" if stats["battle_won"] else "not won"
                print(f"episode {shown}: {stats['ep_length']:.0f} steps, return {stats['return']:.2f}, {verdict}")
        game: Any = stack.envs[0]
        print(game.save_replay())
    finally:
        stack.close()


def play_scripts(args: argparse.Namespace, write: Any) -> None:
    """Episodes of a scripted team."""
    name = SCRIPTS[args.policy]
    from utils.maps import is_file

    chosen = {"map_name": args.map or DEFAULT_MAP, "map_file": ""}
    if is_file(args.map):
        chosen = {"map_name": DEFAULT_MAP, "map_file": args.map}
    film = make_env(chosen, dict(FLAGS.get(name, {})))
    for episode in range(args.episodes):
        play_script(film, name, episode, args.seed)
        write(film, f"{film.env.sim.scenario.name}_{args.policy}_{episode}")


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Command line to arguments; `UserError` for a bad one."""
    parser = LineParser(prog="replay.py", description=__doc__)
    parser.add_argument("run", nargs="?", type=Path, help="a run directory, its models folder or a checkpoint")
    parser.add_argument("--policy", choices=sorted(SCRIPTS), help="a scripted team in place of a checkpoint")
    parser.add_argument("--map", default="", help=f"a map's name, or a map file (.yaml); the run's, or {DEFAULT_MAP}")
    parser.add_argument("--episodes", type=int, default=3, help="default 3")
    parser.add_argument("--out", type=Path, default=Path("battles"), help="folder, default battles")
    parser.add_argument("--load-step", type=int, default=0, help="env step of the checkpoint; 0: the newest")
    parser.add_argument("--seed", type=int, default=0, help="of scripted episodes")
    args = parser.parse_args(argv)
    if (args.run is None) == (args.policy is None):
        raise UserError("give either a run or checkpoint, or --policy")
    if args.episodes < 1:
        raise UserError(f"--episodes must be at least 1, got {args.episodes}")
    return args


def record(args: argparse.Namespace) -> int:
    """Write the films."""

    def write(film: Filmed, name: str) -> None:
        path = args.out / f"{name}_{film.verdict()}.gif"
        write_gif(path, film.frames)
        print(f"{path}: {len(film.frames) - 1} steps, return {film.total:.2f}, {film.verdict()}")

    play_scripts(args, write) if args.policy else play_team(args, write)
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    return exit_code(lambda: record(parse(argv)), "stopped")


if __name__ == "__main__":
    sys.exit(main())
