"""With one seed the three runner kinds store equal episodes of the embedded engine."""

import pytest

import envs
from runners import make_vec_env
from runners_helpers import assert_equal_episodes, episodes_of, make_runner


@pytest.mark.parametrize(("kind", "n_envs"), [("parallel", 1), ("batched", 1), ("batched", 4), ("episode", 2)])
def test_runner_kinds_store_equal_episodes(kind, n_envs):
    """Episodes 0 to 3 of 3m, against the episode runner with one environment."""
    spec = envs.resolve("sc2", {"engine": "embedded", "map_name": "3m"})
    results = []
    for name, count in (("episode", 1), (kind, n_envs)):
        env = make_vec_env(spec, name, count)
        try:
            results.append(episodes_of(make_runner(env), 4, count))
        finally:
            env.close()
    assert_equal_episodes(*results)
