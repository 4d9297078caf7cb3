"""What a user could run instead: algorithms whose learner can be built for an environment."""

from __future__ import annotations

from envs.multiagentenv import EnvInfo
from utils.building import try_learner
from utils.config import from_merged, layers
from utils.configfile import available
from utils.errors import UserError


def algorithms_for(info: EnvInfo) -> list[str]:
    """Names of the algorithms that, as configured by their yaml, learn from actions of this environment's kind."""
    return [name for name in available("algs") if _fits(name, info)]


def _fits(name: str, info: EnvInfo) -> bool:
    config = from_merged(layers(name, None) | {"seed": 0})
    try:
        try_learner(config, info)
    except UserError:
        return False
    return True
