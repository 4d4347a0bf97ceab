"""What is true of each patch of a scene, from how much of it each thing covers."""

from __future__ import annotations

from patchlens.scenes.scene import Scene


def labels_of(scene: Scene, rows: int, cols: int, least: float = 0.5) -> list[set[str]]:
    """Keys of whatever covers at least that part of a patch, patches in reading order."""
    covered = (scene.coverage(rows, cols) >= least).reshape(-1, rows * cols)
    keys = [*(thing.keys for thing in scene.objects), scene.background_keys]
    return [
        {key for own, there in zip(keys, patch, strict=True) if there for key in own} for patch in covered.T
    ]
