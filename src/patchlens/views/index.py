"""An index of several pages: a picture, what was asked and what was answered, as one static file."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote

from patchlens.errors import OutputError
from patchlens.files import output_path, write_atomically
from patchlens.reading.reading import Reading
from patchlens.views.html import asset, escape, fill, source_hash
from patchlens.views.pictures import data_url

THUMBNAIL_SIDE: Final = 480
BLANK: Final = "data:image/gif;base64,R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw=="


@dataclass(frozen=True)
class IndexEntry:
    """A page of the index: its file (beside or below the index) and the reading it shows."""

    page: Path
    reading: Reading
    title: str = ""


def index(entries: Iterable[IndexEntry], folder: str | Path, *, title: str = "patchlens") -> str:
    """The index as text, with links relative to ``folder``.

    Raises:
        OutputError: a page lies outside the folder.
    """
    listed = list(entries)
    style = asset("index.css")
    return fill(
        asset("index.html"),
        {
            "title": escape(title),
            "subtitle": escape(_subtitle(listed)),
            "style_hash": source_hash(style),
            "style": style,
            "entries": "".join(_entry(entry, Path(folder)) for entry in listed),
        },
    )


def write_index(entries: Iterable[IndexEntry], path: str | Path, *, title: str = "patchlens") -> Path:
    """Write the index, whole or not at all.

    Raises:
        OutputError: the file cannot be written, or a page lies outside its folder.
    """
    return write_atomically(output_path(path, ".html"), index(entries, Path(path).parent, title=title))


def _entry(entry: IndexEntry, folder: Path) -> str:
    reading = entry.reading
    picture = reading.pictures[0] if reading.pictures else None
    name = entry.title or (picture.name if picture else "text only")
    return fill(
        asset("index-entry.html"),
        {
            "href": _href(entry.page, folder),
            "thumbnail": (data_url(picture, THUMBNAIL_SIDE) if picture else "") or BLANK,
            "title": escape(name),
            "prompt": escape(reading.prompt),
            "answer": escape(reading.answer.text),
            "model": escape(f"{reading.model.name} · {reading.lens} lens"),
        },
    )


def _href(page: Path, folder: Path) -> str:
    try:
        relative = page.resolve().relative_to(folder.resolve())
    except ValueError:
        raise OutputError(f"the page {page} is not in the index's folder {folder}; write it there") from None
    return "./" + quote(relative.as_posix())


def _subtitle(entries: list[IndexEntry]) -> str:
    count = len(entries)
    models = dict.fromkeys(entry.reading.model.name for entry in entries)
    return f"{count} reading{'' if count == 1 else 's'} with {', '.join(models) or 'no model'}"
