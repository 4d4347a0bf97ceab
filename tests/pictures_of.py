"""Pictures of noise, in memory or on disk."""

from pathlib import Path

import numpy as np
from PIL import Image


def noise(seed: int, width: int = 50, height: int = 40) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 255, (height, width, 3), np.uint8))


def folder_of_noise(folder: Path, count: int) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for seed in range(count):
        noise(seed).save(folder / f"{seed:03d}.png")
    return folder
