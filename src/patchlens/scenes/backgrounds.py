"""Procedural grounds of the scenes: eight textures and three two-colour patterns."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Pixels = NDArray[np.floating[Any]]
"""``[height, width, 3]``, sRGB 0-255, not yet clipped."""
Noise = NDArray[np.float32]
"""``[height, width]``, -1..1, or a colour."""
Colour = tuple[float, float, float]


def texture(name: str, size: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """A square of one of the natural grounds.

    Args:
        name: key of a background, e.g. ``"grass"``.
        size: side in pixels.
        rng: source of its variation.

    Returns:
        ``[size, size, 3]`` sRGB.

    Raises:
        KeyError: no such background.
    """
    return _finish(TEXTURES[name](size, rng))


def pattern(
    name: str, size: int, colours: tuple[Colour, Colour], rng: np.random.Generator
) -> NDArray[np.uint8]:
    """A square of stripes, dots or checks in two colours (sRGB 0-255).

    Returns:
        ``[size, size, 3]`` sRGB; the first colour is the figure, the second the ground.

    Raises:
        KeyError: no such pattern.
    """
    period = float(rng.uniform(14, 26))
    angle = float(rng.uniform(0, math.pi))
    shift = rng.uniform(0, period, 2)
    y, x = np.mgrid[0:size, 0:size].astype(np.float32)
    if name != "stripes":
        angle = float(rng.choice([0.0, math.pi / 4]))
    u = x * math.cos(angle) + y * math.sin(angle) + shift[0]
    v = -x * math.sin(angle) + y * math.cos(angle) + shift[1]
    figure = {
        "stripes": lambda: (u % period) < period * 0.5,
        "dots": lambda: np.hypot(u % period - period / 2, v % period - period / 2) < period * 0.3,
        "checks": lambda: ((u // (period / 1.6)) + (v // (period / 1.6))) % 2 < 1,
    }[name]()
    first, second = (np.asarray(c, np.float32) for c in colours)
    pixels = np.where(figure[..., None], first, second).astype(np.float32)
    return _finish(pixels + 4 * _noise(rng, size, size, size)[..., None])


def _finish(pixels: Pixels) -> NDArray[np.uint8]:
    return np.clip(pixels, 0, 255).astype(np.uint8)


def _noise(rng: np.random.Generator, size: int, rows: int, cols: int) -> Noise:
    """Noise in -1..1 with ``rows`` x ``cols`` features over a ``size`` square."""
    coarse = rng.integers(0, 256, (max(rows, 2), max(cols, 2)), dtype=np.uint8)
    grey = Image.fromarray(coarse).resize((size, size), Image.Resampling.BICUBIC)
    return np.asarray(grey, np.float32) / 127.5 - 1


def _base(rng: np.random.Generator, colour: Colour, jitter: float = 12) -> Noise:
    return np.asarray(colour, np.float32) + rng.uniform(-jitter, jitter, 3).astype(np.float32)


def _grey(noise: Noise, strength: float) -> Pixels:
    return (strength * noise)[..., None] * np.ones(3, np.float32)


def _grass(size: int, rng: np.random.Generator) -> Pixels:
    blades = _grey(_noise(rng, size, size // 9, size), 26) + _grey(_noise(rng, size, 5, 5), 12)
    return _base(rng, (92, 158, 58)) + blades * np.asarray([0.8, 1.0, 0.5], np.float32)


def _sand(size: int, rng: np.random.Generator) -> Pixels:
    y, x = np.mgrid[0:size, 0:size].astype(np.float32)
    bend = 6 * _noise(rng, size, 4, 4)
    period = rng.uniform(10, 18)
    waves = np.sin((y + bend + x * rng.uniform(-0.3, 0.3)) * (2 * math.pi / period))
    grains = _grey(_noise(rng, size, size, size), 12)
    return _base(rng, (226, 196, 140)) + grains + _grey(waves.astype(np.float32), 9)


def _water(size: int, rng: np.random.Generator) -> Pixels:
    ripples = _noise(rng, size, size // 4, size // 16)
    light = np.clip(_noise(rng, size, size // 5, size // 14) - 0.45, 0, 1)
    return _base(rng, (48, 128, 190)) + _grey(ripples, 20) + _grey(light, 150)


def _bricks(size: int, rng: np.random.Generator) -> Pixels:
    height, width = int(rng.integers(10, 15)), int(rng.integers(22, 32))
    y, x = np.mgrid[0:size, 0:size] + rng.integers(0, 40, (2, 1, 1))
    course = y // height
    along = x + (course % 2) * (width // 2)
    joint = (y % height < 2) | (along % width < 2)
    tint = rng.uniform(-22, 22, (course.max() + 1, along.max() // width + 1)).astype(np.float32)
    wall = _base(rng, (168, 82, 62)) + _grey(tint[course, along // width], 1.0)
    mortar = _base(rng, (196, 188, 178), 8)
    grain = _grey(_noise(rng, size, size, size), 8)
    return np.where(joint[..., None], mortar, wall).astype(np.float32) + grain


def _snow(size: int, rng: np.random.Generator) -> Pixels:
    drifts = _noise(rng, size, 6, 3) - 0.6
    glints = (rng.random((size, size)) < 0.004).astype(np.float32)
    blue = np.asarray([1.0, 0.75, 0.35], np.float32)
    return _base(rng, (236, 240, 248), 5) + _grey(drifts, 20) * blue + _grey(glints, 60)


def _flowers(size: int, rng: np.random.Generator) -> Pixels:
    meadow = _finish(_base(rng, (84, 140, 62)) + _grey(_noise(rng, size, size // 5, size // 3), 22))
    canvas = Image.fromarray(meadow)
    pen = ImageDraw.Draw(canvas)
    petals = ("#f7a8c8", "#ffffff", "#e05a9a", "#c9a0f0")
    for _ in range(size * size // 260):
        x, y = rng.uniform(0, size, 2)
        radius, turn = rng.uniform(2.6, 4.2), rng.uniform(0, math.pi)
        petal = petals[int(rng.integers(len(petals)))]
        for k in range(5):
            angle = turn + k * 2 * math.pi / 5
            cx, cy = x + radius * math.cos(angle), y + radius * math.sin(angle)
            r = radius * 0.62
            pen.ellipse((cx - r, cy - r, cx + r, cy + r), fill=petal)
        pen.ellipse((x - 1.5, y - 1.5, x + 1.5, y + 1.5), fill="#f6c832")
    return np.asarray(canvas, np.float32)


def _night(size: int, rng: np.random.Generator) -> Pixels:
    fade = np.linspace(-10, 16, size, dtype=np.float32)[:, None, None] * np.ones((1, size, 3), np.float32)
    sky = _base(rng, (20, 24, 58), 8) + fade + _grey(_noise(rng, size, 5, 5), 7)
    canvas = Image.fromarray(_finish(sky))
    pen = ImageDraw.Draw(canvas)
    for _ in range(size * size // 260):
        x, y = rng.uniform(0, size, 2)
        r = float(rng.choice([0.4, 0.7, 1.1], p=[0.5, 0.35, 0.15]))
        level = int(rng.integers(150, 256))
        pen.ellipse((x - r, y - r, x + r, y + r), fill=(level, level, 215))
    return np.asarray(canvas, np.float32)


def _wood(size: int, rng: np.random.Generator) -> Pixels:
    height = int(rng.integers(20, 34))
    y = np.arange(size) + int(rng.integers(0, height))
    plank = y // height
    tint = rng.uniform(-16, 16, int(plank.max()) + 1).astype(np.float32)
    board = _base(rng, (158, 112, 68)) + tint[plank][:, None, None]
    veins = _grey(_noise(rng, size, size, 4), 15) + _grey(_noise(rng, size, size // 3, 3), 9)
    gap = (y % height < 2)[:, None, None] * np.float32(-60)
    return (board + veins + gap).astype(np.float32)


TEXTURES: dict[str, Callable[[int, np.random.Generator], Pixels]] = {
    "grass": _grass,
    "sand": _sand,
    "water": _water,
    "bricks": _bricks,
    "snow": _snow,
    "flowers": _flowers,
    "night": _night,
    "wood": _wood,
}
