"""Print the figures of an example: `python examples/figures.py NAME FOLDER`, after `patchlens study`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import duckdb

HERE = Path(__file__).parent


def figures(name: str, folder: Path) -> list[tuple[str, list[str], list[tuple[object, ...]]]]:
    """Title, columns and rows of every query in an example's figures.sql; a query's title is its comment.

    Args:
        name: folder of the example.
        folder: what `patchlens study` wrote.
    """
    script = HERE.resolve() / name / "figures.sql"
    before = Path.cwd()
    found: list[tuple[str, list[str], list[tuple[object, ...]]]] = []
    with duckdb.connect() as connection:
        os.chdir(folder)
        try:
            connection.execute((HERE.resolve() / "shared.sql").read_text(encoding="utf-8"))
            for statement in connection.extract_statements(script.read_text(encoding="utf-8")):
                connection.execute(statement)
                if statement.type == duckdb.StatementType.SELECT:
                    columns = [column[0] for column in connection.description or ()]
                    found.append((_title(statement.query), columns, connection.fetchall()))
        finally:
            os.chdir(before)
    return found


def _title(query: str) -> str:
    comments = [line.strip() for line in query.splitlines() if line.lstrip().startswith("--")]
    return " ".join(line.removeprefix("--").strip() for line in comments)


def _told(columns: list[str], rows: list[tuple[object, ...]]) -> str:
    """Rows as a Markdown table."""
    if not rows:
        return "(no rows: this model has nothing to read there)"
    cells = [columns, ["---"] * len(columns), *([_cell(value) for value in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


def _cell(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.2f}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit("usage: python examples/figures.py NAME FOLDER")
    if not (Path(sys.argv[2]) / "items").is_dir():
        raise SystemExit(f"{sys.argv[2]} holds no study: run patchlens study first")
    for title, columns, rows in figures(sys.argv[1], Path(sys.argv[2])):
        print(f"\n**{title}**\n\n{_told(columns, rows)}")
