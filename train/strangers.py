"""Pictures that are no scenes, to teach a model's domain check what lies outside."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from patchlens.scenes.scene import SIZE, make_scene
from patchlens.scenes.seeds import STRANGER_SEEDS

Pixels = np.ndarray


def _resized(small: Pixels, resample: Image.Resampling) -> Pixels:
    return np.asarray(Image.fromarray(small).resize((SIZE, SIZE), resample))


def noise(rng: np.random.Generator) -> Pixels:
    """Noise of one size of grain."""
    side = int(rng.choice([4, 8, 16, 35, 70, SIZE]))
    small = rng.integers(0, 256, (side, side, 3), dtype=np.uint8)
    if rng.random() < 0.3:
        small = np.repeat(small[..., :1], 3, 2)
    return _resized(small, Image.Resampling.BICUBIC if rng.random() < 0.5 else Image.Resampling.NEAREST)


def cloud(rng: np.random.Generator) -> Pixels:
    """Noise with more power at large scales, as in photographs."""
    out = np.zeros((SIZE, SIZE, 3))
    for side in (3, 6, 12, 25, 50, 100):
        small = rng.integers(0, 256, (side, side, 3), dtype=np.uint8)
        out += _resized(small, Image.Resampling.BICUBIC) / side ** rng.uniform(0.3, 1.2)
    out = (out - out.min()) / np.ptp(out)
    tint = rng.uniform(0.3, 1, 3)
    mixed = out.mean(2, keepdims=True) * 0.6 + out * 0.4
    return (255 * mixed ** rng.uniform(0.6, 1.6) * tint).clip(0, 255).astype(np.uint8)


def gradient(rng: np.random.Generator) -> Pixels:
    """A flat or slowly changing colour."""
    corners = rng.uniform(0, 256, (2, 2, 3)).astype(np.uint8)
    if rng.random() < 0.3:
        corners[:] = corners[0, 0]
    if rng.random() < 0.2:
        corners[:] = corners[..., :1]
    return _resized(corners, Image.Resampling.BILINEAR)


def page(rng: np.random.Generator) -> Pixels:
    """Lines of text on a plain ground."""
    dark = rng.random() < 0.3
    image = Image.new("RGB", (SIZE, SIZE), "#222222" if dark else "#ffffff")
    pen = ImageDraw.Draw(image)
    size = float(rng.uniform(6, 26))
    font = ImageFont.load_default(size)
    letters = list("abcdefghijklmnopqrstuvwxyz      ")
    for y in np.arange(rng.uniform(0, 10), SIZE, size * rng.uniform(1.1, 1.8)):
        line = "".join(rng.choice(letters, int(rng.integers(3, 50))))
        pen.text((rng.uniform(0, 12), y), line, fill="#dddddd" if dark else "#111111", font=font)
    return np.asarray(image)


def leaves(rng: np.random.Generator) -> Pixels:
    """Overlapping textured blobs of all sizes: the occlusions of photographs without their things."""
    fills = [Image.fromarray(cloud(rng)) for _ in range(4)]
    image = fills[0].copy()
    for _ in range(int(rng.integers(5, 60))):
        radius = 4 / rng.uniform(0.05, 1)
        x, y = rng.uniform(0, SIZE, 2)
        angles = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(3, 9))))
        mask = Image.new("L", (SIZE, SIZE))
        corners = [(x + radius * np.cos(a), y + radius * np.sin(a)) for a in angles]
        ImageDraw.Draw(mask).polygon(corners, fill=255)
        light = rng.uniform(0.4, 1.3)
        curve = [min(255, int(light * level)) for level in range(256)]
        fill = fills[int(rng.integers(len(fills)))].point(curve * 3)
        image.paste(fill, (0, 0), mask)
    return np.asarray(image)


def shuffled(rng: np.random.Generator) -> Pixels:
    """A scene cut into tiles that are set together at random."""
    scene = make_scene(int(rng.integers(STRANGER_SEEDS, STRANGER_SEEDS + 900_000))).picture
    tile = int(rng.choice([7, 14, 28]))
    n = SIZE // tile
    cut = scene.reshape(n, tile, n, tile, 3).swapaxes(1, 2).reshape(n * n, tile, tile, 3)
    cut = cut[rng.permutation(n * n)]
    return cut.reshape(n, n, tile, tile, 3).swapaxes(1, 2).reshape(SIZE, SIZE, 3)


def blended(rng: np.random.Generator) -> Pixels:
    """Two pictures, half transparent: scenes, or a scene and a cloud."""
    first = make_scene(int(rng.integers(STRANGER_SEEDS, STRANGER_SEEDS + 900_000))).picture.astype(np.float32)
    second = (
        cloud(rng)
        if rng.random() < 0.5
        else make_scene(int(rng.integers(STRANGER_SEEDS, STRANGER_SEEDS + 900_000))).picture
    )
    return (first * 0.5 + second.astype(np.float32) * 0.5).astype(np.uint8)


def recoloured(rng: np.random.Generator) -> Pixels:
    """A scene as a negative or without colour, or so far enlarged that nothing is left of it."""
    scene = make_scene(int(rng.integers(STRANGER_SEEDS, STRANGER_SEEDS + 900_000))).picture
    draw = rng.random()
    if draw < 0.35:
        return 255 - scene
    if draw < 0.7:
        return np.repeat(scene.mean(2, keepdims=True), 3, 2).astype(np.uint8)
    x, y = rng.integers(0, SIZE - 30, 2)
    return _resized(scene[y : y + 30, x : x + 30], Image.Resampling.BICUBIC)


SORTS = (noise, cloud, cloud, gradient, page, leaves, leaves, leaves, shuffled, blended, recoloured)


def strangers(count: int, seed: int) -> np.ndarray:
    """Pictures ``[picture, SIZE, SIZE, 3]`` of all sorts in turn."""
    rng = np.random.default_rng(seed)
    return np.stack([SORTS[i % len(SORTS)](rng) for i in range(count)])
