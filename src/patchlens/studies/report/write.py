"""Writing a report: its tables as CSV, the pages of saved readings, and the page of the study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final
from urllib.parse import quote

from patchlens.errors import FormatError, OutputError
from patchlens.files import write_atomically
from patchlens.progress import Progress
from patchlens.reading.store import open_reading
from patchlens.studies.layout import READINGS, file_name
from patchlens.studies.report.tables import Report, Table
from patchlens.views import report as view
from patchlens.views.html import write_page
from patchlens.views.pictures import data_url

THUMBNAIL_SIDE: Final = 240
THUMBNAIL_BYTES: Final = 40_000
MOST_THUMBNAILS: Final = 400


@dataclass(frozen=True)
class Written:
    """The files of a report: its page, its tables, and the pages of readings that it links."""

    page: Path
    tables: tuple[Path, ...]
    pages: tuple[Path, ...]


@dataclass(frozen=True)
class _Saved:
    """A saved reading of a study, and where its page stands below the report's folder."""

    model: str
    lens: str
    item: str
    file: Path
    page: Path


def write_report(
    report: Report,
    folder: str | Path,
    out: str | Path | None = None,
    *,
    pages: bool = True,
    progress: Progress | None = None,
) -> Written:
    """Write the tables, the page of the study, then a page for each saved reading, each whole or not at all.

    Args:
        report: of the study in ``folder``.
        folder: of the study.
        out: folder of the report, made if missing; ``report`` in the study's if left out.
        pages: whether to write the pages of readings; one newer than its reading is kept.
        progress: told what is done, how much of it, of how much.

    The page of the study links pages that are still to be written. Where one cannot be, tables and page are
    written again, without it and with the reason.

    Raises:
        OutputError: a file cannot be written. Where it is the page of a reading, all else is there.
    """
    folder = Path(folder)
    out = folder / "report" if out is None else Path(out)
    saved = _saved(folder, report)
    shown, thumbnails = _thumbnails(saved)
    report = replace(report, notes=(*report.notes, *shown))
    linked = saved if pages else _there(saved, out)
    written = _write(report, linked, thumbnails, out)
    notes: list[str] = []
    try:
        for done, one in enumerate(saved if pages else []):
            notes += _page(one, out)
            if progress:
                progress("writing pages", done + 1, len(saved))
    except OutputError as error:
        notes.append(f"not all saved readings have a page: {error}")
        with suppress(OutputError):  # what is there links too much, and the first error says why
            _write(replace(report, notes=(*report.notes, *notes)), _there(saved, out), thumbnails, out)
        raise
    if notes:
        report = replace(report, notes=(*report.notes, *notes))
        written = _write(report, _there(saved, out), thumbnails, out)
    return written


def _there(saved: Sequence[_Saved], out: Path) -> list[_Saved]:
    return [one for one in saved if (out / one.page).exists()]


def _write(report: Report, linked: Sequence[_Saved], thumbnails: Mapping[str, str], out: Path) -> Written:
    """Write the tables and the page of the study, which links pages of readings."""
    _make(out / "csv")
    whole = replace(report, tables=(*report.tables, _pages(linked)))
    files = tuple(
        write_atomically(out / "csv" / f"{table.name}.csv", table.csv().encode()) for table in whole.tables
    )
    index = write_atomically(out / "index.html", view.page(_payload(whole), thumbnails, title=whole.name))
    return Written(index, files, tuple(out / one.page for one in linked))


def _payload(report: Report) -> view.Payload:
    return view.Payload(
        name=report.name,
        models=report.models,
        lenses=report.lenses,
        groups=report.groups,
        progress=tuple((own.model, own.wanted, own.done, own.failed) for own in report.progress),
        versions=report.versions,
        notes=report.notes,
        quantities=tuple((q.name, q.about, q.unit) for q in report.quantities),
        summaries=tuple((q.name, q.about, q.unit) for q in report.summaries),
        tables=tuple((table.name, table.about, table.csv()) for table in report.tables),
    )


def _saved(folder: Path, report: Report) -> list[_Saved]:
    items = [str(item) for item in dict.fromkeys(report.table("items").column("item"))]
    names = {file_name(name): name for name in (*report.models, *report.lenses, *items)}
    found: list[_Saved] = []
    for file in sorted((folder / READINGS).glob("*/*/*.safetensors")):
        parts = (*file.parts[-3:-1], file.stem)
        if all(part in names for part in parts):
            model, lens, item = parts
            page = Path("pages", model, lens, f"{item}.html")
            found.append(_Saved(names[model], names[lens], names[item], file, page))
    return found


def _page(saved: _Saved, out: Path) -> list[str]:
    """Write the page of a reading unless there is one as new; say why there can be none."""
    page = out / saved.page
    if page.exists() and page.stat().st_mtime >= saved.file.stat().st_mtime:
        return []
    try:
        reading = open_reading(saved.file)
    except FormatError as error:
        return [f"a saved reading has no page: {error}"]
    _make(page.parent)
    write_page(reading, page)
    return []


def _pages(saved: Sequence[_Saved]) -> Table:
    return Table(
        "pages",
        "The page of each saved reading, as an address below the report's folder.",
        ("model", "lens", "item", "page"),
        tuple((one.model, one.lens, one.item, "./" + quote(one.page.as_posix())) for one in saved),
    )


def _thumbnails(saved: Sequence[_Saved]) -> tuple[list[str], dict[str, str]]:
    """A small picture of each item that has a saved reading, as far as the page has room, and what to say."""
    files = {one.item: one.file for one in reversed(saved)}
    shown: dict[str, str] = {}
    for item, file in sorted(files.items())[:MOST_THUMBNAILS]:
        with suppress(FormatError):  # its page has told why
            for picture in open_reading(file).pictures[:1]:
                shown[item] = data_url(picture, THUMBNAIL_SIDE, THUMBNAIL_BYTES)
    if len(files) <= MOST_THUMBNAILS:
        return [], shown
    return [
        f"only {MOST_THUMBNAILS} of {len(files)} items have a small picture here, to keep the page small"
    ], shown


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make the folder {folder}: {error.strerror or error}") from error
