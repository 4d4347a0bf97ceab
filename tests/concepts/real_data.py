"""What a lens read of LLaVA-1.5-7B on two photographs, as readings, if it lies beside the project."""

import gzip
import json
import os
from pathlib import Path

import numpy as np

from patchlens.reading.reading import Reading
from patchlens.reading.records import Answer, ModelInfo, Positions
from readings import make_grid, make_picture, patch_rows

FOLDER = Path(__file__).parents[3] / "shared" / "data" / "llava15_coco"
DATA = Path(os.environ.get("PATCHLENS_LLAVA_DATA", FOLDER))
SIDE = 24
_BARE = """
FLAG HER IST UND blatt dorf eau eso feld haus hens licht mann mund ola olas ombres osos pez piel plates riz
stein unas"""
BARE = frozenset(_BARE.split())
"""Of the texts that are words, those that the model's vocabulary has only without a leading space."""


def raw(name):
    """The data as it lies there: labels [pos] and top5 [row][pos] of [text, probability]."""
    return json.loads(gzip.decompress((DATA / f"{name}.json.gz").read_bytes()))


def piece(text):
    """Texts lack their leading space: a word gets it back unless it never has one."""
    cased = text[:1].lower() != text[:1].upper()
    return f"▁{text}" if cased and text not in BARE else text


def reading(name):
    """The data as a reading; statistics that it lacks are zero. The last row was final-normed twice."""
    data = raw(name)
    layers, labels = len(data["top5"]), data["labels"]
    words = sorted({text for row in data["top5"] for cell in row for text, _ in cell} | set(labels))
    ids = {text: token for token, text in enumerate(words)}
    cells = [[[ids[text] for text, _ in cell] for cell in row] for row in data["top5"]]
    probs = np.array([[[prob for _, prob in cell] for cell in row] for row in data["top5"]])
    grid = make_grid(336, 336, SIDE, SIDE)
    seen = iter(patch_rows(grid, 0, 0))
    rows = [next(seen) if label.startswith("<IMG") else None for label in labels]
    flat = np.zeros(probs.shape[:2], np.float32)
    none = np.zeros((*flat.shape, 0))
    return Reading(
        model=ModelInfo(data["model"], None, "real", "float16", layers - 1, 4096, len(words)),
        lens="logit",
        lens_params={},
        prompt=data["prompt"],
        answer=Answer("", ()),
        layers=np.arange(layers, dtype=np.int32),
        positions=_positions(rows, [ids[label] for label in labels]),
        pieces={token: piece(text) for text, token in ids.items()},
        top_ids=np.array(cells, np.int32),
        top_logprobs=np.log(np.maximum(probs, 1e-5)).astype(np.float32),
        entropy=flat,
        kl_to_final=flat,
        logsumexp=flat,
        targets=(),
        target_logprobs=none.astype(np.float32),
        target_ranks=none.astype(np.int32),
        target_ranks_upper=none.astype(np.int32),
        pictures=(make_picture(grid, data["image"]),),
    )


def _positions(rows, tokens):
    def column(name, other):
        return np.array([getattr(row, name) if row else other for row in rows])

    count = len(rows)
    step = np.full(count, -1, np.int32)
    step[-1] = 0
    return Positions(
        column("kind", "text").astype("U11"),
        *(column(name, -1).astype(np.int32) for name in ("image", "tile", "row", "col")),
        box=np.array([row.box if row else (np.nan,) * 4 for row in rows], np.float32),
        index=np.arange(count, dtype=np.int32),
        token=np.array(tokens, np.int32),
        step=step,
        generated=np.zeros(count, bool),
    )
