"""Pictures of single things: emoji from the shipped sheet, and coloured shapes."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

COLOUR_VALUES: dict[str, tuple[int, int, int]] = {
    "red": (214, 40, 40),
    "orange": (245, 135, 20),
    "yellow": (250, 220, 40),
    "green": (40, 160, 60),
    "blue": (40, 90, 215),
    "purple": (140, 60, 175),
    "black": (25, 25, 28),
    "white": (246, 246, 246),
}
"""sRGB of each colour before jitter."""

_SUPERSAMPLE = 3


@dataclass(frozen=True)
class Sheet:
    """The sprite sheet: one RGBA square of ``cell`` pixels per object."""

    picture: Image.Image
    cell: int
    places: dict[str, tuple[int, int]]

    def sprite(self, name: str) -> Image.Image:
        """The RGBA square of an object; its alpha is its mask.

        Raises:
            KeyError: the sheet has no such object.
        """
        left, top = self.places[name]
        return self.picture.crop((left, top, left + self.cell, top + self.cell))


@cache
def sheet() -> Sheet:
    """The sheet shipped with the package, read once."""
    folder = files("patchlens.scenes") / "assets"
    index: dict[str, Any] = json.loads((folder / "sprites.json").read_text(encoding="utf-8"))
    picture = Image.open(BytesIO((folder / "sprites.png").read_bytes())).convert("RGBA")
    places = {name: (int(x), int(y)) for name, (x, y) in index["places"].items()}
    return Sheet(picture, int(index["cell"]), places)


def emoji(name: str, size: int, tilt: float, mirror: bool) -> Image.Image:
    """An object drawn anew: RGBA, cropped to what is visible.

    Args:
        name: key of an object.
        size: longer side of the untilted object, in pixels.
        tilt: degrees, anticlockwise.
        mirror: flip left and right.
    """
    picture = sheet().sprite(name)
    if mirror:
        picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    # Premultiplied alpha keeps dark fringes out of rotated and shrunken edges.
    picture = picture.convert("RGBa").resize((size, size), Image.Resampling.BILINEAR)
    picture = picture.rotate(tilt, Image.Resampling.BILINEAR, expand=True)
    return _cropped(picture.convert("RGBA"))


def shape(name: str, colour: tuple[int, int, int], size: int, tilt: float) -> Image.Image:
    """A filled shape: RGBA, cropped to what is visible.

    Args:
        name: key of a shape.
        colour: sRGB, 0-255.
        size: diameter of the shape's circle, in pixels.
        tilt: degrees, anticlockwise.
    """
    side = size * _SUPERSAMPLE
    alpha = Image.new("L", (side, side))
    pen = ImageDraw.Draw(alpha)
    if name == "circle":
        pen.ellipse((0, 0, side - 1, side - 1), fill=255)
    else:
        middle = side / 2
        points = [(middle + x * middle, middle - y * middle) for x, y in outline(name, tilt)]
        pen.polygon(points, fill=255)
    picture = Image.new("RGBA", (size, size), (*colour, 0))
    picture.putalpha(alpha.resize((size, size), Image.Resampling.BOX))
    return _cropped(picture)


def outline(name: str, tilt: float) -> list[tuple[float, float]]:
    """Corner points of a shape in the unit circle (x to the right, y up), tilted by degrees.

    Raises:
        KeyError: no such shape, or a circle, which has no corners.
    """
    turn = math.radians(tilt)
    cos, sin = math.cos(turn), math.sin(turn)
    return [(x * cos - y * sin, x * sin + y * cos) for x, y in _upright_outlines()[name]]


@cache
def _upright_outlines() -> dict[str, tuple[tuple[float, float], ...]]:
    def ring(angles: list[float], radii: list[float]) -> tuple[tuple[float, float], ...]:
        return tuple(
            (r * math.cos(math.radians(a)), r * math.sin(math.radians(a)))
            for a, r in zip(angles, radii, strict=True)
        )

    t = np.linspace(0, 2 * math.pi, 48, endpoint=False)
    heart_x = 16 * np.sin(t) ** 3 / 17
    heart_y = (13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t) + 2) / 17
    arm = 0.3
    quarter = [(arm, 0.95), (arm, arm), (0.95, arm)]
    cross = [
        (sx * x, sy * y)
        for sx, sy, corner in (
            (1, 1, quarter),
            (1, -1, quarter[::-1]),
            (-1, -1, quarter),
            (-1, 1, quarter[::-1]),
        )
        for x, y in corner
    ]
    return {
        "square": ring([45, 135, 225, 315], [1.0] * 4),
        "triangle": ring([90, 210, 330], [1.0] * 3),
        "star": ring([90 + 36 * i for i in range(10)], [1.0, 0.45] * 5),
        "heart": tuple((float(x), float(y)) for x, y in zip(heart_x, heart_y, strict=True)),
        "cross": tuple(cross),
    }


def _cropped(picture: Image.Image) -> Image.Image:
    box = picture.getchannel("A").point([0] * 128 + [255] * 128).getbbox()
    if box is None:
        raise ValueError(f"expected something visible, got an empty drawing of {picture.size} px")
    return picture.crop(box)
