"""Fit a Jacobian lens to a model on what it answers about some items."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from pathlib import Path

import numpy as np

from patchlens.data.item import Item
from patchlens.errors import SelectionError, naming
from patchlens.fit.gather import FitProgress
from patchlens.fit.settings import JacobianSettings
from patchlens.fit.survey import survey
from patchlens.fit.vjp import fit_jacobian, positions
from patchlens.lens import save_lens
from patchlens.lens.engine.rank import ConceptSpread, concept_spread
from patchlens.lens.jacobian import VERSIONS, JacobianLens, Version
from patchlens.models.adapter import Adapter
from patchlens.models.encode import Inputs
from patchlens.models.generate import generate_greedy
from patchlens.models.inputs import prepare
from patchlens.models.tokens import piece_table
from patchlens.reading.records import WORD_START
from patchlens.run import Model

WORDS = 512
"""How many words a lens is asked to tell apart."""
_WORD = re.compile(rf"{WORD_START}[^\W\d_]{{2,}}")


@dataclass(frozen=True)
class Answered:
    """Items as model inputs with the model's greedy answer behind the prompt, made one at a time."""

    adapter: Adapter
    items: Sequence[Item]
    max_new_tokens: int

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[Inputs]:
        for item in self.items:
            with naming(item.name):
                pictures = item.open()
                inputs = prepare(self.adapter, item.prompt, pictures)
                answer = generate_greedy(self.adapter, inputs, self.max_new_tokens)
                yield prepare(self.adapter, item.prompt, pictures, answer_ids=answer[:-1])


def fit_jacobian_lens(
    model: Model,
    items: Sequence[Item],
    settings: JacobianSettings | None = None,
    *,
    out: str | Path | None = None,
    data: str = "",
    progress: FitProgress | None = None,
) -> JacobianLens:
    """Fit the versions of a Jacobian lens that an item's positions allow, on about 100 items.

    Nothing is stored on the way: stopped, it starts anew. Where a version can hardly tell words apart, the
    lens's note says so (`patchlens.lens.engine.rank`); on very small models that may be so.

    Args:
        model: whose Jacobians are averaged.
        items: prompts with pictures or without.
        settings: how to fit; the defaults if None.
        out: NAME.safetensors to write, or None.
        data: what the items are, in words.
        progress: called with what is being done, how much is done, and of how much.

    Raises:
        SelectionError: an item has no positions of a version.
        ImageError, PromptError, NumericsError, OutputError: as their names say.
    """
    adapter, own = model.adapter, settings or JacobianSettings()
    adapter.prove()

    def tell(what: str, done: int, total: int) -> None:
        if progress is not None:
            progress(what, done, total)

    survey(adapter, items, lambda done, total: tell("looking the data over", done, total))
    answered = Answered(adapter, items, own.max_new_tokens)
    chosen = own.versions or possible(next(iter(answered)))
    lenses = [
        fit_jacobian(
            adapter,
            answered,
            version,
            probes=own.probes,
            seed=own.seed,
            progress=lambda done, total, version=version: tell(f"fitting version {version}", done, total),
        )
        for version in chosen
    ]
    lens = replace(reduce(JacobianLens.joined, lenses), data=data or f"{len(items)} items")
    lens = replace(lens, note="; ".join(degenerate(spreads(adapter, lens, own.seed))))
    if out is not None:
        save_lens(lens, out, adapter)
    return lens


def spreads(adapter: Adapter, lens: JacobianLens, seed: int = 0) -> dict[Version, ConceptSpread]:
    """How well each version can tell words apart: `WORDS` tokens that begin a word, drawn by the seed."""
    pieces = piece_table(adapter.tokenizer, range(adapter.vocab_size))
    words = [token for token, piece in pieces.items() if _WORD.fullmatch(piece)]
    drawn = np.random.default_rng(seed).permutation(words or sorted(pieces))[:WORDS].tolist()
    return {
        version: concept_spread(own.matrices, adapter.unembed, drawn)
        for version, own in lens.versions.items()
    }


def degenerate(found: Mapping[Version, ConceptSpread]) -> tuple[str, ...]:
    """A sentence for each version that reads nearly the same direction for every word at some layers."""
    return tuple(
        f"version {version} is degenerate at layers {', '.join(map(str, layers))}: there the rows of words "
        f"span {spread.effective_rank[layers].min():.1f} directions, at the last layer "
        f"{spread.effective_rank[-1]:.1f}"
        for version, spread in found.items()
        if (layers := spread.is_degenerate.nonzero().flatten().tolist())
    )


def possible(inputs: Inputs) -> tuple[Version, ...]:
    """Versions whose positions a prompt has."""

    def has(version: Version) -> bool:
        try:
            positions(inputs, version)
        except SelectionError:
            return False
        return True

    return tuple(version for version in VERSIONS if has(version)) or ("text",)
