"""The executable: `SC2_x64 -listen HOST -port PORT ...`, the arguments with which pysc2 starts the game."""

from __future__ import annotations

import argparse
import os
import sys
from functools import partial
from http import HTTPStatus
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests")]
for _name in ("envs", "envs.skirmish"):  # their __init__ would import PyTorch, which takes longer than all the rest
    _package = ModuleType(_name)
    _package.__path__ = [str(ROOT / "src" / _name.replace(".", "/"))]
    sys.modules[_name] = _package

from s2clientprotocol import sc2api_pb2 as sc  # noqa: E402
from websockets.exceptions import ConnectionClosed  # noqa: E402
from websockets.sync.server import ServerConnection, serve  # noqa: E402

from sc2_double.faults import Faults, garbage  # noqa: E402

if TYPE_CHECKING:
    from sc2_double.answers import Game

PATH = "/sc2api"


class Server:
    """Serves one client after the other; the game goes on while none is there, as the real one does."""

    def __init__(self, game: Game, faults: Faults) -> None:
        self.game, self.faults = game, faults
        self.blank = False  # the next observation is empty

    def talk(self, client: ServerConnection) -> None:
        """Answer a client's requests until it leaves or asks the game to quit."""
        try:
            while True:
                request = sc.Request.FromString(client.recv(decode=False))  # pysc2 marks its bytes as text
                if request.HasField("quit"):
                    os._exit(0)  # the client does not wait for an answer
                if not self._trouble(request, client):
                    client.send(self._reply(request).SerializeToString())
        except ConnectionClosed:
            return
        except Exception as error:  # the real game would be gone, too
            print(f"double: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
            os._exit(1)

    def _reply(self, request: sc.Request) -> sc.Response:
        response = self.game.answer(request)
        if self.blank and request.HasField("observation"):
            self.blank = False
            response.observation.Clear()
            response.observation.SetInParent()
        return response

    def _trouble(self, request: sc.Request, client: ServerConnection) -> bool:
        """Whether a fault has taken the place of the answer."""
        battle = self.game.battle
        if battle is None or not request.HasField("step"):
            return False
        fault = self.faults.in_step(battle.number, battle.next_step)
        kind = "" if fault is None else fault["kind"]
        if kind == "crash":
            self.faults.die()
        if kind == "hang":
            self.faults.hang()
        if kind == "drop":
            client.close()
        if fault is None or fault.get("content") == "blank":
            self.blank = fault is not None
            return False
        if kind == "garbage":
            client.send(garbage(fault["content"]))
        return True


def only_the_api(client: ServerConnection, request: Any) -> Any:
    """404 to anything but the API's path."""
    return None if request.path == PATH else client.respond(HTTPStatus.NOT_FOUND, "no such path\n")


def main() -> None:
    """Listen as told; a fault may come before."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("-listen", required=True)
    parser.add_argument("-port", type=int, required=True)
    parser.add_argument("-dataDir", type=Path, required=True)
    args, _ = parser.parse_known_args()
    faults = Faults(args.dataDir)
    faults.at_start(args.listen, args.port)
    from sc2_double.answers import Game  # here: a process that comes to nothing need not load the engine
    from sc2_double.battle import Battle
    from sc2_double.recorded import Recorded

    begin = partial(Recorded, faults.world, faults.log) if faults.world else Battle
    build = max(int(path.name.removeprefix("Base")) for path in (args.dataDir / "Versions").glob("Base*"))
    server = Server(Game(build, begin), faults)
    print(f"double of StarCraft II, build {build}, listening on {args.listen}:{args.port}", flush=True)
    # no pings: a client that is busy learning answers none, and the game sends none
    options: dict[str, Any] = {"compression": None, "ping_interval": None, "process_request": only_the_api}
    with serve(server.talk, args.listen, args.port, **options) as listener:
        listener.serve_forever()


if __name__ == "__main__":
    main()
