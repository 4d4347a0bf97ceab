"""What the items of a spec stand for, each with a name of its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final, cast

from patchlens.data.item import DrawnPicture, Item
from patchlens.data.read import COMMON, ONE, TRUTH, Shared, checked, items_at, listed_item, with_truth
from patchlens.data.scenes import asked_scenes, prompted_scenes, things_of
from patchlens.data.values import check_keys, choice_of, number_of, text_of, words_of
from patchlens.errors import DataError, StudyError, naming
from patchlens.scenes.phrases import QuestionKind
from patchlens.scenes.questions import QUESTION_KINDS, ask
from patchlens.scenes.scene import KINDS, Kind, make_scene
from patchlens.scenes.seeds import MOST_STUDY_SCENES, STUDY_SEEDS
from patchlens.scenes.vocabulary import LANGUAGES, Language
from patchlens.studies.layout import ALL, REST

ANY: Final = "any"
_KEYS: Final = {
    "scenes": ("scenes", "count", "seed", "ask", "language", *COMMON),
    "data": ("data", "images", "limit", *COMMON),
}
"""Keys of an entry that stands for several items, by its first."""


def read_sources(value: Any, spec: Path) -> tuple[Item, ...]:
    """The items that a spec's ``items`` stand for, in order, each with a name of its own.

    Args:
        value: a path, or a list of entries: ``{image, prompt, ..}``, ``{data: path, ..}`` or
            ``{scenes: kind, count: n, ..}``.
        spec: the file it stands in; paths are relative to it.

    Raises:
        StudyError: an entry is wrong, a name is there twice, or there is no item.
    """
    entries = value if isinstance(value, list) else [] if value is None else [value]
    found: list[Item] = []
    for number, entry in enumerate(cast("list[Any]", entries), 1):
        with naming(f"{spec}: item entry {number}", StudyError):
            found += _read({"data": entry} if isinstance(entry, str) else entry, spec.parent)
    with naming(str(spec), StudyError):
        if not found:
            raise DataError('expected "items": a path, or a list such as [{image: a.png, prompt: ..}]')
        items = checked(_named(found))
        for item in items:
            if item.group in (ALL, REST):
                raise DataError(f"no group can be called {item.group}, which stands for several together")
        return items


def _read(entry: Any, folder: Path) -> Iterator[Item]:
    if not isinstance(entry, dict):
        raise DataError(f"expected a path or a mapping, got {entry!r:.60}")
    value = cast("dict[str, Any]", entry)
    known = next((keys for first, keys in _KEYS.items() if first in value), ONE)
    check_keys(value, known)
    if known is ONE:
        yield listed_item(value, folder, Shared())
        return
    shared = Shared(
        prompt=text_of(value, "prompt"),
        group=text_of(value, "group"),
        expected=words_of(value, "expected"),
        concepts=words_of(value, "concepts"),
    )
    yield from _scenes(value, shared) if "scenes" in value else _listed(value, folder, shared)


def _listed(value: Mapping[str, Any], folder: Path, shared: Shared) -> Iterator[Item]:
    key, pictures = text_of(value, "data"), text_of(value, "images")
    if key is None:
        raise DataError('expected "data" to be a folder or file')
    path = folder / Path(key).expanduser()
    limit = number_of(value, "limit", 1, None)
    found = list(items_at(path, key, shared, None if pictures is None else folder / pictures))
    yield from (item for _, item in found[:limit])


def _scenes(value: Mapping[str, Any], shared: Shared) -> Iterator[Item]:
    kind = choice_of(value, "scenes", (*KINDS, ANY))
    asked = choice_of(value, "ask", (*QUESTION_KINDS, ANY))
    language = choice_of(value, "language", (*LANGUAGES, ANY))
    if (asked is None) == (shared.prompt is None):
        raise DataError('expected either "prompt" or "ask", a sort of question, such as what')
    count = number_of(value, "count", 1, MOST_STUDY_SCENES) or 10
    first = STUDY_SEEDS + (number_of(value, "seed", 0, MOST_STUDY_SCENES) or 0) * 1000
    drawn = None if kind in (None, ANY) else cast("Kind", kind)
    if shared.prompt is None:
        asks = partial(
            ask,
            kind=None if asked == ANY else cast("QuestionKind", asked),
            language=None if language in (None, ANY) else cast("Language", language),
        )
        found = asked_scenes(asks, first, count, drawn)
    else:
        found = prompted_scenes(shared.prompt, first, count, drawn)
    for item in found:
        yield replace(
            item,
            name="",
            expected=shared.expected or item.expected,
            concepts=with_truth(shared.concepts, _there(item) if TRUTH in shared.concepts else ()),
            group=shared.group,
        )


def _there(item: Item) -> Iterator[str]:
    """What is in its scenes, which are drawn for this where they were not for a question."""
    for picture in item.pictures:
        if isinstance(picture, DrawnPicture):
            yield from item.concepts or things_of(make_scene(picture.seed, picture.kind))


def _named(items: Sequence[Item]) -> list[Item]:
    """Give items without a name that of their pictures, numbered where several have the same."""
    used, tried = {item.name for item in items}, Counter[str]()
    named: list[Item] = []
    for item in items:
        name = item.name
        while not name:
            label = " + ".join(source.label for source in item.sources) or "text"
            tried[label] += 1
            free = label if tried[label] == 1 else f"{label} ({tried[label]})"
            name = "" if free in used else free
        used.add(name)
        named.append(replace(item, name=name))
    return named
