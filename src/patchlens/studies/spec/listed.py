"""Items that stand in the spec or in a file: one by one, a folder, JSONL, mapping.json, COCO."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, cast

from patchlens.errors import StudyError
from patchlens.files import lines_of
from patchlens.pictures.open import PICTURE_SUFFIXES
from patchlens.studies.spec.items import PictureFile, StudyItem
from patchlens.studies.spec.shared import COMMON, TRUTH, Defaults, with_truth
from patchlens.studies.spec.values import check_keys, number_of, text_of, words_of

ONE: Final = ("name", "image", *COMMON)


def listed_item(value: Mapping[str, Any], folder: Path, where: str, defaults: Defaults) -> StudyItem:
    """The item of one entry: a prompt, with pictures or without.

    Raises:
        StudyError: a value is wrong or there is no prompt.
    """
    check_keys(value, ONE, where)
    prompt = text_of(value, "prompt", where) or defaults.prompt
    if prompt is None:
        raise StudyError(f'{where}: expected a "prompt": what to ask')
    pictures = tuple(
        PictureFile(folder / Path(name).expanduser(), name) for name in words_of(value, "image", where)
    )
    return StudyItem(
        name=text_of(value, "name", where) or "",
        prompt=prompt,
        pictures=pictures,
        expected=words_of(value, "expected", where) or defaults.expected,
        concepts=words_of(value, "concepts", where) or defaults.concepts,
        group=text_of(value, "group", where) or defaults.group,
    )


def data_items(value: Mapping[str, Any], folder: Path, defaults: Defaults, where: str) -> Iterator[StudyItem]:
    """Items of a folder of pictures, a JSONL file, a mapping or annotations in COCO's format.

    Raises:
        StudyError, DataError: it is none of these, or a part of it is wrong.
    """
    told = text_of(value, "data", where)
    if told is None:
        raise StudyError(f'{where}: expected "data" to be a folder or file')
    path = folder / Path(told).expanduser()
    limit = number_of(value, "limit", where, 1, None)
    if path.is_dir():
        items = _folder(path, told, defaults, where)
    elif path.suffix == ".jsonl":
        items = _jsonl(path, defaults)
    elif path.suffix == ".json":
        items = _json(path, value, folder, defaults, where)
    else:
        raise StudyError(f"{where}: {path} is neither a folder nor a .json or .jsonl file that is there")
    yield from list(items)[:limit]


def _folder(path: Path, told: str, defaults: Defaults, where: str) -> Iterator[StudyItem]:
    pictures = sorted(p for p in path.iterdir() if p.suffix.lower() in PICTURE_SUFFIXES)
    if not pictures:
        raise StudyError(f"{where}: {path} holds no pictures")
    for picture in pictures:
        yield _pictured(picture, str(Path(told) / picture.name), defaults, where)


def _pictured(path: Path, told: str, defaults: Defaults, where: str) -> StudyItem:
    if defaults.prompt is None:
        raise StudyError(f'{where}: expected a "prompt": what to ask of each picture')
    return StudyItem(
        "",
        defaults.prompt,
        (PictureFile(path, told),),
        defaults.expected,
        tuple(word for word in defaults.concepts if word != TRUTH),
        defaults.group,
    )


def _jsonl(path: Path, defaults: Defaults) -> Iterator[StudyItem]:
    for number, line in lines_of(path):
        where = f"{path}:{number}"
        try:
            value: Any = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise StudyError(f"{where}: not JSON ({error})") from error
        if not isinstance(value, dict):
            raise StudyError(f'{where}: expected an object such as {{"image": "cat.png", "prompt": ".."}}')
        yield listed_item(cast("dict[str, Any]", value), path.parent, where, defaults)


def _json(
    path: Path, value: Mapping[str, Any], folder: Path, defaults: Defaults, where: str
) -> Iterator[StudyItem]:
    """Either ``{"1.jpg": "prompt", ..}``, beside its pictures, or annotations in COCO's format."""
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise StudyError(f"{where}: {path} is not JSON that can be read: {error}") from error
    mapping = cast("dict[str, Any]", content) if isinstance(content, dict) else {}
    pictures = text_of(value, "images", where)
    beside = path.parent if pictures is None else folder / pictures
    if isinstance(mapping.get("images"), list):
        return _coco(mapping, beside, defaults, f"{where}: {path}")
    if defaults.prompt is not None and mapping:
        raise StudyError(f"{where}: {path} has a prompt for each picture: leave the other prompt out")
    if mapping and all(isinstance(prompt, str) and prompt.strip() for prompt in mapping.values()):
        return (
            _pictured(beside / name, name, replace(defaults, prompt=prompt), where)
            for name, prompt in mapping.items()
        )
    raise StudyError(
        f'{where}: {path} is neither {{"1.jpg": "prompt", ..}} nor annotations in COCO\'s format'
    )


def _coco(content: Mapping[str, Any], pictures: Path, defaults: Defaults, where: str) -> Iterator[StudyItem]:
    """One item per image; what is annotated in it is expected in its answer."""
    try:
        names = {int(c["id"]): str(c["name"]) for c in content.get("categories", ())}
        seen: dict[int, dict[str, None]] = {}
        for annotation in content.get("annotations", ()):
            if "category_id" in annotation:
                seen.setdefault(int(annotation["image_id"]), {})[names[int(annotation["category_id"])]] = None
        images = sorted((int(image["id"]), str(image["file_name"])) for image in content["images"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise StudyError(f"{where} is not in COCO's format: {error!r}") from error
    for number, file in images:
        there = tuple(seen.get(number, ()))
        item = _pictured(pictures / file, file, defaults, where)
        yield replace(item, expected=item.expected or there, concepts=with_truth(defaults.concepts, there))
