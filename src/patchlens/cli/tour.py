"""The bundled pictures, read with the bundled models: one reading and one page each, and an index."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch

from patchlens.demo import DemoPicture, bundled_models, demo_pictures
from patchlens.errors import OutputError
from patchlens.progress import Progress
from patchlens.reading.reading import Reading
from patchlens.run import Model, load
from patchlens.views.html import write_page
from patchlens.views.index import IndexEntry, write_index

COMPARED = "collage"
"""The picture that is also shown through both models side by side."""


def make_tour(out: Path, progress: Progress) -> Path:
    """Write all readings, pages and ``index.html`` into a folder; returns the index.

    Raises:
        OutputError: the folder or a file cannot be written.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make the folder {out}: {error.strerror or error}") from error
    pictures = demo_pictures()
    total = len(bundled_models()) * len(pictures)
    entries: list[IndexEntry] = []
    with _one_thread():
        for name in bundled_models():
            progress("reading the pictures", len(entries), total)
            model = load(name)
            for picture in pictures:
                entries.append(_visit(model, picture, out / f"{picture.file.stem}-{name}"))
                progress("reading the pictures", len(entries), total)
    entries.append(_side_by_side([e for e in entries if e.page.name.startswith(f"{COMPARED}-")], out))
    return write_index(
        entries, out / "index.html", title="patchlens: what two small models say about drawn scenes"
    )


def _visit(model: Model, picture: DemoPicture, base: Path) -> IndexEntry:
    reading: Reading = model.trace(str(picture.file), picture.prompt, steps=True).read(
        targets=picture.targets
    )
    reading.save(base.with_suffix(".safetensors"))
    page = write_page(reading, base.with_suffix(".html"))
    return IndexEntry(page, reading, picture.title)


def _side_by_side(entries: Sequence[IndexEntry], out: Path) -> IndexEntry:
    first, second = (entry.reading for entry in entries)
    page = write_page(first, out / f"{COMPARED}-both.html", beside=second)
    return IndexEntry(page, first, f"{entries[0].title}, through both models")


@contextmanager
def _one_thread() -> Generator[None]:
    """One thread inside: models this small gain nothing from more, and on a busy machine threads wait."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
