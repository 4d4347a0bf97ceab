"""Pictures with masks in the annotation format of COCO (Lin et al. 2014), as items.

Read are ``images`` (id, file_name, width, height), ``categories`` (id, name, and if given ``names``: every
further form of the word) and ``annotations`` (image_id, category_id, segmentation as polygons or as run
lengths, compressed or not). A crowd counts as a thing of its category. Masks are read when they are wanted.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from patchlens.data.item import Item, PictureFile
from patchlens.data.values import json_object, text_in
from patchlens.errors import DataError, naming
from patchlens.pictures.open import open_picture
from patchlens.scenes.truth import Labelled, Thing

_LONGEST_RUN: Final = 13  # characters of a compressed count; more would not fit 64 bits


def is_annotated(content: Mapping[str, Any]) -> bool:
    """Whether a JSON object looks like annotations."""
    return isinstance(content.get("images"), list)


def annotations_in(folder: Path) -> dict[str, Any]:
    """The annotations in a folder of pictures.

    Raises:
        DataError: there is not just one ``.json`` file, or it cannot be read.
    """
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder}")
    found = sorted(folder.glob("*.json"))
    if len(found) != 1:
        raise DataError(
            f"{folder} has {len(found)} .json files: expected one, with annotations in COCO's format"
        )
    with naming(str(found[0])):
        return json_object(text_in(found[0]))


def annotated_items(content: Mapping[str, Any], pictures: Path, prompt: str | None) -> tuple[Item, ...]:
    """One item per image, in the order of their ids; what is annotated in it is expected in its answer.

    Args:
        content: the annotations.
        pictures: folder of the images.
        prompt: what is asked of each.

    Raises:
        DataError: they are not in the format, or there is no prompt.
    """
    if prompt is None:
        raise DataError('expected a "prompt": what to ask of each picture')
    try:
        names = {int(c["id"]): str(c["name"]) for c in content.get("categories", ())}
        own: dict[int, list[Mapping[str, Any]]] = defaultdict(list)
        for annotation in content.get("annotations", ()):
            own[int(annotation["image_id"])].append(annotation)
        items: list[Item] = []
        for image in sorted(content["images"], key=lambda image: int(image["id"])):
            things = [one for one in own[int(image["id"])] if "category_id" in one]
            there = tuple(dict.fromkeys(names[int(one["category_id"])] for one in things))
            file = str(image["file_name"])
            truth = partial(_labelled, pictures, image, things, names, prompt)
            items.append(Item(file, prompt, (PictureFile(pictures / file, file),), there, there, truth=truth))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"not in COCO's format: {error!r}") from error
    return tuple(items)


def category_forms(content: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Forms of each category's word: as written, and those given, or in small letters and with a capital.

    Raises:
        DataError: there are none, or one has no name.
    """
    try:
        forms = {str(c["name"]): _forms(c) for c in content["categories"]}
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"not in COCO's format: {error!r}") from error
    if not forms:
        raise DataError("the annotations have no categories, so there is no word to look for")
    return forms


def _forms(category: Mapping[str, Any]) -> tuple[str, ...]:
    name = str(category["name"])
    if not name.strip():
        raise ValueError("a category without a name")
    given = [str(form) for form in category.get("names", ())]
    return tuple(dict.fromkeys([name, *(given or (name.lower(), name.capitalize()))]))


def decode_runs(counts: str | Sequence[int], height: int, width: int) -> NDArray[np.bool_]:
    """Decode run lengths: of 0s and 1s in turn, down the columns.

    Args:
        counts: numbers, or COCO's compressed text: each number in characters of five bits, lowest first, the
            sixth bit saying that another follows; from the fourth number on, the difference to the number
            two before.
        height: pixels down.
        width: pixels across.

    Returns:
        ``[height, width]``.

    Raises:
        DataError: the runs do not fill the mask exactly.
    """
    runs = _decompressed(counts) if isinstance(counts, str) else [int(count) for count in counts]
    if min(runs, default=-1) < 0 or sum(runs) != height * width:
        raise DataError(f"the run lengths of a mask do not add up to its {height} x {width} pixels")
    flat = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    return flat.reshape(width, height).T


def _decompressed(text: str) -> list[int]:
    runs: list[int] = []
    value, shift = 0, 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64 or shift >= 5 * _LONGEST_RUN:
            raise DataError("a compressed mask holds what is no run length")
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value, shift = 0, 0
    if shift:
        raise DataError("a compressed mask is cut short")
    return runs


def fill_polygon(points: Sequence[float], height: int, width: int) -> NDArray[np.bool_]:
    """Pixels whose centre lies inside a polygon, by the even-odd rule.

    Args:
        points: x0, y0, x1, y1, ... in pixels; the last is joined to the first.
        height: pixels down.
        width: pixels across.

    Returns:
        ``[height, width]``.

    Raises:
        DataError: fewer than three points, or not finite.
    """
    corners = np.asarray(points, np.float64)
    if corners.ndim != 1 or corners.size < 6 or corners.size % 2 or not np.isfinite(corners).all():
        raise DataError("a polygon needs at least three points, as x and y in turn")
    toggles = np.zeros((height, width + 1), bool)
    start = corners.reshape(-1, 2)
    for (x0, y0), (x1, y1) in zip(start, np.roll(start, -1, 0), strict=True):
        low, high = (int(np.ceil(y - 0.5)) for y in sorted((y0, y1)))
        rows = np.arange(max(low, 0), min(high, height))
        if rows.size:
            crossing = x0 + (rows + 0.5 - y0) / (y1 - y0) * (x1 - x0)
            toggles[rows, np.clip(np.ceil(crossing - 0.5), 0, width).astype(int)] ^= True
    return np.logical_xor.accumulate(toggles, axis=1)[:, :width]


def _labelled(
    folder: Path,
    image: Mapping[str, Any],
    annotations: Sequence[Mapping[str, Any]],
    categories: Mapping[int, str],
    prompt: str,
) -> Labelled:
    name = str(image["file_name"])
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise DataError(f"the picture {name} lies outside {folder}")
    picture = np.asarray(open_picture(path).image)
    height, width = picture.shape[:2]
    try:
        if (int(image["width"]), int(image["height"])) != (width, height):
            raise DataError(
                f"{name} has {width} x {height} pixels, but its annotations are for {image['width']} x "
                f"{image['height']}"
            )
        things = tuple(
            Thing(categories[int(own["category_id"])], _mask(own["segmentation"], height, width))
            for own in annotations
        )
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"an annotation of {name} is not in COCO's format: {error!r}") from error
    return Labelled(name, picture, things, (), prompt)


def _mask(segmentation: Any, height: int, width: int) -> NDArray[np.bool_]:
    if isinstance(segmentation, Mapping):
        size = [int(side) for side in segmentation["size"]]
        if size != [height, width]:
            raise DataError(f"a mask has {size[0]} x {size[1]} pixels, its picture {height} x {width}")
        return decode_runs(segmentation["counts"], height, width)
    polygons = [fill_polygon(points, height, width) for points in segmentation]
    return np.any([np.zeros((height, width), bool), *polygons], axis=0)
