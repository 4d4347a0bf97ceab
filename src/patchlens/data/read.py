"""Items from where people keep them: folders, lines of JSON or text, mappings, annotations, drawn scenes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, cast

from patchlens.data.coco import annotated_items, is_annotated
from patchlens.data.item import Item, PictureFile
from patchlens.data.scenes import asked_scenes
from patchlens.data.values import check_keys, json_object, text_in, text_of, words_of
from patchlens.errors import DataError, naming
from patchlens.files import lines_of
from patchlens.models.tokens import is_text
from patchlens.pictures.open import PICTURE_SUFFIXES
from patchlens.scenes.questions import ask
from patchlens.scenes.seeds import FIT_SEEDS, MOST_FIT_SCENES

SCENES: Final = "scenes:"
COMMON: Final = ("prompt", "group", "expected", "concepts")
ONE: Final = ("name", "image", *COMMON)
TRUTH: Final = "truth"
"""As a concept: what is known to be in the picture, of drawn scenes and annotated pictures."""


@dataclass(frozen=True)
class Shared:
    """What the items of a source have that give none of their own."""

    prompt: str | None = None
    group: str | None = None
    expected: tuple[str, ...] = ()
    concepts: tuple[str, ...] = ()

    def item(self, name: str, prompt: str | None = None, pictures: Sequence[PictureFile] = ()) -> Item:
        """An item of these.

        Raises:
            DataError: there is no prompt.
        """
        asked = self.prompt if prompt is None else prompt
        if asked is None:
            raise DataError('expected a "prompt": what to ask of each')
        return Item(name, asked, tuple(pictures), self.expected, self.concepts, self.group)


def read_items(source: str | Path, prompt: str | None = None) -> tuple[Item, ...]:
    """Read what to ask a model, or to fit a lens on; the pictures themselves are opened later.

    Args:
        source: a folder of pictures; a ``.jsonl`` file with ``{"image": path or list of paths, "prompt":
            text}`` per line, and if you like name, expected, concepts and group, paths relative to the file,
            no image meaning text only; a ``.json`` file that maps pictures beside it to prompts, or with
            annotations in COCO's format; a ``.txt`` file with one text per line; or ``scenes:N`` for N drawn
            scenes with questions.
        prompt: what to ask of each picture that comes without a prompt of its own.

    Raises:
        DataError: it is none of these, is empty, or a line is wrong; says which line and why.
    """
    text, path = str(source), Path(source).expanduser()
    if text.startswith(SCENES):
        found = _drawn(text.removeprefix(SCENES), prompt)
    elif not path.exists():
        raise DataError(f"there is no folder or file {text}; {SCENES}N stands for N drawn scenes")
    else:
        found = items_at(path, text, Shared(prompt))
    items = tuple(replace(item, name=item.name or place) for place, item in found)
    if not items:
        raise DataError(f"{path} is empty: there is nothing to read")
    return checked(items)


def as_items(data: str | Path | Sequence[Item], prompt: str | None = None) -> tuple[Item, ...]:
    """Items as they are, or what `read_items` finds."""
    return read_items(data, prompt) if isinstance(data, (str, Path)) else tuple(data)


def about_items(data: str | Path | Sequence[Item]) -> str:
    """What items are, in words, where nobody said."""
    return str(data) if isinstance(data, (str, Path)) else f"{len(data)} items"


def items_at(
    path: Path, key: str, shared: Shared, pictures: Path | None = None
) -> Iterator[tuple[str, Item]]:
    """Items of a folder or file, each with where it stands; those that give no name have none.

    Args:
        path: where.
        key: how its source calls a folder; its pictures' keys begin so.
        shared: what the items have that give none of their own.
        pictures: where the pictures of a mapping or of annotations lie; beside the file if None.

    Raises:
        DataError: it is none of these, or a part of it is wrong.
    """
    if path.is_dir():
        yield from _folder(path, key, shared)
    elif path.suffix == ".jsonl":
        yield from _lines(path, shared)
    elif path.suffix == ".json":
        with naming(str(path)):
            yield from _mapped(json_object(text_in(path)), pictures or path.parent, shared)
    elif path.suffix == ".txt":
        _refuse(shared.prompt, "the lines of a .txt file are the prompts")
        yield from ((f"{path}:{number}", shared.item("", line)) for number, line in lines_of(path))
    else:
        raise DataError(f"{path} is neither a folder nor a .jsonl, .json or .txt file that is there")


def listed_item(value: Mapping[str, Any], folder: Path, shared: Shared, *, others: bool = False) -> Item:
    """The item of one entry: a prompt, with pictures or without.

    Args:
        value: the entry.
        folder: what its paths are relative to.
        shared: what it has where it gives nothing of its own.
        others: let keys be that mean nothing here.

    Raises:
        DataError: a value is wrong or there is no prompt.
    """
    check_keys(value, ONE, others=others)
    own = Shared(
        group=text_of(value, "group") or shared.group,
        expected=words_of(value, "expected") or shared.expected,
        concepts=words_of(value, "concepts") or shared.concepts,
        prompt=text_of(value, "prompt") or shared.prompt,
    )
    pictures = [PictureFile(folder / Path(name).expanduser(), name) for name in words_of(value, "image")]
    return own.item(text_of(value, "name") or "", pictures=pictures)


def checked(items: Sequence[Item]) -> tuple[Item, ...]:
    """Items, every text of which is text, and no two of one name.

    Raises:
        DataError: saying which is not so.
    """
    twice = next((name for name, count in Counter(item.name for item in items).items() if count > 1), None)
    if twice is not None:
        raise DataError(f"two items are called {twice!r}: give each a name of its own")
    for item in items:
        keys = (source.key for source in item.sources if isinstance(source, PictureFile))
        texts = (item.name, item.prompt, item.group or "", *item.expected, *item.concepts, *keys)
        wrong = next((text for text in texts if not is_text(text)), None)
        if wrong is not None:
            raise DataError(f"{wrong!r} is not text: some of its bytes are not valid UTF-8")
    return tuple(items)


def with_truth(concepts: Sequence[str], there: Iterable[str]) -> tuple[str, ...]:
    """Concepts, with what is there in the place of `TRUTH`."""
    known = tuple(there)
    named = [word for concept in concepts for word in (known if concept == TRUTH else (concept,))]
    return tuple(dict.fromkeys(named))


def _drawn(count: str, prompt: str | None) -> Iterator[tuple[str, Item]]:
    if not count.isdecimal() or not 1 <= int(count) <= MOST_FIT_SCENES:
        raise DataError(f"{SCENES + count!r}: expected {SCENES}N with N from 1 to {MOST_FIT_SCENES}")
    _refuse(prompt, "drawn scenes come with their questions")
    yield from (("", item) for item in asked_scenes(ask, FIT_SEEDS, int(count)))


def _refuse(prompt: str | None, why: str) -> None:
    if prompt is not None:
        raise DataError(f"{why}: leave --prompt out")


def _folder(folder: Path, key: str, shared: Shared) -> Iterator[tuple[str, Item]]:
    pictures = sorted(p for p in folder.iterdir() if p.suffix.lower() in PICTURE_SUFFIXES)
    if not pictures:
        raise DataError(f"{folder} holds no pictures ({', '.join(sorted(PICTURE_SUFFIXES))})")
    if shared.prompt is None:
        raise DataError(f"{folder} holds pictures without questions: say with --prompt what to ask of each")
    for picture in pictures:
        own = PictureFile(picture, str(Path(key) / picture.name))
        yield str(picture), _without_truth(shared.item("", pictures=[own]))


def _without_truth(item: Item) -> Item:
    return replace(item, concepts=tuple(word for word in item.concepts if word != TRUTH))


def _lines(path: Path, shared: Shared) -> Iterator[tuple[str, Item]]:
    for number, line in lines_of(path):
        with naming(f"{path}:{number}"):
            item = listed_item(json_object(line), path.parent, shared, others=True)
        yield f"{path}:{number}", item


def _mapped(content: dict[str, Any], pictures: Path, shared: Shared) -> Iterator[tuple[str, Item]]:
    """Either ``{"1.jpg": "prompt", ..}``, or annotations in COCO's format."""
    if is_annotated(content):
        for item in annotated_items(content, pictures, shared.prompt):
            own = shared.expected or item.expected
            concepts = with_truth(shared.concepts, item.concepts)
            found = replace(item, name="", expected=own, concepts=concepts, group=shared.group)
            yield str(pictures / item.name), found
        return
    if shared.prompt is not None and content:
        raise DataError("there is a prompt for each picture: leave the other prompt out")
    if not content or not all(isinstance(prompt, str) and prompt.strip() for prompt in content.values()):
        raise DataError('neither {"1.jpg": "prompt", ..} nor annotations in COCO\'s format')
    for name, prompt in cast("dict[str, str]", content).items():
        picture = PictureFile(pictures / name, name)
        yield str(picture.path), _without_truth(shared.item("", prompt, [picture]))
