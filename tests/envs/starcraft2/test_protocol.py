"""The double is a StarCraft II to pysc2's own client: every request that SMAC makes, and what the game refuses."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from envs.skirmish import SkirmishEnv
from envs.skirmish.scenario import load_map
from sc2_double.install import BUILD, install, read_log

pytestmark = pytest.mark.needs_client

STOP, MOVE, ATTACK, HEAL = 4, 16, 23, 386


@pytest.fixture(scope="module")
def folder(compiled: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        place = install(tmp_path_factory.mktemp("my games") / "StarCraftII")
        patch.setenv("SC2PATH", str(place))
        yield place


@pytest.fixture(scope="module")
def process(folder: Path) -> Iterator[Any]:
    """The double, started by pysc2 from SC2PATH."""
    from absl import flags
    from pysc2 import run_configs

    flags.FLAGS(["test"])
    config = run_configs.get()
    assert config.version.build_version == BUILD
    started = config.start(want_rgb=False)
    yield started
    started.close()
    assert not started.running


def create(config: Any, map_name: str, seed: int = 3, path: str = "") -> Any:
    from s2clientprotocol import common_pb2 as common
    from s2clientprotocol import sc2api_pb2 as sc

    path = path or f"SMAC_Maps/{map_name}.SC2Map"
    data = config.map_data(f"SMAC_Maps/{map_name}.SC2Map")
    request = sc.RequestCreateGame(local_map=sc.LocalMap(map_path=path, map_data=data), random_seed=seed)
    request.player_setup.add(type=sc.Participant)
    request.player_setup.add(type=sc.Computer, race=common.Terran, difficulty=sc.VeryHard)
    return request


@pytest.fixture
def controller(process: Any) -> Iterator[Any]:
    """A client in a fresh battle of 3m."""
    yield from joined(process, "3m")


def joined(process: Any, map_name: str) -> Iterator[Any]:
    from pysc2 import run_configs
    from s2clientprotocol import common_pb2 as common
    from s2clientprotocol import sc2api_pb2 as sc

    client = process.controller
    client.create_game(create(run_configs.get(), map_name))
    join = sc.RequestJoinGame(race=common.Terran, options=sc.InterfaceOptions(raw=True))
    assert client.join_game(join).player_id == 1
    client.step(2)
    yield client
    client.leave()


def units(client: Any, owner: int = 0) -> list[Any]:
    seen = client.observe().observation.raw_data.units
    return [unit for unit in seen if owner in (0, unit.owner)]


def order(client: Any, ability: int, tag: int, target: int = 0, point: tuple[float, float] | None = None) -> list[int]:
    from s2clientprotocol import sc2api_pb2 as sc

    request = sc.RequestAction()
    command = request.actions.add().action_raw.unit_command
    command.ability_id = ability
    command.unit_tags.append(tag)
    if target:
        command.target_unit_tag = target
    if point is not None:
        command.target_world_space_pos.x, command.target_world_space_pos.y = point
    return list(client.actions(request).result)


def kill(client: Any, tags: list[int]) -> None:
    from s2clientprotocol import debug_pb2 as debug

    client.debug(debug.DebugCommand(kill_unit=debug.DebugKillUnit(tag=tags)))


def test_it_is_started_once_by_pysc2_and_tells_its_build(process: Any, folder: Path) -> None:
    assert len(read_log(folder, "launch")) == 1
    assert process.controller.ping().base_build == BUILD
    assert "SMAC_Maps/3m.SC2Map" in process.controller.available_maps().local_map_paths


def test_game_info_holds_the_map(controller: Any) -> None:
    info = controller.game_info()
    start = info.start_raw
    assert info.map_name == "3m" and (start.map_size.x, start.map_size.y) == (32, 32)
    assert start.playable_area.p1.x - start.playable_area.p0.x == 28
    bits = np.unpackbits(np.frombuffer(start.pathing_grid.data, np.uint8)).reshape(32, 32).T
    np.testing.assert_array_equal(bits.astype(bool), load_map("3m").terrain.walk)


def test_data_name_abilities_and_unit_types(controller: Any) -> None:
    data = controller.data()
    assert set(data.abilities) == {STOP, MOVE, ATTACK, HEAL}
    assert sorted(data.units.values()) == ["Marine", "RL_Marine"]
    marine = next(unit for unit in data.unit_stats.values() if unit.name == "Marine")
    assert marine.weapons[0].damage == 6 and marine.weapons[0].range == 5


def test_units_are_those_of_the_embedded_battle_of_the_same_seed(controller: Any) -> None:
    env = SkirmishEnv("3m", seed=3)
    env.reset()
    expected = env.sim.world.units[0]
    agents = sorted(units(controller, 1), key=lambda unit: unit.tag)
    enemies = units(controller, 2)
    for unit, mine in zip([*agents, *enemies], expected, strict=True):
        assert (unit.pos.x, unit.pos.y, unit.health) == pytest.approx((mine["x"], mine["y"], mine["hp"]), abs=1e-5)


def test_a_move_ends_where_it_was_told_to(controller: Any) -> None:
    unit = units(controller, 1)[0]
    goal = (unit.pos.x - 1.0, unit.pos.y + 2.0)
    assert order(controller, MOVE, unit.tag, point=goal) == [1]
    controller.step(40)
    there = next(one for one in units(controller, 1) if one.tag == unit.tag)
    assert (there.pos.x, there.pos.y) == pytest.approx(goal, abs=0.01)


def test_an_attack_hurts_its_target(controller: Any) -> None:
    target = units(controller, 2)[0]
    for unit in units(controller, 1):
        assert order(controller, ATTACK, unit.tag, target.tag) == [1]
    controller.step(80)
    left = [one.health for one in units(controller, 2) if one.tag == target.tag]
    assert left == [] or left[0] < 45


def test_wrong_orders_are_refused_and_change_nothing(controller: Any) -> None:
    agent, enemy = units(controller, 1)[0], units(controller, 2)[0]
    wrong = [(HEAL, agent.tag, enemy.tag), (ATTACK, agent.tag, agent.tag), (STOP, enemy.tag, 0), (STOP, 99, 0)]
    assert all(order(controller, ability, tag, target) == [3] for ability, tag, target in wrong)
    assert order(controller, MOVE, agent.tag) == [3]


def test_killed_and_created_units(controller: Any) -> None:
    from pysc2.lib import protocol
    from s2clientprotocol import debug_pb2 as debug

    doomed = units(controller, 2)[0]
    kill(controller, [doomed.tag, 12345])
    assert len(units(controller, 2)) == 2
    create = debug.DebugCreateUnit(unit_type=doomed.unit_type, owner=2, quantity=1)
    create.pos.x, create.pos.y = 20.0, 15.0
    controller.debug(debug.DebugCommand(create_unit=create))
    assert [20.0, 15.0, 45.0] in [[unit.pos.x, unit.pos.y, unit.health] for unit in units(controller, 2)]
    with pytest.raises(protocol.ProtocolError, match="room for 0 more units"):
        controller.debug(debug.DebugCommand(create_unit=create))


def test_when_nobody_is_left_the_map_begins_anew(controller: Any) -> None:
    before = units(controller)
    kill(controller, [unit.tag for unit in before])
    assert units(controller) == []
    controller.step(2)
    after = units(controller)
    assert len(after) == 6 and not {unit.tag for unit in before} & {unit.tag for unit in after}


def test_restart_begins_the_same_game_again(controller: Any) -> None:
    before = units(controller, 2)
    controller.step(30)
    assert not controller.restart().need_hard_reset
    assert units(controller, 2) == [] and len(units(controller, 1)) == 3  # the enemies follow after two loops
    controller.step(2)
    assert [unit.pos for unit in units(controller, 2)] == [unit.pos for unit in before]


def test_replays_are_handed_out(controller: Any) -> None:
    assert controller.save_replay().startswith(b"MPQ\x1b")


def test_what_the_game_refuses(process: Any) -> None:
    from pysc2 import run_configs
    from pysc2.lib import protocol, remote_controller
    from s2clientprotocol import sc2api_pb2 as sc

    client, config = process.controller, run_configs.get()
    with pytest.raises(remote_controller.RequestError, match="InvalidMapPath"):
        client.create_game(create(config, "3m", path="Ladder/None.SC2Map"))
    with pytest.raises(protocol.ProtocolError, match="join_game in status launched"):
        client.join_game(sc.RequestJoinGame(options=sc.InterfaceOptions(raw=True)))
    with pytest.raises(protocol.ProtocolError):
        client._client.send(observation=sc.RequestObservation())


def test_healers_and_quit(folder: Path) -> None:
    """A Medivac heals its own and cannot attack; a game that is asked to quit is gone."""
    from pysc2 import run_configs

    with_healer = run_configs.get().start(want_rgb=False)
    game = joined(with_healer, "MMM")
    client = next(game)
    healer = next(unit for unit in units(client, 1) if unit.energy_max > 0)
    friend = next(unit for unit in units(client, 1) if unit.energy_max == 0)
    assert order(client, HEAL, healer.tag, friend.tag) == [1]
    assert order(client, ATTACK, healer.tag, units(client, 2)[0].tag) == [3]
    assert healer.is_flying and healer.energy == pytest.approx(50.0, abs=0.1)
    process = with_healer._proc
    client.quit()
    assert process.wait(timeout=10) == 0
    with_healer.close()
