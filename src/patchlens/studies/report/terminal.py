"""The head of a report in a terminal, or all of it as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from patchlens.stats.chance import LEVEL
from patchlens.studies.layout import ALL
from patchlens.studies.report.tables import Report, Value
from patchlens.studies.report.write import Written
from patchlens.views.terminal import print_table
from patchlens.views.words import visible_text

_COLUMNS = ("model", "lens", "group", "items", "right", "entropy", "probability", "answer leads from layer")


def print_report(report: Report, console: Console) -> None:
    """Print the groups side by side, how many differences stand, and what must be known first."""
    console.print(Text(visible_text(report.name), style="bold"), soft_wrap=True)
    print_table(_table(report), console)
    for line in _stand(report):
        console.print(Text(line), soft_wrap=True)
    for note in report.notes:
        console.print(Text(visible_text(f"note: {note}"), style="dim"), soft_wrap=True)


def to_json(report: Report, written: Written) -> str:
    """All tables as lists of objects, with what must be known first and where the page is."""
    told = {
        "name": report.name,
        "page": str(written.page),
        "notes": report.notes,
        "progress": [asdict(own) for own in report.progress],
        "tables": {table.name: table.records() for table in report.tables},
    }
    return json.dumps(told, indent=1, ensure_ascii=False, allow_nan=False)


def _table(report: Report) -> Table:
    last = _last_values(report)
    right = {(row["model"], row["group"]): row for row in report.table("answers").records()}
    made = Table(box=box.SIMPLE_HEAD, padding=(0, 1))
    for name in _COLUMNS:
        made.add_column(name, overflow="fold")
    for row in report.table("emergence").records():
        if row["event"] != "answer_leads":
            continue
        key = row["model"], row["lens"], row["group"]
        answer = right.get((row["model"], row["group"]), {})
        made.add_row(
            *(Text(visible_text(_group(str(value)))) for value in key),
            str(row["items"]),
            _number(answer.get("right")),
            *(_number(last.get((*key, name))) for name in ("entropy_answer", "probability")),
            _spread(row["layer_mean"], row["layer_low"], row["layer_high"]),
        )
    return made


def _last_values(report: Report) -> dict[tuple[Value, ...], Value]:
    """Means by model, lens, group and quantity at the last layer, which comes last in the table."""
    rows = report.table("curves").records()
    return {(row["model"], row["lens"], row["group"], row["quantity"]): row["mean"] for row in rows}


def _stand(report: Report) -> list[str]:
    rows = report.table("differences").records()
    lines: list[str] = []
    for kind in ("groups", "models", "lenses"):
        p = [row["p_holm"] for row in rows if row["between"] == kind and row["p_holm"] is not None]
        if p:
            stand = sum(float(str(value)) < LEVEL for value in p)
            lines.append(
                f"between {kind}: {stand} of {len(p)} differences are beyond chance (Holm's p below {LEVEL})"
            )
    return lines


def _group(name: str) -> str:
    return {ALL: "all items", "": "no group"}.get(name, name)


def _number(value: Value) -> str:
    return f"{value:.2f}" if isinstance(value, float) else "–"


def _spread(mean: Value, low: Value, high: Value) -> str:
    return _number(mean) if low is None else f"{_number(mean)} ({_number(low)} to {_number(high)})"
