"""Exact physics against numbers computed by hand from the unit data (docs/engine.md). Times are game loops."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

STOP, EAST, ATTACK = 1, 4, 6
MARINE_PERIOD = 14  # 13.7728 loops, counted in whole loops


def test_a_marine_kills_a_standing_zealot_at_loop_394(duel: Any) -> None:
    battle = duel([("marine", 10, 16)], [("zealot", 14, 16)])
    battle.order(ATTACK)
    # 8 hits take 48 of 50 shield, the 9th 2 shield and 6 - 2 - 1 = 3 life, 20 more 5 life each: 29 hits.
    # The first lands in loop 2 (damage point 0.8 loops), one more every 14 loops: 2 + 28 * 14.
    assert battle.until(lambda: not battle.units["alive"][1]) == 2 + 28 * MARINE_PERIOD == 394


def test_single_hits_shield_first_then_life_less_armour(duel: Any) -> None:
    battle = duel([("marine", 10, 16)], [("zealot", 14, 16)])
    battle.order(ATTACK)
    seen = []
    for _ in range(10):
        battle.loop(MARINE_PERIOD)
        seen.append((battle.units["shield"][1], battle.units["hp"][1]))
    assert seen[:9] == [(50 - 6 * i, 100) for i in range(1, 9)] + [(0, 97)]
    assert seen[9] == (0, 92)


def test_stalker_outruns_zealot_by_the_difference_of_their_speeds(duel: Any) -> None:
    battle = duel([("stalker", 5, 16)], [("zealot", 2.9, 16)], awake=True, loops=8)
    gap = battle.units["x"][0] - battle.units["x"][1]
    for _ in range(10):
        battle.order(EAST)
        battle.loop()
    assert battle.units["target"][1] == 0
    assert battle.units["x"][0] == pytest.approx(5 + 80 * 2.9531 / 16)
    assert battle.units["x"][0] - battle.units["x"][1] - gap == pytest.approx(80 * (2.9531 - 2.25) / 16)


def test_shields_regenerate_160_loops_after_the_last_damage(duel: Any) -> None:
    battle = duel([("marine", 10, 16)], [("stalker", 14, 16)])
    battle.order(ATTACK)
    battle.loop(2)
    assert battle.units["shield"][1] == 74
    battle.order(STOP)
    battle.loop(159)
    assert battle.units["shield"][1] == 74
    battle.loop(2)
    assert battle.units["shield"][1] == 74 + 2 * 2 / 16
    battle.loop(1000)
    assert battle.units["shield"][1] == 80


def test_zerg_life_regenerates_at_once(duel: Any) -> None:
    battle = duel([("marine", 10, 16)], [("zergling", 25, 16)])
    battle.units["hp"][1] = 10
    battle.loop(16)
    assert battle.units["hp"][1] == pytest.approx(10 + 0.2734)


def test_medivac_heals_nine_life_a_second_for_a_third_of_the_energy(duel: Any) -> None:
    battle = duel([("marine", 10, 16), ("medivac", 12, 16)], [("zealot", 30 - 1, 16), ("zealot", 28, 10)])
    battle.units["hp"][0], battle.units["energy"][1] = 20, 50
    battle.order(STOP, ATTACK)
    battle.loop(16)
    assert battle.units["hp"][0] == pytest.approx(29)
    assert battle.units["energy"][1] == pytest.approx(50 - 9 * 0.33 + 0.5625)
    battle.loop(100)
    assert battle.units["hp"][0] == 45


def test_an_empty_medivac_does_not_heal(duel: Any) -> None:
    battle = duel([("marine", 10, 16), ("medivac", 12, 16)], [("zealot", 29, 16), ("zealot", 28, 10)])
    battle.units["hp"][0], battle.units["energy"][1] = 20, 0.0
    battle.order(STOP, ATTACK)
    battle.loop(16)
    gained = battle.units["hp"][0] - 20
    assert 0 < gained <= 16 * 0.5625 / 16 / 0.33 + 1e-9  # only what regenerates


@pytest.mark.parametrize(("distance", "hit"), [(1.0, True), (2.7, True), (2.8, False)])
def test_baneling_blast_reaches_radius_plus_target_radius(duel: Any, distance: float, hit: bool) -> None:
    battle = duel([("baneling", 16, 16)], [("marauder", 16 + distance, 16), ("marine", 16 - distance, 16)])
    battle.units["hp"][0] = 0  # killed: the blast comes with the death
    battle.loop()
    assert not battle.units["alive"][0]
    assert battle.units["hp"][1] == (125 - (20 - 1) if hit else 125)  # armoured 1; radius 0.5625: reach 2.7625


def test_baneling_attack_kills_it_and_takes_the_bonus_against_light(duel: Any) -> None:
    battle = duel([("baneling", 16, 16)], [("zealot", 17.1, 16)])
    battle.order(ATTACK)
    battle.loop()
    assert not battle.units["alive"][0]
    assert (battle.units["shield"][1], battle.units["hp"][1]) == (15, 100)


@pytest.mark.parametrize(("offset", "hits"), [(0.8, 2), (1.85, 2), (1.95, 0)])
def test_colossus_lance_sweeps_a_line_across_the_line_of_fire(duel: Any, offset: float, hits: int) -> None:
    enemies = [("zealot", 16, 16), ("zealot", 16, 16 + offset), ("zealot", 17.5, 16)]
    battle = duel([("colossus", 10, 16)], enemies)
    battle.order(ATTACK)
    battle.loop(15)
    assert battle.units["shield"][1] == 50 - 2 * 20
    assert battle.units["shield"][2] == 50 - hits * 20
    assert battle.units["shield"][3] == 50  # behind the target


def test_lance_timing(duel: Any) -> None:
    battle = duel([("colossus", 10, 16)], [("zealot", 16, 16), ("zealot", 16, 17)])
    battle.order(ATTACK)
    main = battle.until(lambda: battle.units["shield"][1] < 50)
    assert main == 3 + 6  # damage point 1.3312 loops: fires in loop 3; the target is hit 6 loops later
    assert battle.units["shield"][1] == 10


def test_two_marines_with_six_life_kill_each_other(duel: Any) -> None:
    battle = duel([("marine", 10, 16)], [("marine", 14, 16)])
    battle.sim.world.roster["auto"] = True
    battle.units["hp"] = 6
    battle.loop(2)
    assert not battle.units["alive"].any()


def test_a_missile_outlives_its_shooter_and_a_blow_does_not(duel: Any) -> None:
    battle = duel([("stalker", 10, 16), ("zealot", 20, 16)], [("zealot", 15.5, 16), ("zealot", 21.05, 16)])
    battle.order(ATTACK, ATTACK + 1)
    battle.loop(4)
    assert battle.units["shield"][2] == 50
    assert battle.units["shield"][3] == 42  # first of two blows
    battle.units["hp"][:2] = 0
    battle.loop(8)
    assert battle.units["shield"][2] == 40
    assert battle.units["shield"][3] == 42


def test_the_second_blow_of_a_zealot_lands_five_loops_after_the_first(duel: Any) -> None:
    battle = duel([("zealot", 20, 16)], [("zealot", 21.05, 16)])
    battle.order(ATTACK)
    battle.loop(1)
    assert battle.units["shield"][1] == 42
    battle.loop(4)
    assert battle.units["shield"][1] == 42
    battle.loop(1)
    assert battle.units["shield"][1] == 34


def test_an_order_before_the_damage_point_cancels_the_shot_and_after_it_not(duel: Any) -> None:
    for loops, left in ((2, 80), (6, 70)):  # damage point 2.672 loops: fires in loop 4
        battle = duel([("stalker", 10, 16)], [("stalker", 15, 16)])
        battle.order(ATTACK)
        battle.loop(loops)
        battle.order(STOP)
        battle.loop(20)
        assert battle.units["shield"][1] == (left if left == 80 else 80 - 10 - 4)


def test_range_is_measured_from_edge_to_edge(duel: Any) -> None:
    # marine range 5 + radii 0.375 + 0.5: fires at 5.875, walks from 5.9 to there
    battle = duel([("marine", 10, 16)], [("zealot", 15.9, 16)])
    battle.order(ATTACK)
    battle.loop(5)
    assert battle.units["x"][0] == pytest.approx(10.025, abs=1e-6)
    battle = duel([("marine", 10, 16)], [("zealot", 15.87, 16)])
    battle.order(ATTACK)
    battle.loop(5)
    assert battle.units["x"][0] == 10


def test_allies_never_act_by_themselves(duel: Any) -> None:
    battle = duel([("marine", 10, 16)], [("zealot", 14, 16)], awake=True)
    battle.loop(300)
    assert battle.units["hp"][1] == 100 and battle.units["shield"][1] == 50
    assert not battle.units["alive"][0]


def test_an_attack_order_persists_and_chases(duel: Any) -> None:
    battle = duel([("stalker", 5, 16)], [("zealot", 10, 16), ("zealot", 29, 29)])
    battle.order(ATTACK)
    battle.units["x"][1] = 25
    battle.until(lambda: not battle.units["alive"][1])
    battle.loop()
    assert battle.units["order"][0] == 0  # idle again
    x = battle.units["x"][0]
    battle.loop(50)
    assert battle.units["x"][0] == x


def test_units_push_idle_friends_and_slide_around_enemies(duel: Any) -> None:
    for name, goal in (("friend", 0), ("enemy", 1)):
        places = [("marine", 10, 16), ("marine", 11, 16)]
        battle = duel(places if not goal else places[:1], [("zealot", 29, 29), ("zealot", 11, 16)][: 1 + goal])
        actions = [EAST] * 1 + [STOP] * (1 - goal)
        for _ in range(40):
            battle.order(*actions)
            battle.loop(1)
        assert battle.units["x"][0] > 12, name
        centre = np.hypot(*(battle.units[k][0] - battle.units[k][1 if not goal else 2] for k in "xy"))
        assert centre >= 0.75 - 1e-6


def test_speed_does_not_depend_on_direction_or_detours(duel: Any) -> None:
    battle = duel([("marine", 16, 16)], [("zealot", 29, 29)])
    before = battle.units[["x", "y"]][0].copy()
    battle.order(2)
    battle.loop(8)
    assert battle.units["y"][0] - before["y"] == pytest.approx(8 * 2.25 / 16)
