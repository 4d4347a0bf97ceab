"""Draw the training scenes once and keep them as arrays on disk."""

from __future__ import annotations

import pickle
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from patchlens.scenes.scene import SIZE, Scene, make_scene

GRID = 10
SLOTS = 10
"""Things of a scene (nine at most), then its ground in the last slot."""

_NO_MASK = np.zeros((0, 0), bool)


@dataclass(frozen=True)
class Rendered:
    """Pictures ``[scene, height, width, 3]``, coverage ``[scene, SLOTS, patch]`` and the truths.

    The scenes are without their pixels and masks.
    """

    pictures: np.ndarray
    coverage: np.ndarray
    scenes: list[Scene]

    def sample(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """Sorted indices of different scenes."""
        return np.sort(rng.choice(len(self.scenes), count, replace=False))


def bare(scene: Scene) -> Scene:
    """The truth of a scene without pixels, which is all that questions need."""
    objects = tuple(replace(o, mask=_NO_MASK) for o in scene.objects)
    return replace(scene, picture=np.zeros((*scene.picture.shape[:2], 0), np.uint8), objects=objects)


def slots(scene: Scene, grid: int) -> np.ndarray:
    """Coverage in fixed slots, ``[SLOTS, grid * grid]``, the ground last."""
    coverage = scene.coverage(grid, grid).reshape(-1, grid * grid)
    out = np.zeros((SLOTS, grid * grid), np.float32)
    out[: len(coverage) - 1] = coverage[:-1]
    out[-1] = coverage[-1]
    return out


def _some(job: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray, list[Scene]]:
    first, count, size = job
    kinds = ("one", "one", "texture", "pattern") if size < SIZE else (None,)
    scenes = [make_scene(first + i, kinds[i % len(kinds)], size) for i in range(count)]
    grid = size // 14
    coverage = np.stack([slots(s, grid) for s in scenes]).astype(np.float16)
    return np.stack([s.picture for s in scenes]), coverage, [bare(s) for s in scenes]


def render(folder: Path, name: str, first_seed: int, count: int, size: int = SIZE) -> Rendered:
    """Draw scenes of consecutive seeds, or read them back if ``folder`` has them."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"{name}-{count}.{end}" for end in ("pictures.npy", "coverage.npy", "pickle")]
    if not all(f.exists() for f in files):
        chunk = 1000
        jobs = [(first_seed + i, min(chunk, count - i), size) for i in range(0, count, chunk)]
        with ProcessPoolExecutor(2) as pool:
            parts = list(pool.map(_some, jobs))
        np.save(files[0], np.concatenate([p[0] for p in parts]))
        np.save(files[1], np.concatenate([p[1] for p in parts]))
        files[2].write_bytes(pickle.dumps([s for p in parts for s in p[2]]))
    return Rendered(np.load(files[0], mmap_mode="r"), np.load(files[1]), pickle.loads(files[2].read_bytes()))
