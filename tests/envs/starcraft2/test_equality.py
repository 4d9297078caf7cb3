"""SMAC's own StarCraft2Env, on the double, shows what the embedded environment shows: the semantics are SMAC's.

The committed table (docs/results/smac_equality.md) has 20 episodes a map; here are a few.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sc2_double.equality import Row, compare

pytestmark = [pytest.mark.needs_client, pytest.mark.needs_smac]


@pytest.mark.parametrize(
    ("map_name", "flags"),
    [
        ("3m", {}),
        ("2s3z", {"obs_last_action": True, "obs_timestep_number": True, "state_timestep_number": True}),
        ("MMM2", {"reward_only_positive": False, "continuing_episode": True}),
    ],
)
def test_smac_on_the_double_equals_the_embedded_environment(
    map_name: str, flags: dict[str, Any], game: Callable[..., Path]
) -> None:
    game()
    row = compare(map_name, 3, **flags)
    assert row.differing == 0 and row.steps > 30 and row.values > 5000, row


def test_the_comparison_can_fail() -> None:
    row = Row("3m")
    row.numbers("obs", [0.5, 1.0], [0.5, 1.0 + 2e-6])
    row.exactly("mask", [[1, 0]], [[1, 1]])
    assert (row.obs, row.mask, row.differing, row.values) == (1, 1, 2, 4)
