"""A study's folder as tables that can be queried: aggregated in DuckDB, never loaded."""

from __future__ import annotations

import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from patchlens.errors import FormatError, MissingExtraError
from patchlens.studies.layout import ALL, REST
from patchlens.studies.report.manifest import Manifest, read_manifest
from patchlens.studies.report.tables import Table

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from patchlens.studies.schema import DatasetTable

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
        return self._executed(sql).fetchall()

    def table(self, name: str, about: str, sql: str) -> Table:
        """A table of the report as a query gives it, its columns as the query calls them.

        Raises:
            FormatError: as `query`.
        """
        found = self._executed(sql)
        columns = tuple(column[0] for column in found.description or ())
        return Table(name, about, columns, tuple(found.fetchall()))

    def _executed(self, sql: str) -> DuckDBPyConnection:
        import duckdb

        try:
            return self.connection.execute(sql)
        except duckdb.Error as error:
            reason = _damage(self.folder) or str(error).splitlines()[0]
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
    manifest = read_manifest(folder)
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


def _view(source: Source, table: DatasetTable) -> None:
    """A view of a table's files, or an empty table of its columns where there are none yet."""
    files = table.files(source.folder)
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
    for name, meaning in ((ALL, "all items"), (REST, "all other groups")):
        if source.query(f"SELECT 1 FROM done WHERE \"group\" = '{name}' LIMIT 1"):
            raise FormatError(
                f"a group of the study is called {name}, which stands for {meaning}; name it otherwise"
            )


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _unglobbed(path: str) -> str:
    """The path with the signs that DuckDB takes for patterns taken literally."""
    return "".join(f"[{char}]" if char in "*?[" else char for char in path)


def _damage(folder: Path) -> str | None:
    """The first file that cannot be read through, row group by row group, and the remedy."""
    from patchlens.studies.schema import ITEMS, MODEL, TABLES

    for table in TABLES:
        for path in table.files(folder):
            if fault := _fault(path):
                model = path.relative_to(folder).parts[1 + table.partitions.index(MODEL)]
                closing = folder / ITEMS.name / model / path.name
                files = "it" if path == closing else f"it and {closing}"
                return f"{path} is damaged ({fault}): remove {files}, then run patchlens study again"
    return None


def _fault(path: Path) -> str | None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            for number in range(file.num_row_groups):
                file.read_row_group(number)
    except (OSError, pa.ArrowException) as error:
        return str(error).splitlines()[0].rstrip(".")
    return None
