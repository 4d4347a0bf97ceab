"""Scenes with known truth: what is where, down to the pixel.

A scene is a square picture with a ground (a texture or a two-colour pattern) and 0, 1, 2-4 or 9
things on it. Everything follows from a seed; nothing here needs torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from patchlens.scenes import backgrounds, sprites
from patchlens.scenes.vocabulary import BACKGROUNDS, COLOURS, CONCEPTS, OBJECTS, PATTERNS, SHAPES

SIZE = 140
"""Side of an ordinary scene in pixels; 10 x 10 patches of 14."""

Kind = Literal["texture", "pattern", "one", "several", "collage"]
KINDS: tuple[Kind, ...] = ("texture", "pattern", "one", "several", "collage")
_KIND_WEIGHTS = (0.06, 0.06, 0.33, 0.43, 0.12)

_CLASHES: dict[str, tuple[str, ...]] = {
    "grass": ("green",),
    "sand": ("yellow", "orange"),
    "water": ("blue",),
    "bricks": ("red", "orange"),
    "snow": ("white",),
    "flowers": ("green", "white"),
    "night": ("black", "blue"),
    "wood": ("orange",),
}
"""Colours too like a background for a shape on it to be seen."""


@dataclass(frozen=True)
class PlacedObject:
    """A thing in a scene.

    ``colour`` is the key of a shape's colour, None for an object. ``box`` is (left, top, right,
    bottom) in pixels, right and bottom exclusive, around what is visible. ``mask`` is
    ``[height, width]`` bool: the pixels where this thing is seen, nearer things taken out.
    """

    name: str
    colour: str | None
    box: tuple[int, int, int, int]
    mask: NDArray[np.bool_]

    @property
    def centre(self) -> tuple[float, float]:
        """Middle of the box, (x, y) in pixels."""
        left, top, right, bottom = self.box
        return (left + right) / 2, (top + bottom) / 2

    @property
    def keys(self) -> tuple[str, ...]:
        """Keys of every concept that is true of it: its name, and a shape's colour."""
        return (self.name,) if self.colour is None else (self.name, self.colour)


@dataclass(frozen=True)
class Scene:
    """A picture and what is true of it.

    ``picture`` is ``[height, width, 3]`` sRGB. ``background`` is the key of the ground and
    ``pattern_colours`` its two colours where it is a pattern (figure, then ground).
    """

    picture: NDArray[np.uint8]
    kind: Kind
    background: str
    pattern_colours: tuple[str, ...]
    objects: tuple[PlacedObject, ...]
    seed: int

    @property
    def image(self) -> Image.Image:
        """The picture as a PIL image."""
        return Image.fromarray(self.picture)

    @property
    def background_keys(self) -> tuple[str, ...]:
        """Keys of every concept that is true of the ground."""
        return (self.background, *self.pattern_colours)

    def coverage(self, rows: int, cols: int) -> NDArray[np.float32]:
        """How much of each patch each thing covers.

        Args:
            rows: patches down the picture; must divide its height.
            cols: patches across; must divide its width.

        Returns:
            ``[len(objects) + 1, rows, cols]``, each patch summing to 1; the ground comes last.

        Raises:
            ValueError: the grid does not divide the picture.
        """
        height, width = self.picture.shape[:2]
        if height % rows or width % cols:
            raise ValueError(f"expected a grid dividing {height} x {width} px, got {rows} x {cols}")
        masks = np.zeros((len(self.objects) + 1, height, width), np.float32)
        for index, thing in enumerate(self.objects):
            masks[index] = thing.mask
        masks[-1] = 1 - masks[:-1].sum(0)
        blocks = masks.reshape(-1, rows, height // rows, cols, width // cols)
        return blocks.mean(axis=(2, 4), dtype=np.float32)


def make_scene(seed: int, kind: Kind | None = None, size: int = SIZE) -> Scene:
    """Draw the scene of a seed.

    Args:
        seed: same seed, kind and size, same scene.
        kind: one of ``KINDS``; drawn at random when None.
        size: side in pixels, at least 70.

    Raises:
        ValueError: ``size`` is below 70.
    """
    if size < 70:
        raise ValueError(f"expected a side of at least 70 px, got {size}")
    rng = np.random.default_rng([seed, 7919])
    chosen: Kind = kind or KINDS[int(rng.choice(len(KINDS), p=_KIND_WEIGHTS))]
    background, colours, canvas = _ground(chosen, size, rng)
    drawings = _drawings(chosen, size, {background, *colours}, rng)
    placed = _place(chosen, size, drawings, rng)
    picture, objects = _compose(canvas, placed)
    return Scene(picture, chosen, background, colours, objects, seed)


@dataclass(frozen=True)
class _Drawing:
    name: str
    colour: str | None
    picture: Image.Image


def _ground(
    kind: Kind, size: int, rng: np.random.Generator
) -> tuple[str, tuple[str, ...], NDArray[np.uint8]]:
    if kind == "pattern" or (kind not in ("texture",) and rng.random() < 0.15):
        name = str(rng.choice([p.key for p in PATTERNS]))
        first, second = (str(c) for c in rng.choice([c.key for c in COLOURS], 2, replace=False))
        values = (_jittered(first, rng), _jittered(second, rng))
        return name, (first, second), backgrounds.pattern(name, size, values, rng)
    name = str(rng.choice([b.key for b in BACKGROUNDS]))
    return name, (), backgrounds.texture(name, size, rng)


def _jittered(colour: str, rng: np.random.Generator) -> tuple[int, int, int]:
    red, green, blue = (
        int(np.clip(v + rng.integers(-12, 13), 0, 255)) for v in sprites.COLOUR_VALUES[colour]
    )
    return red, green, blue


def _drawings(kind: Kind, size: int, ground: set[str], rng: np.random.Generator) -> list[_Drawing]:
    count = {"texture": 0, "pattern": 0, "one": 1, "collage": 9}.get(kind, int(rng.integers(2, 5)))
    names = _names(count, rng)
    if kind == "several" and rng.random() < 0.25:
        names[1] = names[0]
        rng.shuffle(names)
    low, high = {"one": (42, 100), "several": (36, 56), "collage": (34, 42)}.get(kind, (0, 1))
    taken = ground | {c for g in ground for c in _CLASHES.get(g, ())}
    free = [c.key for c in COLOURS if c.key not in taken]
    colours = {name: str(rng.choice(free)) for name in dict.fromkeys(names)}
    room = min(1.0, size / SIZE) if count > 1 else 1.0
    drawings: list[_Drawing] = []
    for name in names:
        longest = int(min(rng.integers(low, high + 1) * room, 0.7 * size))
        tilt = float(rng.uniform(-15, 15))
        if CONCEPTS[name].sort == "shape":
            value = _jittered(colours[name], rng)
            drawing = sprites.shape(name, value, longest, tilt)
            drawings.append(_Drawing(name, colours[name], drawing))
        else:
            drawing = sprites.emoji(name, longest, tilt, bool(rng.random() < 0.5))
            drawings.append(_Drawing(name, None, drawing))
    return drawings


def _names(count: int, rng: np.random.Generator) -> list[str]:
    shapes = min(int(rng.binomial(count, 0.3)), len(SHAPES))
    names = [
        *rng.choice([s.key for s in SHAPES], shapes, replace=False),
        *rng.choice([o.key for o in OBJECTS], count - shapes, replace=False),
    ]
    rng.shuffle(names)
    return [str(n) for n in names]


def _place(
    kind: Kind, size: int, drawings: list[_Drawing], rng: np.random.Generator
) -> list[tuple[_Drawing, int, int]]:
    if kind == "collage":
        return [_in_cell(d, i, size, rng) for i, d in enumerate(drawings)]
    while True:
        spots = [
            (
                int(rng.integers(0, size - d.picture.width + 1)),
                int(rng.integers(0, size - d.picture.height + 1)),
            )
            for d in drawings
        ]
        boxes = [
            (x, y, x + d.picture.width, y + d.picture.height)
            for (x, y), d in zip(spots, drawings, strict=True)
        ]
        if not any(_overlap(a, b) for i, a in enumerate(boxes) for b in boxes[:i]):
            return [(d, x, y) for (x, y), d in zip(spots, drawings, strict=True)]


def _in_cell(drawing: _Drawing, index: int, size: int, rng: np.random.Generator) -> tuple[_Drawing, int, int]:
    cell = size / 3
    width, height = drawing.picture.size
    x = (index % 3 + 0.5) * cell - width / 2 + rng.uniform(-2, 2)
    y = (index // 3 + 0.5) * cell - height / 2 + rng.uniform(-2, 2)
    return drawing, int(np.clip(x, 0, size - width)), int(np.clip(y, 0, size - height))


def _overlap(a: tuple[int, int, int, int], b: tuple[int, int, int, int]) -> bool:
    """Whether two boxes share more than a sliver (4 px is allowed each way)."""
    across = min(a[2], b[2]) - max(a[0], b[0])
    down = min(a[3], b[3]) - max(a[1], b[1])
    return across > 4 and down > 4


def _compose(
    canvas: NDArray[np.uint8], placed: list[tuple[_Drawing, int, int]]
) -> tuple[NDArray[np.uint8], tuple[PlacedObject, ...]]:
    image = Image.fromarray(canvas)
    owner = np.full(canvas.shape[:2], -1, np.int16)
    for index, (drawing, x, y) in enumerate(placed):
        image.paste(drawing.picture, (x, y), drawing.picture)
        solid = np.asarray(drawing.picture.getchannel("A")) >= 128
        height, width = solid.shape
        owner[y : y + height, x : x + width][solid] = index
    objects: list[PlacedObject] = []
    for index, (drawing, _, _) in enumerate(placed):
        mask = owner == index
        down, across = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        box = (int(across[0]), int(down[0]), int(across[-1]) + 1, int(down[-1]) + 1)
        objects.append(PlacedObject(drawing.name, drawing.colour, box, mask))
    return np.asarray(image), tuple(objects)
