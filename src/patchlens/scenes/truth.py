"""What is true of a picture: which thing covers how much of each patch, whatever the patches' geometry."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from patchlens.scenes.phrases import ASK
from patchlens.scenes.questions import Question, caption
from patchlens.scenes.scene import Scene

COVERED: Final = 0.5
"""Least part of a patch that a thing covers where its name is true."""
EMPTY: Final = 0.999
"""Least part of a patch that nothing covers where every thing's name is false."""
_SLACK: Final = 1e-6


@dataclass(frozen=True)
class Thing:
    """Something in a picture: what it is called, what else is true of it, and where it is seen.

    ``name`` and ``traits`` (a colour, say) are keys of concepts; ``mask`` is ``[height, width]`` bool.
    """

    name: str
    mask: NDArray[np.bool_]
    traits: tuple[str, ...] = ()

    @property
    def keys(self) -> tuple[str, ...]:
        """Every concept that is true of it."""
        return (self.name, *self.traits)


@dataclass(frozen=True)
class Labelled:
    """A picture with what is true of it.

    ``picture`` is ``[height, width, 3]`` sRGB; ``ground`` holds the keys of concepts that are true wherever
    there is no thing, none if that is not known. ``prompt`` is what the model is asked, ``answer`` the true
    answer, empty if not known; ``caption`` asks for a sentence that names every thing.
    """

    name: str
    picture: NDArray[np.uint8]
    things: tuple[Thing, ...]
    ground: tuple[str, ...]
    prompt: str
    answer: str = ""
    caption: Question | None = None


@dataclass(frozen=True)
class Truth:
    """What is true of the patches of one picture.

    ``names`` are the different names of its things and ``covered`` ``[name, patch]`` where a thing of that
    name covers half of a patch or more. ``true_keys`` holds for each patch every concept true of what covers
    it, ``empty`` ``[patch]`` where there is nothing but ground.
    """

    names: tuple[str, ...]
    covered: NDArray[np.bool_]
    true_keys: tuple[frozenset[str], ...]
    empty: NDArray[np.bool_]
    ground: tuple[str, ...]


def labelled_scene(scene: Scene, question: Question) -> Labelled:
    """A drawn scene and a question on it; a thing's traits are a shape's colour."""
    things = tuple(Thing(thing.name, thing.mask, thing.keys[1:]) for thing in scene.objects)
    name = f"scene {scene.seed}"
    described = Question("caption", "en", ASK["caption"]["en"][0], caption(scene, "en"), ())
    return Labelled(
        *(name, scene.picture, things, scene.background_keys, question.prompt, question.answer),
        caption=described,
    )


def coverage(masks: NDArray[np.bool_], boxes: NDArray[np.floating]) -> NDArray[np.float64]:
    """How much of each patch each mask covers.

    Exact for any box: a mask's integral is linear between pixel borders, so four of its values give the area.

    Args:
        masks: ``[mask, height, width]`` in pixels of the original picture.
        boxes: ``[patch, 4]``: left, top, right, bottom in the same pixels, within the picture (as
            `patchlens.pictures.grid.boxes` gives them).

    Returns:
        ``[mask, patch]``, 0 to 1.
    """
    integral = np.pad(masks.astype(np.int64).cumsum(1).cumsum(2), ((0, 0), (1, 0), (1, 0)))
    left, top, right, bottom = np.asarray(boxes, np.float64).T
    inside = (
        _between(integral, bottom, right)
        - _between(integral, top, right)
        - _between(integral, bottom, left)
        + _between(integral, top, left)
    )
    return inside / ((right - left) * (bottom - top))


def _between(
    integral: NDArray[np.int64], y: NDArray[np.float64], x: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Values ``[mask, n]`` of integrals ``[mask, height + 1, width + 1]`` at points between their nodes."""
    row = np.clip(y.astype(int), 0, integral.shape[1] - 2)
    col = np.clip(x.astype(int), 0, integral.shape[2] - 2)
    down, across = y - row, x - col
    above = integral[:, row, col] * (1 - across) + integral[:, row, col + 1] * across
    below = integral[:, row + 1, col] * (1 - across) + integral[:, row + 1, col + 1] * across
    return above * (1 - down) + below * down


def patch_truth(things: Sequence[Thing], ground: Sequence[str], boxes: NDArray[np.floating]) -> Truth:
    """What is true of patches.

    A patch that no thing covers by half, but that is not bare ground either, has no true key and is not
    empty: no word is scored there.

    Args:
        things: what is in the picture; masks may overlap.
        ground: keys true of the ground.
        boxes: ``[patch, 4]`` in pixels of the original.
    """
    names = tuple(dict.fromkeys(thing.name for thing in things))
    if not things:
        everywhere = np.ones(len(boxes), bool)
        return Truth(
            (), np.zeros((0, len(boxes)), bool), (frozenset(),) * len(boxes), everywhere, tuple(ground)
        )
    masks = np.stack([thing.mask for thing in things])
    by_thing = coverage(masks, boxes) >= COVERED - _SLACK
    by_name = [
        np.any([own for thing, own in zip(things, by_thing, strict=True) if thing.name == name], axis=0)
        for name in names
    ]
    true_keys = tuple(
        frozenset(key for thing, own in zip(things, there, strict=True) if own for key in thing.keys)
        for there in by_thing.T.tolist()
    )
    bare = 1 - coverage(np.any(masks, 0, keepdims=True), boxes)[0]
    return Truth(names, np.stack(by_name), true_keys, bare > EMPTY, tuple(ground))
