"""What a lens is fitted on: pictures with a prompt each, texts, or drawn scenes with questions."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from patchlens.errors import DataError, ImageError
from patchlens.files import lines_of
from patchlens.pictures.open import PICTURE_SUFFIXES, OpenedPicture, PictureLike, open_picture
from patchlens.scenes.questions import ask
from patchlens.scenes.scene import make_scene

SCENES = "scenes:"
FIT_SEEDS = 5_000_000
"""First seed of the scenes that lenses are fitted on; no model was trained on or is reported on these."""
MAX_SCENES = 1_000_000


@dataclass(frozen=True)
class DrawnScene:
    """The scene of a seed, drawn when it is wanted."""

    seed: int


@dataclass(frozen=True)
class Item:
    """One prompt with its pictures; none for text only. ``name`` says in errors where it stands."""

    name: str
    prompt: str
    pictures: tuple[PictureLike | DrawnScene, ...] = ()

    def open(self) -> tuple[OpenedPicture, ...]:
        """Open or draw the pictures.

        Raises:
            ImageError: one cannot be read; says which.
        """
        return tuple(_open(self.name, picture) for picture in self.pictures)


def _open(name: str, picture: PictureLike | DrawnScene) -> OpenedPicture:
    if isinstance(picture, DrawnScene):
        return open_picture(make_scene(picture.seed).image, f"scene {picture.seed}")
    try:
        return open_picture(picture)
    except ImageError as error:
        raise ImageError(f"{name}: {error}") from error


def digest(picture: OpenedPicture) -> str:
    """Name of a picture's pixels: the same picture has it under any file name."""
    size = f"{picture.width}x{picture.height}:".encode()
    return hashlib.sha256(size + picture.image.tobytes()).hexdigest()


def read_items(data: str | Path, prompt: str | None = None) -> tuple[Item, ...]:
    """Read what to fit on; the pictures themselves are opened later.

    Args:
        data: a folder of pictures; a ``.jsonl`` file with ``{"image": path or list of paths, "prompt":
            text}`` per line, paths relative to the file, no image meaning text only; a ``.txt`` file with one
            text per line; or ``scenes:N`` for N drawn scenes with questions.
        prompt: what to ask of each picture of a folder, and of the lines of a JSONL file that have no prompt.

    Raises:
        DataError: it is none of these, is empty, or a line is wrong; says which line and why.
    """
    text = str(data)
    path = Path(data).expanduser()
    if text.startswith(SCENES):
        items = _scenes(text, prompt)
    elif path.is_dir():
        items = _folder(path, prompt)
    elif not path.is_file():
        raise DataError(f"there is no folder or file {text}; {SCENES}N stands for N drawn scenes")
    elif path.suffix == ".jsonl":
        items = tuple(_jsonl(path, prompt))
    elif path.suffix == ".txt":
        items = _texts(path, prompt)
    else:
        raise DataError(f"{path} is neither a folder of pictures nor a .jsonl or .txt file")
    if not items:
        raise DataError(f"{path} is empty: there is nothing to fit on")
    return items


def _scenes(text: str, prompt: str | None) -> tuple[Item, ...]:
    number = text.removeprefix(SCENES)
    if not number.isdecimal() or not 1 <= int(number) <= MAX_SCENES:
        raise DataError(f"{text!r}: expected {SCENES}N with N from 1 to {MAX_SCENES}")
    _refuse_prompt(prompt, "drawn scenes come with their questions")
    items: list[Item] = []
    seed = FIT_SEEDS
    while len(items) < int(number):
        question = ask(make_scene(seed), np.random.default_rng([seed, 31]))
        if question is not None:
            items.append(Item(f"scene {seed}", question.prompt, (DrawnScene(seed),)))
        seed += 1
    return tuple(items)


def _folder(folder: Path, prompt: str | None) -> tuple[Item, ...]:
    pictures = sorted(p for p in folder.iterdir() if p.suffix.lower() in PICTURE_SUFFIXES)
    if not pictures:
        raise DataError(f"{folder} holds no pictures ({', '.join(sorted(PICTURE_SUFFIXES))})")
    if prompt is None:
        raise DataError(f"{folder} holds pictures without questions: say with --prompt what to ask of each")
    return tuple(Item(str(picture), prompt, (picture,)) for picture in pictures)


def _texts(path: Path, prompt: str | None) -> tuple[Item, ...]:
    _refuse_prompt(prompt, "the lines of a .txt file are the prompts")
    return tuple(Item(f"{path}:{number}", line) for number, line in lines_of(path))


def _refuse_prompt(prompt: str | None, why: str) -> None:
    if prompt is not None:
        raise DataError(f"{why}: leave --prompt out")


def _jsonl(path: Path, prompt: str | None) -> Iterator[Item]:
    for number, line in lines_of(path):
        name = f"{path}:{number}"
        try:
            value: Any = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{name}: not JSON ({error})") from error
        if not isinstance(value, dict):
            raise DataError(f'{name}: expected an object such as {{"image": "cat.png", "prompt": "..."}}')
        yield _entry(name, path.parent, cast("dict[str, Any]", value), prompt)


def _entry(name: str, folder: Path, value: dict[str, Any], prompt: str | None) -> Item:
    text = value.get("prompt", prompt)
    if not isinstance(text, str) or not text.strip():
        raise DataError(f'{name}: expected a "prompt" with text in it, got {text!r:.40}')
    given = value.get("image")
    images: Sequence[Any] = [] if given is None else given if isinstance(given, list) else [given]
    if not all(isinstance(image, str) and image for image in images):
        raise DataError(f'{name}: expected "image" to be a path or a list of paths, got {given!r:.40}')
    return Item(name, text, tuple(folder / Path(image).expanduser() for image in images))
