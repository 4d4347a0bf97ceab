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
from patchlens.studies.report.damage import damage
from patchlens.studies.report.manifest import Manifest, read_manifest

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
        import duckdb

        try:
            return self.connection.execute(sql).fetchall()
        except duckdb.Error as error:
            reason = damage(self.folder) or str(error).splitlines()[0]
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
