"""The page of a study: its tables as they are written to CSV, and what draws them, in one HTML file."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from patchlens.views.html import asset, escape, fill, source_hash


@dataclass(frozen=True)
class Payload:
    """What the page shows; ``viewer/src/study/data.ts`` reads it.

    ``progress`` is model, wanted, done and failed items; quantities are name, meaning and unit; tables are
    name, meaning and CSV text.
    """

    name: str
    models: tuple[str, ...]
    lenses: tuple[str, ...]
    groups: tuple[str, ...]
    progress: tuple[tuple[str, int, int, int], ...]
    versions: Mapping[str, str]
    notes: tuple[str, ...]
    quantities: tuple[tuple[str, str, str], ...]
    summaries: tuple[tuple[str, str, str], ...]
    tables: tuple[tuple[str, str, str], ...]


def page(payload: Payload, thumbnails: Mapping[str, str], *, title: str) -> str:
    """The whole page as text; its policy allows just its own script and style, by hash.

    Args:
        payload: what to show.
        thumbnails: small pictures by item, as ``data:`` addresses.
        title: of the window.
    """
    script, style = asset("study.js"), asset("study.css")
    return fill(
        asset("page.html"),
        {
            "title": escape(f"{title} · patchlens"),
            "script_hash": source_hash(script),
            "style_hash": source_hash(style),
            "script": script,
            "style": style,
            "readings": fill(asset("study-block.html"), {"payload": _packed(payload, thumbnails)}),
        },
    )


def _packed(payload: Payload, thumbnails: Mapping[str, str]) -> str:
    """JSON, deflated, in base64."""
    told = json.dumps(
        asdict(payload) | {"thumbnails": dict(thumbnails)}, ensure_ascii=False, separators=(",", ":")
    )
    return base64.b64encode(zlib.compress(told.encode(), 9)).decode("ascii")
