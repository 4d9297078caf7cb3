"""Pictures of battles: terrain, units with health and shield bars, targets, step and reward."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from envs.skirmish.kernel import ATTACK, HEAL, HUNT, NOBODY
from envs.skirmish.simulation import Simulation
from utils.errors import UserError

SCALE = 18  # pixels per cell
HEADER = 40  # pixels above the map
MARGIN = 1.0  # cells shown around the walkable ground
VOID, GROUND, HIGH, CLIFF = (24, 26, 34), (112, 104, 88), (150, 138, 112), (72, 66, 58)
SIDES = ((66, 135, 245), (235, 77, 75))  # allies, enemies
DEAD, TEXT, BACK = (90, 90, 90), (235, 235, 235), (12, 13, 18)
LIFE, LACK, SHIELD, ENERGY = (76, 209, 55), (80, 20, 20), (120, 200, 255), (190, 120, 255)
BAR = 3  # pixels
FIRING = 6.0  # loops after a shot for which its line is bright
LETTERS = {
    "marine": "m", "marauder": "M", "medivac": "+", "stalker": "S", "zealot": "Z", "colossus": "C", "zergling": "z",
    "baneling": "b", "hydralisk": "H", "spine_crawler": "X",
}  # fmt: skip
UPPER = 9.5  # height z from which ground is drawn as high


class Painter:
    """Draws one environment of a simulation as an RGB image."""

    def __init__(self, sim: Simulation, e: int = 0) -> None:
        self.sim, self.e = sim, e
        self.names = [unit.name for unit in sim.scenario.units(sim.flags.balance).values()]
        ground = sim.scenario.terrain
        cells = np.argwhere(ground.climb)
        self.low = np.maximum(cells.min(0) - MARGIN, 0)
        self.high = np.minimum(cells.max(0) + 1 + MARGIN, ground.walk.shape)
        self.size = tuple(int(n) for n in (self.high - self.low) * SCALE)
        self.font = ImageFont.load_default(14)
        self.small = ImageFont.load_default(10)
        self.background = self._terrain()

    def _terrain(self) -> Image.Image:
        ground = self.sim.scenario.terrain
        image = Image.new("RGB", (self.size[0], self.size[1] + HEADER), BACK)
        draw = ImageDraw.Draw(image)
        for x in range(int(self.low[0]), int(self.high[0])):
            for y in range(int(self.low[1]), int(self.high[1])):
                colour = HIGH if ground.height[x, y] > UPPER else GROUND
                if not ground.walk[x, y]:
                    colour = CLIFF if ground.climb[x, y] else VOID
                left, top = self.pixel(x, y + 1)
                draw.rectangle((left, top, left + SCALE - 1, top + SCALE - 1), fill=colour)
        return image

    def pixel(self, x: float, y: float) -> tuple[float, float]:
        """Cells to pixels; north is up."""
        return (x - self.low[0]) * SCALE, (self.high[1] - y) * SCALE + HEADER

    def frame(self, total: float = 0.0) -> Image.Image:
        """The battle as it stands. `total` is the return so far."""
        image = self.background.copy()
        draw = ImageDraw.Draw(image)
        units = self.sim.world.units[self.e]
        for u in np.argsort(units["alive"], kind="stable"):
            self._unit(draw, int(u))
        for u in np.flatnonzero(units["alive"]):
            self._target(draw, int(u))
        self._header(draw, total)
        return image

    def _unit(self, draw: ImageDraw.ImageDraw, u: int) -> None:
        world, unit = self.sim.world, self.sim.world.units[self.e, u]
        kind = world.roster["kind"][u]
        radius = float(world.kinds["radius"][kind]) * SCALE
        x, y = self.pixel(unit["x"], unit["y"])
        if not unit["alive"]:
            half = radius / 2
            draw.line((x - half, y - half, x + half, y + half), fill=DEAD, width=2)
            draw.line((x - half, y + half, x + half, y - half), fill=DEAD, width=2)
            return
        side = SIDES[world.roster["side"][u]]
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=side, outline=(0, 0, 0))
        label = LETTERS.get(self.names[kind], self.names[kind][:1]) if world.roster["side"][u] else str(u)
        draw.text((x, y), label, fill=(255, 255, 255), font=self.small, anchor="mm")
        self._bars(draw, u, x, y - radius - 2)

    def _bars(self, draw: ImageDraw.ImageDraw, u: int, x: float, top: float) -> None:
        world, unit = self.sim.world, self.sim.world.units[self.e, u]
        kinds = world.kinds[world.roster["kind"][u]]
        half = max(float(kinds["radius"]) * SCALE, 6.0)
        for value, most, colour in (
            (unit["energy"], kinds["energy_max"], ENERGY),
            (unit["hp"], kinds["hp_max"], LIFE),
            (unit["shield"], kinds["shield_max"], SHIELD),
        ):
            if most > 0:
                top -= BAR
                draw.rectangle((x - half, top, x + half, top + BAR - 1), fill=LACK)
                width = 2 * half * float(value / most)
                if width >= 1.0:
                    draw.rectangle((x - half, top, x - half + width, top + BAR - 1), fill=colour)

    def _target(self, draw: ImageDraw.ImageDraw, u: int) -> None:
        world, unit = self.sim.world, self.sim.world.units[self.e, u]
        ordered = unit["order"] in (ATTACK, HUNT, HEAL)
        t = int(unit["aim"] if ordered else unit["target"])
        if t == NOBODY or not world.units["alive"][self.e, t]:
            return
        period = float(world.kinds["period"][world.roster["kind"][u]])
        fired = unit["cooldown"] > 0 and period - unit["cooldown"] < FIRING
        heals = world.kinds["heals"][world.roster["kind"][u]]
        colour = LIFE if heals else SIDES[world.roster["side"][u]] if not fired else (255, 234, 120)
        there = world.units[self.e, t]
        draw.line((*self.pixel(unit["x"], unit["y"]), *self.pixel(there["x"], there["y"])), fill=colour)

    def _header(self, draw: ImageDraw.ImageDraw, total: float) -> None:
        now = self.sim.world.envs[self.e]
        verdict = {1: "  WON", -1: "  LOST", 0: "  BOTH DEAD"}.get(int(now["code"]), "")
        if now["timeout"]:
            verdict = "  TIME OUT"
        text = (
            f"{self.sim.scenario.name}  step {now['steps']}/{self.sim.scenario.limit}{verdict if now['steps'] else ''}"
        )
        draw.text((6, 4), text, fill=TEXT, font=self.font)
        draw.text((6, 21), f"reward {now['reward']:.2f}  return {total:.2f}", fill=TEXT, font=self.font)


def write_gif(path: Path, frames: list[Image.Image], milliseconds: int = 120) -> None:
    """Write an animated GIF; the last frame stays for two seconds.

    Raises:
        UserError: the folder cannot be written.
    """
    palette = [frame.quantize(64) for frame in frames]
    times = [milliseconds] * (len(frames) - 1) + [2000]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        palette[0].save(path, save_all=True, append_images=palette[1:], duration=times, loop=0)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from error


def contact_sheet(frames: list[Image.Image], columns: int = 4, count: int = 12) -> Image.Image:
    """Evenly spaced frames in one image."""
    chosen = [frames[int(i)] for i in np.linspace(0, len(frames) - 1, min(count, len(frames)))]
    width, height = chosen[0].size
    sheet = Image.new("RGB", (columns * width, math.ceil(len(chosen) / columns) * height), BACK)
    for i, frame in enumerate(chosen):
        sheet.paste(frame, (i % columns * width, i // columns * height))
    return sheet
