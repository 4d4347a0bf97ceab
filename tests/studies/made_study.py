"""A study made of drawn numbers: small, of known truth, written as the schema has it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from patchlens.studies.schema import CELLS, EFFECTS, ITEMS, TARGETS, DatasetTable

LAYERS = {"demo": 5, "lab/two": 7}
LENSES = ("logit", "tuned")
GROUPS = ("plain", "object", "collage")
PATCHES, STEPS = 4, 2
PIECES = ("▁cat", "▁Katze", "猫", "▁dog", "▁sky")
LANGUAGE = {"▁cat": "en", "▁Katze": "de", "▁dog": "en", "猫": "zh", "▁sky": None}


@dataclass
class MadeStudy:
    """What was written, row by row, for tests to compute from."""

    folder: Path
    rows: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def of(self, table: str, **equal: Any) -> list[dict[str, Any]]:
        """Rows of a table with these values."""
        return [row for row in self.rows[table] if all(row[key] == value for key, value in equal.items())]


def write_study(
    folder: Path,
    *,
    per_group: int = 4,
    groups: Sequence[str | None] = GROUPS,
    models: Mapping[str, int] = LAYERS,
    lenses: Sequence[str] = LENSES,
    shift: Mapping[str | None, float] | None = None,
    failed: Mapping[str, str] | None = None,
    halfway: bool = False,
    unread: int = 0,
    texts: Mapping[str, str] | None = None,
    seed: int = 0,
) -> MadeStudy:
    """Write a study of ``per_group`` items for each group; ``shift`` moves the entropy of a group's items.

    ``failed`` gives items their error, after their cells were written if ``halfway``. The last ``unread``
    items of each model are not there at all, and ``texts`` replaces parts of items by name of column.
    """
    made = MadeStudy(folder, {table.name: [] for table in (ITEMS, CELLS, TARGETS, EFFECTS)})
    rng = np.random.default_rng(seed)
    names = [(f"item-{g}-{i}", group) for g, group in enumerate(groups) for i in range(per_group)]
    for model, n_layers in models.items():
        for number, (item, group) in enumerate(names[: len(names) - unread]):
            error = (failed or {}).get(item)
            made.rows["items"].append(_item(rng, model, number, item, group, error, texts or {}))
            for lens in () if error and not halfway else lenses:
                cells = _cells(rng, model, lens, item, group, n_layers, (shift or {}).get(group, 0.0))
                made.rows["cells"] += cells
                made.rows["targets"] += _targets(cells, rng)
                made.rows["effects"].append(_effect(rng, model, lens, item, group))
    for table in (ITEMS, CELLS, TARGETS, EFFECTS):
        _write(folder, table, made.rows[table.name])
    manifest = {
        "format_version": 1,
        "name": (texts or {}).get("name", "drawn numbers"),
        "models": [{"name": name} for name in models],
        "lenses": [{"name": name} for name in lenses],
        "versions": {"patchlens": "0.1.0"},
        "items": [{"name": name} for name in names],
    }
    (folder / "study.json").write_text(json.dumps(manifest), "utf-8")
    return made


def _item(
    rng: np.random.Generator,
    model: str,
    number: int,
    item: str,
    group: str | None,
    error: str | None,
    texts: Mapping[str, str],
) -> dict[str, Any]:
    ids = rng.integers(0, 20, rng.integers(1, 6)).tolist()
    return {
        "model": model,
        "item": item,
        "number": number,
        "group": group,
        "prompt": texts.get("prompt", "What is this?"),
        "pictures": [texts.get("picture", f"{item}.png")],
        "digests": ["0" * 64],
        "expected": ["cat"],
        "answer": None if error else texts.get("answer", f"a cat {ids[0]}"),
        "answer_ids": None if error else ids,
        "answer_pieces": None if error else [f"p{i}" for i in ids],
        "right": None if error else bool(rng.random() < 0.7),
        "positions": PATCHES + STEPS,
        "patches": PATCHES,
        "notes": [],
        "error": error,
    }


def _cells(
    rng: np.random.Generator,
    model: str,
    lens: str,
    item: str,
    group: str | None,
    n_layers: int,
    shift: float,
) -> list[dict[str, Any]]:
    places = [("patch", None, p) for p in range(PATCHES)] + [("text", s, PATCHES + s) for s in range(STEPS)]
    leads = int(rng.integers(1, n_layers - 1))
    own = rng.normal(0, 0.3)
    rows: list[dict[str, Any]] = []
    for layer in range(n_layers):
        for kind, step, position in places:
            order = rng.permutation(len(PIECES))[:3].tolist()
            piece = PIECES[order[0]]
            is_patch = kind == "patch"
            rank = 0 if layer >= leads else int(rng.integers(0, 40))
            depth = layer / (n_layers - 1)
            rows.append(
                {
                    "model": model,
                    "lens": lens,
                    "item": item,
                    "group": group,
                    "layer": layer,
                    "position": position,
                    "kind": kind,
                    "step": step,
                    "image": 0 if is_patch else None,
                    "tile": 0 if is_patch else None,
                    "row": position // 2 if is_patch else None,
                    "col": position % 2 if is_patch else None,
                    "token": 7,
                    "piece": "<image>" if is_patch else "▁x",
                    "top_ids": order,
                    "top_pieces": [PIECES[i] for i in order],
                    "top_logprobs": [-0.1, -2.0, -3.0],
                    "language": LANGUAGE[piece],
                    "entropy": max(6.0 * (1 - depth) + 1 + shift + own + rng.normal(0, 0.2), 0.0),
                    "kl_to_final": 5.0 * (1 - depth) + 0.2 * rng.random(),
                    "logsumexp": 10.0,
                    "answer_logprob": None if is_patch else float(np.log(0.02 + 0.9 * depth * rng.random())),
                    "answer_rank": None if is_patch else rank,
                    "attention_patch": None if is_patch or layer == 0 else float(0.2 + 0.5 * rng.random()),
                    "attention_image_other": None,
                    "attention_text": None,
                    "attention_special": None,
                    "attention_sink": None,
                    "contribution": None,
                    "attention": None,
                    "contextual": None,
                }
            )
    return rows


def _targets(cells: Sequence[dict[str, Any]], rng: np.random.Generator) -> list[dict[str, Any]]:
    """Two expected words of one token each, one of them twice, and one word that is not expected."""
    rows: list[dict[str, Any]] = []
    for cell in cells:
        place = {key: cell[key] for key in ("model", "lens", "item", "group", "layer", "position", "kind")}
        place |= {key: cell[key] for key in ("step", "image", "tile", "row", "col")}
        cat, katze = (float(value) for value in np.log(rng.uniform(0.01, 0.3, 2)))
        ranks = rng.integers(0, 30, 2).tolist()
        for source, word, token, logprob, rank in (
            ("expected", "cat", 0, cat, ranks[0]),
            ("expected", "Cat", 0, cat, ranks[0]),
            ("expected", "Katze", 1, katze, ranks[1]),
            ("answer", "dog", 3, -0.01, 0),
        ):
            rows.append(
                place
                | {"source": source, "concept": None, "language": None, "word": word, "token": token}
                | {
                    "piece": PIECES[token],
                    "whole": True,
                    "logprob": logprob,
                    "rank": rank,
                    "rank_upper": rank,
                }
            )
    return rows


def _effect(rng: np.random.Generator, model: str, lens: str, item: str, group: str | None) -> dict[str, Any]:
    return {
        "model": model,
        "lens": lens,
        "item": item,
        "group": group,
        "change": "blank patches",
        "layer": None,
        "patches": 2,
        "effect": float(rng.normal(-1.0, 0.2)),
        "control": float(rng.normal(-0.1, 0.2)),
        "draws": 3,
    }


def _write(folder: Path, table: DatasetTable, rows: Sequence[dict[str, Any]]) -> None:
    parts: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for row in rows:
        parts.setdefault(tuple(row[key] for key in table.partitions), []).append(row)
    for values, own in parts.items():
        keys = zip(table.partitions, values, strict=True)
        place = folder.joinpath(table.name, *(f"{key}={quote(value, safe='')}" for key, value in keys))
        place.mkdir(parents=True)
        columns = {name: [row[name] for row in own] for name in table.schema.names}
        pq.write_table(pa.table(columns, schema=table.schema), place / "part-00000.parquet")
