"""Small readings made by hand: real arithmetic over a random-logit vocabulary of telling words, no model."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from patchlens.pictures.grid import Grid, Places, Tile
from patchlens.reading.reading import Reading
from patchlens.reading.records import Answer, ModelInfo, Picture, Positions, Target

WORDS = (
    *("<s>", "</s>", "<image>", "▁what", "▁is", "▁this", "?", "▁cat", "cat", "▁Cat", "▁Katze", "▁кошка"),
    *("猫", "قطة", "▁dog", "▁grass", "▁sky", "▁gira", "ffe", "▁Augen", "▁eyes", "▁", "▁▁▁▁", "\n", "\t"),
    *("<0xE2>", "<0x0A>", "🦒", "שלום", "▁a", "▁the", "▁and", "▁in", ".", ",", "▁red", "▁blue", "▁snow"),
)
HOSTILE = (
    "</script><script>alert(1)</script>",
    "<!--",
    "<img src=x onerror=alert(1)>",
    "\u202egnp",
    "a\u2028b",
    "\x00",
)


@dataclass(frozen=True)
class Row:
    """One position while a reading is being laid out."""

    kind: str
    token: int
    image: int = -1
    tile: int = -1
    row: int = -1
    col: int = -1
    box: tuple[float, float, float, float] = (np.nan,) * 4
    step: int = -1
    generated: bool = False


def make_grid(width: int, height: int, rows: int, cols: int, layout: str = "squash") -> Grid:
    """A picture's grid: "squash" covers it, "crop" its centre, "pad" a square around it, "tiles" two."""
    side = {"crop": min(width, height), "pad": max(width, height)}.get(layout)
    if layout == "tiles":
        half = width / 2
        tiles = tuple(
            Tile(i, rows, cols // 2, 0, i * (cols // 2), i * half, 0.0, (i + 1) * half, float(height))
            for i in range(2)
        )
        return Grid(width, height, rows, cols, tiles)
    if side is None:
        box = (0.0, 0.0, float(width), float(height))
    else:
        left, top = (width - side) / 2, (height - side) / 2
        box = (left, top, left + side, top + side)
    return Grid(width, height, rows, cols, (Tile(0, rows, cols, 0, 0, *box),))


def make_picture(grid: Grid, name: str = "scene.png") -> Picture:
    """A picture with a smooth gradient and a bright square off centre, as PNG."""
    y, x = np.mgrid[0 : grid.height, 0 : grid.width]
    channels = [x * 255 // grid.width, y * 255 // grid.height, np.full_like(x, 96)]
    pixels = np.stack(channels, -1).astype(np.uint8)
    pixels[grid.height // 4 : grid.height // 2, grid.width // 2 : 3 * grid.width // 4] = (250, 200, 40)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return Picture(name, "image/png", buffer.getvalue(), grid)


def patch_rows(grid: Grid, image: int, token: int) -> list[Row]:
    """One row per patch of a picture, tile by tile in reading order, boxes clipped to the picture."""
    rows: list[Row] = []
    for tile in grid.tiles:
        xs = np.clip(np.linspace(tile.left, tile.right, tile.cols + 1), 0, grid.width)
        ys = np.clip(np.linspace(tile.top, tile.bottom, tile.rows + 1), 0, grid.height)
        rows += [
            Row(
                "patch",
                token,
                image,
                tile.index,
                tile.row + r,
                tile.col + c,
                (float(xs[c]), float(ys[r]), float(xs[c + 1]), float(ys[r + 1])),
            )
            for r in range(tile.rows)
            for c in range(tile.cols)
        ]
    return rows


def make_reading(
    *,
    rows: int = 3,
    cols: int = 4,
    size: tuple[int, int] = (80, 60),
    layout: str = "squash",
    pictures: int = 1,
    cross: bool = False,
    n_layers: int = 4,
    layers: Sequence[int] | None = None,
    k: int = 5,
    words: Sequence[str] = WORDS,
    prompt: str = "what is this?",
    prompt_tokens: Sequence[int] = (3, 4, 5, 6),
    answer: Sequence[int] = (7, 18, 1),
    steps: int = 1,
    targets: Sequence[str] = ("cat", "giraffe"),
    name: str = "demo",
    picture_name: str = "scene.png",
    notes: Sequence[str] = (),
    seed: int = 0,
) -> Reading:
    """A whole reading whose statistics are those of one random distribution per layer and position.

    The model "says" ``answer[step]`` ever more surely in the deeper layers at the positions of the steps
    asked for. With ``cross`` the patches are vision states, not positions; ``pictures=0`` is text only.
    """
    grids = [make_grid(*size, rows, cols, layout) for _ in range(pictures)]
    seen = [row for i, grid in enumerate(grids) for row in patch_rows(grid, i, 2)]
    plan = [Row("special", 0)]
    if not cross:
        for i in range(pictures):
            plan += [row for row in seen if row.image == i] + [Row("image_other", 2, i)]
    plan += [Row("text", token) for token in prompt_tokens]
    plan[-1] = Row("text", plan[-1].token, step=0)
    plan += [Row("text", answer[i - 1], step=i, generated=True) for i in range(1, steps)]

    held = np.asarray(range(n_layers + 1) if layers is None else layers, np.int32)
    logits = np.random.default_rng(seed).normal(0, 2, (n_layers + 1, len(plan), len(words)))
    for column, row in enumerate(plan):
        if row.step >= 0:
            logits[:, column, answer[row.step]] += np.linspace(-2, 9, n_layers + 1)
    followed = tuple(_target(word, words) for word in targets)
    shown = {row.token for row in plan} | {target.token for target in followed} | set(answer)
    stats = _statistics(logits, held, k, [target.token for target in followed])
    return Reading(
        model=ModelInfo(name, "0123abcd", "llava", "float32", n_layers, 64, len(words)),
        lens="logit",
        lens_params={},
        prompt=prompt,
        answer=Answer("".join(words[i] for i in answer[:-1]).replace("▁", " ").strip(), tuple(answer)),
        layers=held,
        positions=Positions(
            *_places(plan),
            index=np.arange(len(plan), dtype=np.int32),
            token=np.array([row.token for row in plan], np.int32),
            step=np.array([row.step for row in plan], np.int32),
            generated=np.array([row.generated for row in plan]),
        ),
        pieces={i: words[i] for i in sorted(shown.union(np.unique(stats["top_ids"]).tolist()))},
        targets=followed,
        pictures=tuple(make_picture(grid, picture_name) for grid in grids),
        vision=Places(*_places(seen)) if cross and seen else None,
        notes=tuple(notes),
        **stats,
    )


def _target(word: str, words: Sequence[str]) -> Target:
    whole = "▁" + word
    if whole in words:
        return Target(word, words.index(whole), (whole,))
    first = next(i for i, piece in enumerate(words) if len(piece) > 1 and whole.startswith(piece))
    return Target(word, first, (words[first], whole.removeprefix(words[first])))


def _places(plan: Sequence[Row]) -> tuple[NDArray[Any], ...]:
    columns = ("image", "tile", "row", "col")
    box = np.array([row.box for row in plan], np.float32).reshape(-1, 4)
    return (
        np.array([row.kind for row in plan], "U11"),
        *(np.array([getattr(row, name) for row in plan], np.int32) for name in columns),
        box,
    )


def _statistics(
    logits: NDArray[np.float64], held: NDArray[np.int32], k: int, targets: list[int]
) -> dict[str, Any]:
    logsumexp = np.logaddexp.reduce(logits, -1)
    logprobs = logits - logsumexp[..., None]
    final, rows = logprobs[-1], logprobs[held]
    top_ids = np.argsort(-rows, -1, kind="stable")[..., :k].astype(np.int32)
    ranks = (rows[..., None, :] > rows[..., targets][..., None]).sum(-1).astype(np.int32)
    return {
        "top_ids": top_ids,
        "top_logprobs": np.take_along_axis(rows, top_ids, -1).astype(np.float32),
        "entropy": (-(np.exp(rows) * rows).sum(-1)).astype(np.float32),
        "kl_to_final": (np.exp(final) * (final - rows)).sum(-1).astype(np.float32),
        "logsumexp": logsumexp[held].astype(np.float32),
        "target_logprobs": rows[..., targets].astype(np.float32),
        "target_ranks": ranks,
        "target_ranks_upper": ranks,
    }
