"""The one compiled entry point: reset, orders, physics, accounting and observation of many environments.

Combat runs at game-loop resolution. Within a loop all decisions read the same positions, all effects of the loop
land together, then the dead are removed and the living move: no side and no slot is favoured.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

from numba import njit

from envs.skirmish.combat import decide, tick
from envs.skirmish.crew import ASLEEP, CALLER, CHUNK, DONE, NEXT, QUIT, SEEN, SPIN, TICKET, look, put, take
from envs.skirmish.effects import bury, regenerate, strike
from envs.skirmish.kernel import (
    ACCOUNT,
    ADVANCE,
    HUNT,
    IDLE,
    NOBODY,
    OBSERVE,
    ORDERS,
    PHYSICS,
    RESET,
    RESET_LOOPS,
    kernel,
    uniform,
)
from envs.skirmish.movement import move_all
from envs.skirmish.observation import observe
from envs.skirmish.orders import order_all
from envs.skirmish.reward import account
from envs.skirmish.state import World

ENGINE_VERSION = "1.2"
KERNEL_FILES = (
    "kernel",
    "state",
    "orders",
    "targeting",
    "combat",
    "effects",
    "movement",
    "crew",
    "observation",
    "reward",
    "engine",
)
COMPILING = "embedded engine: compiling its kernels, once for this version (less than a minute; cached afterwards)"


@kernel
def game_loop(w: World, e: int) -> None:
    """One game loop."""
    s = w.units
    for u in range(len(w.roster)):
        s[e, u].going, s[e, u].fire = False, NOBODY
        if s[e, u].alive:
            tick(w, e, u)
    for u in range(len(w.roster)):
        if s[e, u].alive:
            decide(w, e, u)
    strike(w, e)
    bury(w, e)
    move_all(w, e)
    for u in range(len(w.roster)):
        if s[e, u].alive:
            regenerate(w, e, u)


@kernel
def place_unit(w: World, e: int, u: int) -> None:
    """Put unit u on its spawn point in its initial state."""
    s, r, k = w.units, w.roster, w.roster[u].kind
    s[e, u].x, s[e, u].y, s[e, u].vx, s[e, u].vy = r[u].spawn_x, r[u].spawn_y, 0.0, 0.0
    s[e, u].home_x, s[e, u].home_y = r[u].spawn_x, r[u].spawn_y
    s[e, u].hp, s[e, u].shield, s[e, u].energy = w.kinds[k].hp_max, w.kinds[k].shield_max, w.kinds[k].energy_start
    s[e, u].cooldown, s[e, u].windup, s[e, u].backswing = 0.0, -1.0, 0.0
    s[e, u].quiet = w.kinds[k].shield_delay
    s[e, u].alive, s[e, u].counted, s[e, u].going, s[e, u].moved = True, False, False, False
    s[e, u].order, s[e, u].aim, s[e, u].target, s[e, u].provoker = IDLE, NOBODY, NOBODY, NOBODY
    s[e, u].rescan, s[e, u].help, s[e, u].fire = 0, 0, NOBODY
    s[e, u].pend_hits, s[e, u].pend_target, s[e, u].pend_time = 0, NOBODY, 0.0
    s[e, u].veer, s[e, u].stuck = 0, 0


@kernel
def standing_order(w: World, e: int, side: int) -> None:
    """Give the order that the map's script gives a side at the spawn; a random point is drawn once for the side."""
    s, order = w.units, w.standing[side]
    code = order.code
    part = uniform(w, e)
    x, y = order.x + part * (order.x2 - order.x), order.y + part * (order.y2 - order.y)
    for u in range(len(w.roster)):
        able = w.kinds[w.roster[u].kind].armed and w.kinds[w.roster[u].kind].speed > 0.0
        if w.roster[u].side == side and able and code in (ADVANCE, HUNT):
            s[e, u].order, s[e, u].order_x, s[e, u].order_y = code, x, y


@kernel
def begin(w: World, e: int, seed: int) -> None:
    """Start an episode: spawn, orders, and the loops that SMAC steps before it looks."""
    w.envs[e].rng = seed
    w.envs[e].steps = 0
    for u in range(len(w.roster)):
        place_unit(w, e, u)
    for a in range(w.rules.n_agents):
        w.agents[e, a].last_action, w.agents[e, a].scripted = NOBODY, NOBODY
    for slot in range(w.lances.shape[1]):
        w.lances[e, slot].time = NOBODY
    for side in range(2):
        standing_order(w, e, side)
    for _ in range(RESET_LOOPS):
        game_loop(w, e)


@kernel
def step_one(w: World, e: int, actions: Any, phases: int) -> None:
    """The phases after a reset, in order."""
    if phases & ORDERS:
        order_all(w, e, actions)
        if w.envs[e].illegal != NOBODY:
            return
    if phases & PHYSICS:
        for _ in range(w.rules.loops):
            game_loop(w, e)
    if phases & ACCOUNT:
        account(w, e)
    if phases & OBSERVE:
        observe(w, e)


def source_stamp() -> int:
    """A number that changes with any kernel's source: numba itself only watches the file of the entry point."""
    text = b"".join((Path(__file__).parent / f"{name}.py").read_bytes() for name in KERNEL_FILES)
    return int.from_bytes(sha256(text).digest()[:7], "big")


@kernel
def run_chunks(w: World, box: Any, calls: Any, actions: Any) -> None:
    """Take chunks of environments and run their phases until none is left. `calls [E]` CALL."""
    size, n = box[CHUNK], len(calls)
    while True:
        first = take(box, NEXT) * size
        if first >= n:
            return
        for e in range(first, min(first + size, n)):
            if calls[e].active:
                if calls[e].phases & RESET:
                    begin(w, e, calls[e].seed)
                step_one(w, e, actions, calls[e].phases)
        take(box, DONE)


@kernel
def await_ticket(box: Any, role: int, seen: int) -> bool:
    """Spin until there is a new ticket; False if none came in time and the helper should sleep."""
    looks = 0
    while look(box, TICKET) == seen:
        looks += 1
        if looks > look(box, SPIN) or look(box, QUIT) != 0:
            put(box, SEEN + role, seen)
            put(box, ASLEEP + role, 1)
            return False
    return True


@kernel
def help_out(w: World, box: Any, calls: Any, actions: Any, role: int) -> None:
    """Work on every ticket until none comes for a while."""
    put(box, ASLEEP + role, 0)
    seen = look(box, SEEN + role)
    while await_ticket(box, role, seen):
        seen = look(box, TICKET)
        run_chunks(w, box, calls, actions)


def _compile(stamp: int) -> Callable[..., None]:
    def step(w, box, calls, actions, role):  # type: ignore[no-untyped-def]
        if stamp < 0:
            return
        if role != CALLER:
            help_out(w, box, calls, actions, role)
            return
        put(box, DONE, 0)
        put(box, NEXT, 0)
        take(box, TICKET)
        run_chunks(w, box, calls, actions)
        chunks = (len(calls) + box[CHUNK] - 1) // box[CHUNK]
        while look(box, DONE) < chunks:
            pass

    try:
        return njit(cache=True, nogil=True, error_model="numpy")(step)
    except RuntimeError:  # numba found no writable folder for its cache
        return njit(nogil=True, error_model="numpy")(step)


step = _compile(source_stamp())


def is_compiled() -> bool:
    """Whether the entry point was used in this process."""
    return bool(step.signatures)  # type: ignore[attr-defined]
