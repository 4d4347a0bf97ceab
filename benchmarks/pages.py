"""A reading of real size with tokens as real ones fall, and the page that older tools would write of it."""

from __future__ import annotations

import html
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from patchlens.reading.reading import Reading
from patchlens.views.html import fill
from patchlens.views.pictures import data_url
from patchlens.views.words import percent, visible
from readings import WORDS, make_reading

VOCABULARY = 32000
KEPT = 0.7  # share of a layer's candidates that the next layer keeps
TEMPLATE = Path(__file__).with_name("older.html")


def real_reading(rows: int, cols: int, others: int, layers: int = 33, k: int = 10) -> Reading:
    """A reading of ``rows * cols + others`` positions; tokens follow a Zipf law and stay over layers."""
    random = np.random.default_rng(0)
    reading = make_reading(
        rows=rows, cols=cols, size=(14 * cols, 14 * rows), n_layers=layers - 1, k=k, targets=(),
        prompt_tokens=[3 + i % 4 for i in range(others - 2)],
    )  # fmt: skip
    shape = (layers, len(reading.positions), k)
    top_ids = _candidates(random, shape)
    words = _words(random)
    used = {*np.unique(top_ids).tolist(), *reading.positions.token.tolist(), *reading.answer.ids}
    depth = np.linspace(0, 1, layers)[:, None]
    return replace(
        reading,
        top_ids=top_ids,
        top_logprobs=_logprobs(random, shape, depth),
        entropy=random.gamma(9, (1.1 - 0.8 * depth), shape[:2]).astype(np.float32),
        kl_to_final=(random.gamma(6, 1.5, shape[:2]) * (1 - depth)).astype(np.float32),
        pieces={token: words[token] for token in sorted(used)},
    )


def _words(random: np.random.Generator) -> list[str]:
    """Made words, common ones shorter, most with the mark of a leading space."""
    letters = list("etaoinshrdlucmfwypvbgkjqxz")
    chances = 1 / (np.arange(len(letters)) + 3)
    made = list(WORDS)
    while len(made) < VOCABULARY:
        length = 2 + random.poisson(1.2 * np.log10(len(made)))
        start = "▁" if random.random() < 0.7 else ""
        made.append(start + "".join(random.choice(letters, length, p=chances / chances.sum())))
    return made


def _candidates(random: np.random.Generator, shape: tuple[int, int, int]) -> NDArray[np.int32]:
    """Token ids, no two alike in a cell; most of a layer's stay among those of the next."""
    layers, positions, k = shape
    chances = 1 / (np.arange(VOCABULARY) + 2.7)
    chances /= chances.sum()
    ids = np.empty(shape, np.int32)
    kept = np.empty((positions, 0), np.int32)
    for layer in range(layers):
        drawn = random.choice(VOCABULARY, (positions, 3 * k), p=chances)
        for position, (old, new) in enumerate(zip(kept.tolist(), drawn.tolist(), strict=True)):
            stay = [token for token, chance in zip(old, random.random(k), strict=False) if chance < KEPT]
            ids[layer, position] = list(dict.fromkeys(stay + new))[:k]
        kept = ids[layer]
    return ids


def _logprobs(
    random: np.random.Generator, shape: tuple[int, int, int], depth: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Falling log-probabilities, surer in deeper layers, together less than one."""
    falls = random.exponential(0.5, shape)
    falls[..., 0] = random.exponential(4 - 3 * depth, shape[:2])
    logprobs = -np.cumsum(falls, -1)
    total = np.logaddexp.reduce(logprobs, -1, keepdims=True)
    return (logprobs - np.maximum(total + 0.01, 0)).astype(np.float32)


def older_page(reading: Reading) -> str:
    """One table cell per layer and position with its top-k in a tooltip, and one element per patch."""
    values = {
        "last": str(len(reading.layers) - 1),
        "picture": data_url(reading.pictures[0]),
        "patches": "".join(_patch(reading, i) for i in np.flatnonzero(reading.positions.kind == "patch")),
        "rows": "\n".join(_row(reading, layer) for layer in range(len(reading.layers))),
    }
    return fill(TEMPLATE.read_text("utf-8"), values)


def _patch(reading: Reading, position: int) -> str:
    grid = reading.pictures[0].grid
    left, top, right, bottom = reading.positions.box[position] * 100
    place = f"left:{left / grid.width:.2f}%;top:{top / grid.height:.2f}%"
    size = f"width:{(right - left) / grid.width:.2f}%;height:{(bottom - top) / grid.height:.2f}%"
    return f'<span data-position="{position}" style="{place};{size}"></span>'


def _row(reading: Reading, layer: int) -> str:
    cells = []
    for ids, logprobs, entropy in zip(
        reading.top_ids[layer].tolist(),
        np.exp(reading.top_logprobs[layer]).tolist(),
        reading.entropy[layer].tolist(),
        strict=True,
    ):
        words = [html.escape(visible(reading.pieces[token])) for token in ids]
        told = "\n".join(f"{word} {percent(prob)}" for word, prob in zip(words, logprobs, strict=True))
        colour = f"background:rgb(80 120 255/{logprobs[0]:.2f})"
        cells.append(f'<td style="{colour}" data-entropy="{entropy:.2f}" title="{told}">{words[0]}</td>')
    return f"<tr><th>{reading.layers[layer]}</th>{''.join(cells)}</tr>"
