"""The items that a spec's ``items`` stand for, each with a name of its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, cast

from patchlens.errors import DataError, StudyError
from patchlens.models.tokens import is_text
from patchlens.studies.layout import ALL, REST
from patchlens.studies.spec.drawn import scene_items
from patchlens.studies.spec.items import PictureFile, PictureSource, StudyItem
from patchlens.studies.spec.listed import ONE, data_items, listed_item
from patchlens.studies.spec.shared import COMMON, Defaults
from patchlens.studies.spec.values import check_keys, text_of, words_of

_KEYS: Final = {
    "scenes": ("scenes", "count", "seed", "ask", "language", *COMMON),
    "data": ("data", "images", "limit", *COMMON),
}
"""Keys of an entry that stands for several items, by its first."""


def read_sources(value: Any, spec: Path) -> tuple[StudyItem, ...]:
    """The items that a spec's ``items`` stand for, in order, each with a name of its own.

    Args:
        value: a path, or a list of entries: ``{image, prompt, ..}``, ``{data: path, ..}`` or
            ``{scenes: kind, count: n, ..}``.
        spec: the file it stands in; paths are relative to it.

    Raises:
        StudyError: an entry is wrong, a name is there twice, or there is no item.
    """
    entries = value if isinstance(value, list) else [] if value is None else [value]
    found: list[StudyItem] = []
    for number, entry in enumerate(cast("list[Any]", entries), 1):
        where = f"{spec}: item entry {number}"
        try:
            found += _read({"data": entry} if isinstance(entry, str) else entry, spec.parent, where)
        except DataError as error:
            raise StudyError(f"{where}: {error}") from error
    if not found:
        raise StudyError(
            f'{spec}: expected "items": a path, or a list such as [{{image: a.png, prompt: ..}}]'
        )
    return _named(found, spec)


def _read(entry: Any, folder: Path, where: str) -> Iterator[StudyItem]:
    if not isinstance(entry, dict):
        raise StudyError(f"{where}: expected a path or a mapping, got {entry!r:.60}")
    value = cast("dict[str, Any]", entry)
    known = next((keys for first, keys in _KEYS.items() if first in value), ONE)
    check_keys(value, known, where)
    if known is ONE:
        yield listed_item(value, folder, where, Defaults())
        return
    defaults = Defaults(
        prompt=text_of(value, "prompt", where),
        group=text_of(value, "group", where),
        expected=words_of(value, "expected", where),
        concepts=words_of(value, "concepts", where),
    )
    if "scenes" in value:
        yield from scene_items(value, defaults, where)
    else:
        yield from data_items(value, folder, defaults, where)


def _named(items: Sequence[StudyItem], spec: Path) -> tuple[StudyItem, ...]:
    """Give items without a name that of their picture, numbered where several have the same."""
    given = Counter(item.name for item in items if item.name)
    twice = next((name for name, count in given.items() if count > 1), None)
    if twice is not None:
        raise StudyError(f"{spec}: two items are called {twice!r}: give each a name of its own")
    used, tried = set(given), Counter[str]()
    named: list[StudyItem] = []
    for item in items:
        name = item.name
        while not name:
            told = _told(item.pictures)
            tried[told] += 1
            free = told if tried[told] == 1 else f"{told} ({tried[told]})"
            name = "" if free in used else free
        used.add(name)
        named.append(_checked(replace(item, name=name), spec))
    return tuple(named)


def _told(pictures: Sequence[PictureSource]) -> str:
    names = [one.path.stem if isinstance(one, PictureFile) else one.key() for one in pictures]
    return " + ".join(names) or "text"


def _checked(item: StudyItem, spec: Path) -> StudyItem:
    texts = (item.name, item.prompt, item.group or "", *item.expected, *item.concepts)
    wrong = next((text for text in (*texts, *map(_key, item.pictures)) if not is_text(text)), None)
    if wrong is not None:
        raise StudyError(f"{spec}: {wrong!r} is not text: some of its bytes are not valid UTF-8")
    if item.group in (ALL, REST):
        raise StudyError(f"{spec}: no group can be called {item.group}, which stands for several together")
    return item


def _key(picture: PictureSource) -> str:
    return picture.key()
