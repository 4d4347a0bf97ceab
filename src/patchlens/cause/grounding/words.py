"""Verdicts on the words of answers in the terminal."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from patchlens.cause.grounding.judged import Judged, Verdicts
from patchlens.cause.grounding.replaced import CONTROL, KINDS
from patchlens.cause.grounding.verdict import Evidence, Verdict
from patchlens.views.words import visible_text

FEW = 3
_STYLES: dict[Verdict, str] = {
    "grounded": "bold green",
    "prior": "yellow",
    "inverted": "bold red",
    "unclear": "dim",
}


def print_words(found: Judged, console: Console) -> None:
    """Print, for the first few answers, which of their tokens rest on the picture, and why that is said."""
    judged = [one for one in found.verdicts if one.seen is not None]
    for one in judged[:FEW]:
        console.print(Text(visible_text(f"{one.case} · {one.prompt}"), style="bold"), soft_wrap=True)
        console.print(_table(one))
    if len(judged) > FEW:
        told = f"the words of {len(judged) - FEW} more answers are in --json"
        console.print(Text(told, style="dim"), soft_wrap=True)


def _table(one: Verdicts) -> Table:
    assert one.seen is not None
    made = Table(box=box.SIMPLE_HEAD, padding=(0, 1), title="nats by which a token is less likely under …")
    made.add_column("answer", overflow="fold")
    made.add_column("verdict")
    for kind in (CONTROL, *KINDS):
        made.add_column(kind, justify="right", min_width=max(map(len, kind.split())))
    rows = [*zip(one.seen.pieces, one.seen.tokens, strict=True), ("all of it", one.seen.whole)]
    for piece, evidence in rows:
        made.add_row(
            Text(visible_text(piece)),
            Text(evidence.verdict, style=_STYLES[evidence.verdict]),
            *(_drop(evidence, kind) for kind in (CONTROL, *KINDS)),
        )
    return made


def _drop(evidence: Evidence, kind: str) -> str:
    """Nats; where they were cut off, with a sign that says to which side."""
    sign = {"at least": "≥", "at most": "≤", None: ""}[evidence.bounds.get(kind)]
    return f"{sign}{round(evidence.drops[kind], 2) + 0.0:.2f}"
