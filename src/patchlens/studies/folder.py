"""The folder of a study: what was asked, and parts that are there whole or not at all.

A part holds some items of one model: a file in each lens's tables, then one in ``items``, which closes it. A
part that was stopped before is made again under the same names, so that no row is there twice.
"""

from __future__ import annotations

import fcntl
import io
import json
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from patchlens.errors import OutputError, StudyError
from patchlens.files import same_or_refuse, write_atomically
from patchlens.studies.layout import FORMAT_VERSION, MANIFEST, READINGS, file_name
from patchlens.studies.schema import CELLS, ITEMS, LENS, MODEL, TABLES, Table
from patchlens.studies.work.task import About, Done

LOCK: Final = ".lock"


@dataclass(frozen=True)
class Kept:
    """What a closed part says of an item: its pictures' digests, and why it failed if it did."""

    digests: tuple[str, ...]
    error: str | None


@dataclass(frozen=True)
class StudyFolder:
    """Reads and writes the folder of a study."""

    root: Path

    @contextmanager
    def locked(self) -> Generator[None]:
        """Keep others out while a study runs; what a killed one left half-written is removed.

        Raises:
            StudyError: another process is at work in it.
            OutputError: it cannot be made.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            lock = (self.root / LOCK).open("w")
        except OSError as error:
            raise OutputError(f"cannot make the folder {self.root}: {error.strerror or error}") from error
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise StudyError(f"another process runs a study in {self.root}: wait until it ends") from None
            for part in self.root.rglob(".*.part"):
                part.unlink()
            yield

    # -- what was asked --------------------------------------------------------------------------------------

    def begin(self, asked: Mapping[str, Any], versions: Mapping[str, str]) -> None:
        """Write down what is asked, or hold it against what was.

        Raises:
            StudyError: the folder holds another study, or one of other versions; says in what they differ.
        """
        now = {"format_version": FORMAT_VERSION, **asked, "versions": dict(versions), "about": {}}
        before = self._manifest()
        if before is None and any(path.name != LOCK for path in self.root.iterdir()):
            raise StudyError(f"{self.root} is not empty and holds no study: choose another folder")
        if before is None or not any(self.root.rglob("*.parquet")):
            self._write_manifest(now)
            return
        self._compare({**before, "about": {}, "name": now.get("name")}, now)

    def settle(self, model: str, about: About) -> None:
        """Write down what a model and its lenses are, or hold it against what they were.

        Raises:
            StudyError: they are others; says in what they differ.
        """
        manifest = self._manifest()
        assert manifest is not None
        known = manifest["about"]
        now = json.loads(json.dumps(asdict(about)))
        if model not in known:
            self._write_manifest({**manifest, "about": {**known, model: now}})
            return
        self._compare({model: known[model]}, {model: now})

    def left_out(self, model: str) -> Mapping[str, str]:
        """Lenses that are not for a model, with the reason."""
        return self._about(model).get("left_out", {})

    def _about(self, model: str) -> dict[str, Any]:
        """What a model and its lenses are; empty before they are known."""
        manifest = self._manifest() or {"about": {}}
        return manifest["about"].get(model, {})

    def _manifest(self) -> dict[str, Any] | None:
        path = self.root / MANIFEST
        if not path.exists():
            return None
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise StudyError(f"{path} cannot be read: {error}") from error
        if not isinstance(content, dict) or content.get("format_version") != FORMAT_VERSION:
            raise StudyError(f"{path} is not of a study that this version can go on with")
        return content

    def _write_manifest(self, content: Mapping[str, Any]) -> None:
        write_atomically(self.root / MANIFEST, json.dumps(content, ensure_ascii=False, indent=1) + "\n")

    def _compare(self, before: Any, now: Any) -> None:
        remedy = "run it as it was, or choose another folder"
        same_or_refuse(self.root, "a study", before, now, remedy, StudyError)

    # -- parts -----------------------------------------------------------------------------------------------

    def kept(self, model: str) -> dict[str, Kept]:
        """Every item that is done or has failed, by name; not those of a part with a file missing.

        Raises:
            StudyError: a part is damaged.
        """
        lenses = self._about(model).get("lenses", {})
        found: dict[str, Kept] = {}
        for path in sorted(self._place(ITEMS, model).glob("part-*.parquet")):
            rows = _read(path, ITEMS, ["item", "digests", "error"]).to_pylist()
            own = {row["item"]: Kept(tuple(row["digests"]), row["error"]) for row in rows}
            is_whole = all((self._place(CELLS, model, lens) / path.name).exists() for lens in lenses)
            if is_whole or all(one.error is not None for one in own.values()):
                found |= own
        return found

    def commit(self, model: str, part: int, done: Done) -> None:
        """Add items to a part and close it; those it already holds stay, failed ones that came again do not.

        Raises:
            OutputError: the disk is full or not writable; what was there before still is.
        """
        name = f"part-{part:05d}.parquet"
        closed = self._place(ITEMS, model) / name
        self._reopen(closed, done.items)
        items = _merged(closed, ITEMS, done.items, None)
        order = items["item"].to_pylist()
        for (lens, item), data in done.readings.items():
            self._write(self.reading(model, lens, item), data)
        for lens, tables in done.by_lens.items():
            for table in TABLES:
                if table.name in tables:
                    path = self._place(table, model, lens) / name
                    self._write(path, _bytes(_merged(path, table, tables[table.name], order)))
        self._write(closed, _bytes(items))

    def _reopen(self, closed: Path, again: pa.Table) -> None:
        """Take items that come again out of a part first, so that none is told failed beside its rows."""
        if closed.exists():
            kept = _others(_read(closed, ITEMS), again)
            self._write(closed, _bytes(kept.cast(ITEMS.schema)))

    def reading(self, model: str, lens: str, item: str) -> Path:
        """Where the file of an item's reading is, if readings are kept."""
        return self.root / READINGS / file_name(model) / file_name(lens) / f"{file_name(item)}.safetensors"

    def _place(self, table: Table, model: str, lens: str | None = None) -> Path:
        values = {MODEL: model, LENS: lens}
        folders = [f"{name}={file_name(values[name] or '')}" for name in table.partitions]
        return self.root.joinpath(table.name, *folders)

    def _write(self, path: Path, data: bytes) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"cannot make {path.parent}: {error.strerror or error}") from error
        write_atomically(path, data)


def _read(path: Path, table: Table, columns: Sequence[str] | None = None) -> pa.Table:
    try:
        read: Any = pq.read_table
        return read(path, columns=columns, partitioning=None)
    except (OSError, pa.ArrowException) as error:
        raise StudyError(f"{path} is damaged ({error}): remove this file, and its items run again") from error


def _merged(path: Path, table: Table, new: pa.Table, order: Sequence[str] | None) -> pa.Table:
    """Rows of a part's file and new ones in place of those of the same items, in the items' order."""
    if path.exists():
        new = pa.concat_tables([_others(_read(path, table).cast(table.schema), new), new])
    if order is None:
        return new.sort_by("number")
    place = {item: number for number, item in enumerate(order)}
    rows = np.array([place[item] for item in _names(new)], np.int64)
    return new if (np.diff(rows) >= 0).all() else new.take(np.argsort(rows, kind="stable"))


def _others(old: pa.Table, new: pa.Table) -> pa.Table:
    """Rows of items that are not among the new ones."""
    return old.take(np.flatnonzero(~np.isin(_names(old), _names(new))))


def _names(table: pa.Table) -> NDArray[Any]:
    return np.array(table["item"].cast(pa.string()).to_pylist(), object).astype(str)


def _bytes(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    whole: Any = table.unify_dictionaries()
    write: Any = pq.write_table
    write(whole, sink, compression="zstd", use_dictionary=_repeating(table.schema))
    return sink.getvalue()


def _repeating(schema: pa.Schema) -> list[str]:
    """Columns whose values come again and again; real numbers do not."""
    return [field.name for field in schema if not pa.types.is_floating(field.type)]
