"""A study's folder as tables that can be queried: aggregated in DuckDB, never loaded."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from patchlens.errors import FormatError, MissingExtraError
from patchlens.studies.layout import FORMAT_VERSION, MANIFEST
from patchlens.studies.report.tables import ALL

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from patchlens.studies.schema import Table

MEMORY: Final = "1GB"

_DONE: Final = """
    CREATE VIEW done AS
    SELECT model, item, number, coalesce("group", '') AS "group", answer, answer_ids, "right"
    FROM items WHERE error IS NULL
"""
_OF_DONE: Final = """
    CREATE VIEW {name} AS
    SELECT f.* EXCLUDE ("group"), d."group" FROM {name}_files f JOIN done d USING (model, item)
"""


@dataclass(frozen=True)
class Manifest:
    """What the study says of itself: its name, models, lenses, number of items, versions of packages.

    ``left_out`` says why a model was not read through a lens.
    """

    name: str
    models: tuple[str, ...]
    lenses: tuple[str, ...]
    items: int
    versions: Mapping[str, str]
    left_out: Mapping[tuple[str, str], str]


@dataclass(frozen=True)
class Source:
    """An open study: ``query`` sees items, done, and the cells, targets and effects of done items.

    The group of an item without one is empty text.
    """

    folder: Path
    manifest: Manifest
    connection: DuckDBPyConnection

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Rows of a query.

        Raises:
            FormatError: the dataset's files cannot be read as such.
        """
        import duckdb

        try:
            return self.connection.execute(sql).fetchall()
        except duckdb.Error as error:
            reason = str(error).splitlines()[0]
            raise FormatError(f"cannot read the tables of the study in {self.folder}: {reason}") from error


@contextmanager
def open_study(folder: str | Path) -> Generator[Source]:
    """Open the folder of a study; what does not fit into memory waits in a temporary folder.

    Raises:
        MissingExtraError: duckdb or pyarrow is not installed.
        FormatError: the folder holds no study, or none that this version can read.
    """
    try:
        import duckdb

        from patchlens.studies import schema
    except ModuleNotFoundError as missing:
        raise MissingExtraError("a report", missing.name or "duckdb", "study") from None
    folder = Path(folder)
    manifest = _manifest(folder)
    with tempfile.TemporaryDirectory() as spill, duckdb.connect(":memory:") as connection:
        source = Source(folder, manifest, connection)
        connection.execute(f"SET memory_limit = '{MEMORY}'")
        connection.execute(f"SET temp_directory = {_quoted(spill)}")
        connection.execute("SET preserve_insertion_order = false")
        for table in schema.TABLES:
            _view(source, table)
        source.query(_DONE)
        for table in schema.TABLES[1:]:
            source.query(_OF_DONE.format(name=table.name))
        _check_groups(source)
        yield source


def _manifest(folder: Path) -> Manifest:
    path = folder / MANIFEST
    try:
        told = json.loads(path.read_text("utf-8"))
        if told["format_version"] != FORMAT_VERSION:
            raise FormatError(
                f"{path} is of format {told['format_version']}, this version of patchlens reads "
                f"{FORMAT_VERSION}; use the version that wrote it"
            )
        return Manifest(
            str(told["name"]),
            tuple(str(model["name"]) for model in told["models"]),
            tuple(str(lens["name"]) for lens in told["lenses"]),
            len(told["items"]),
            {str(name): str(version) for name, version in told.get("versions", {}).items()},
            {
                (str(model), str(lens)): str(reason)
                for model, about in told.get("about", {}).items()
                for lens, reason in about["left_out"].items()
            },
        )
    except FileNotFoundError:
        raise FormatError(
            f"{folder} holds no study: there is no {MANIFEST}; name the folder that patchlens study wrote"
        ) from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise FormatError(f"{path} is not the description of a study: {error!r}") from error


def _view(source: Source, table: Table) -> None:
    """A view of a table's files, or an empty table of its columns where there are none yet."""
    pattern = "/".join([*(f"{key}=*" for key in table.partitions), "*.parquet"])
    files = sorted((source.folder / table.name).glob(pattern))
    name = table.name if table.name == "items" else f"{table.name}_files"
    if files:
        listed = ", ".join(_quoted(_unglobbed(str(path))) for path in files)
        options = "hive_partitioning = true, hive_types_autocast = false"
        source.query(f"CREATE VIEW {name} AS SELECT * FROM read_parquet([{listed}], {options})")
        return
    import pyarrow as pa

    schema = table.schema
    for key in table.partitions:
        schema = schema.append(pa.field(key, pa.string()))
    source.connection.register(name, schema.empty_table())


def _check_groups(source: Source) -> None:
    if source.query(f"SELECT 1 FROM done WHERE \"group\" = '{ALL}' LIMIT 1"):
        raise FormatError(
            f"a group of the study is called {ALL}, which stands for all items; name it otherwise"
        )


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _unglobbed(path: str) -> str:
    """The path with the signs that DuckDB takes for patterns taken literally."""
    return "".join(f"[{char}]" if char in "*?[" else char for char in path)
