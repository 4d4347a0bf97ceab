"""The scoreboard as one static file: tables and charts, nothing to load and nothing that runs."""

from __future__ import annotations

import base64
from pathlib import Path

from patchlens.bench import wording
from patchlens.bench.board import Board, ModelScores
from patchlens.bench.score import Metric
from patchlens.errors import MissingExtraError
from patchlens.files import write_atomically
from patchlens.views.charts import rendered
from patchlens.views.html import asset, escape, fill, source_hash


def check_charts() -> None:
    """Say what is missing before the models run, not after.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        import matplotlib  # noqa: F401  # pyright: ignore[reportUnusedImport]
    except ModuleNotFoundError:
        raise MissingExtraError("the page of the scoreboard", "matplotlib", "chart") from None


def board_page(board: Board, title: str = "patchlens: lenses where the truth is known") -> str:
    """The whole page as text; its policy allows just its own style, by hash.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    check_charts()
    style = asset("scoreboard.css")
    versions = ", ".join(f"{name} {version}" for name, version in board.versions.items())
    return fill(
        asset("scoreboard.html"),
        {
            "title": escape(title),
            "subtitle": escape(board.data),
            "rule": escape(wording.RULE),
            "style_hash": source_hash(style),
            "style": style,
            "models": "".join(_model(scores) for scores in board.models),
            "footer": escape(versions),
        },
    )


def write_board(board: Board, path: str | Path) -> Path:
    """Write the page, whole or not at all.

    Raises:
        MissingExtraError: matplotlib is not installed.
        OutputError: the file cannot be written.
    """
    return write_atomically(path, board_page(board))


def _model(scores: ModelScores) -> str:
    from patchlens.bench.figures import courses

    drawn = base64.b64encode(rendered(courses(scores), ".svg")).decode()
    rows = "".join(_row(metric, scores) for metric in wording.rows(scores.lenses))
    notes = [f"{name} is left out: {reason}" for name, reason in scores.left_out.items()]
    return fill(
        asset("scoreboard-model.html"),
        {
            "model": escape(f"{scores.model} · {scores.dtype}"),
            "lenses": "".join(
                fill(asset("scoreboard-lens.html"), {"text": escape(own.lens)}) for own in scores.lenses
            ),
            "rows": _layers(scores) + rows,
            "left_out": "".join(
                fill(asset("scoreboard-note.html"), {"text": escape(note)}) for note in notes
            ),
            "chart": f"data:image/svg+xml;base64,{drawn}",
            "chart_text": escape(f"The figures of {scores.model} by layer; dotted: the shuffled null"),
        },
    )


def _layers(scores: ModelScores) -> str:
    words, maps = zip(*(wording.layers(own) for own in scores.lenses), strict=True)
    about = "chosen on other pictures; where it says others, the layer shift is not beaten"
    return "".join(
        _line(name, about, [wording.Cell(text, "", cleared=True) for text in texts])
        for name, texts in (("words at layer", words), ("maps at layer", maps))
        if set(texts) != {"–"}
    )


def _row(metric: Metric, scores: ModelScores) -> str:
    cells = [wording.cell(own.headline(metric.name), metric) for own in scores.lenses]
    return _line(wording.NAMES[metric.name], metric.about, cells)


def _line(name: str, about: str, cells: list[wording.Cell]) -> str:
    return fill(
        asset("scoreboard-row.html"),
        {
            "name": escape(name),
            "about": escape(about),
            "cells": "".join(
                fill(
                    asset("scoreboard-cell.html"),
                    {
                        "state": "" if cell.cleared else "failed",
                        "value": escape(cell.value),
                        "null": escape(cell.null if cell.cleared else f"✗ {cell.null}"),
                    },
                )
                for cell in cells
            ),
        },
    )
