"""Fit a Jacobian lens to a model on what it answers about some items."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from pathlib import Path

import numpy as np

from patchlens.data.item import Item
from patchlens.data.read import about_items, as_items
from patchlens.errors import SelectionError, naming
from patchlens.fit.settings import JacobianSettings
from patchlens.fit.survey import survey
from patchlens.fit.vjp import mean_jacobians, positions
from patchlens.lens import save_lens
from patchlens.lens.engine.rank import ConceptSpread, concept_spread
from patchlens.lens.jacobian import VERSIONS, JacobianLens, Version
from patchlens.models.encode import Inputs
from patchlens.models.tokens import piece_table
from patchlens.progress import Tell, silent
from patchlens.reading.records import WORD_START
from patchlens.run import Model

WORDS = 512
"""How many words a lens is asked to tell apart."""
_WORD = re.compile(rf"{WORD_START}[^\W\d_]{{2,}}")


@dataclass(frozen=True)
class AnsweredItems:
    """Items as model inputs with the model's greedy answer behind the prompt, made one at a time."""

    model: Model
    items: Sequence[Item]
    max_new_tokens: int

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[Inputs]:
        for item in self.items:
            with naming(item.name):
                asked = {"max_new_tokens": self.max_new_tokens, "layers": [0], "positions": [0]}
                yield self.model.trace(item.open(), item.prompt, steps=True, **asked).inputs


def fit_jacobian(
    model: Model,
    data: str | Path | Sequence[Item],
    settings: JacobianSettings | None = None,
    *,
    prompt: str | None = None,
    out: str | Path | None = None,
    about: str | None = None,
    progress: Tell | None = None,
) -> JacobianLens:
    """Fit the versions of a Jacobian lens that an item's positions allow, on about 100 items.

    Nothing is stored on the way: stopped, it starts anew. Where a version can hardly tell words apart, the
    lens's note says so (`patchlens.lens.engine.rank`); on very small models that may be so.

    Args:
        model: whose Jacobians are averaged.
        data: items with pictures or without, or where `patchlens.read_items` finds them.
        settings: how to fit; the defaults if None.
        prompt: what to ask of each picture that comes without a prompt.
        out: NAME.safetensors to write, or None.
        about: what the items are, in words.
        progress: called with what is being done, how much is done, and of how much.

    Raises:
        SelectionError: an item has no positions of a version.
        DataError, ImageError, PromptError, NumericsError, OutputError: as their names say.
    """
    own, tell, items = settings or JacobianSettings(), progress or silent, as_items(data, prompt)
    model.adapter.prove()
    survey(model, items, lambda done, total: tell("looking the data over", done, total))
    answered = AnsweredItems(model, items, own.max_new_tokens)
    lenses = [
        mean_jacobians(
            model.adapter,
            answered,
            version,
            probes=own.probes,
            seed=own.seed,
            progress=lambda done, total, version=version: tell(f"fitting version {version}", done, total),
        )
        for version in own.versions or possible(next(iter(answered)))
    ]
    lens = replace(reduce(JacobianLens.joined, lenses), data=about or about_items(data))
    lens = replace(lens, note="; ".join(degenerate(spreads(model, lens, own.seed))))
    if out is not None:
        save_lens(lens, out, model)
    return lens


def spreads(model: Model, lens: JacobianLens, seed: int = 0) -> dict[Version, ConceptSpread]:
    """How well each version can tell words apart: `WORDS` tokens that begin a word, drawn by the seed."""
    pieces = piece_table(model.tokenizer, range(model.vocab_size))
    words = [token for token, piece in pieces.items() if _WORD.fullmatch(piece)]
    drawn = np.random.default_rng(seed).permutation(words or sorted(pieces))[:WORDS].tolist()
    return {
        version: concept_spread(own.matrices, model.adapter.unembed, drawn)
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
