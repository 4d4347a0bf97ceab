"""Building a bank of contextual text states: words are chosen in a stream of texts, then the model runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch

from patchlens.axes import PositionKind, check_layers
from patchlens.errors import DataError, PromptError, SelectionError
from patchlens.lens.bank import Bank
from patchlens.lens.nearest import unit
from patchlens.models.tokens import piece_table
from patchlens.run import Model

PER_TYPE: Final = 20


@dataclass(frozen=True)
class Occurrence:
    """A token in a text; ``prefix`` stands for all that a causal model has seen there."""

    text: str
    position: int
    prefix: int


def build_bank(
    model: Model,
    texts: Iterable[str],
    *,
    layers: Iterable[int] | None = None,
    per_type: int = PER_TYPE,
    seed: int = 0,
    chat: bool = False,
    dtype: torch.dtype = torch.float16,
    progress: Callable[[int, int], None] | None = None,
) -> Bank:
    """Collect the states of words in texts, at most ``per_type`` for each token of the vocabulary.

    The texts are read once, as a stream: each token keeps a random choice of its occurrences. Only then does
    the model run, on the texts that hold a chosen word. The first position and special tokens are left out
    (they are sinks, and mean no word), and a token is taken once per text before it, since a causal model
    holds the same state there. The final norm is not applied.

    Args:
        model: whose states are taken.
        texts: captions or any text, such as the lines of an open file; blank ones are passed over.
        layers: at which to take the states; 1, 2, 4, ... and ``n_layers - 1`` if None.
        per_type: most occurrences of a token, 1 or more; each gives one state per layer.
        seed: of the random choice.
        chat: put each text into the model's chat template, as a user's turn.
        dtype: of the states; float16 changes a similarity by less than 1e-4.
        progress: called with (done, total) texts run.

    Raises:
        SelectionError: a layer does not exist, or ``per_type`` is below 1.
        DataError: there is no word in the texts.
        PromptError: a text cannot be given to the model, naming its number.
        NumericsError: the model's states are not finite.
    """
    if per_type < 1:
        raise SelectionError(f"per_type is {per_type}: choose 1 or more")
    wanted = check_layers(source_layers(model.n_layers) if layers is None else layers, model.n_layers)
    model.adapter.prove()
    chosen = choose(tokenized(model, texts, chat), per_type, seed)
    words = [(token, own) for token in sorted(chosen) for own in chosen[token]]
    if not words:
        raise DataError("the texts hold no word: give captions or other sentences, one per line")
    sentences = tuple(dict.fromkeys(own.text for _, own in words))
    by_text: dict[str, list[int]] = {sentence: [] for sentence in sentences}
    for row, (_, own) in enumerate(words):
        by_text[own.text].append(row)
    states = torch.empty(len(wanted), len(words), model.d_model, dtype=dtype)
    for done, (sentence, rows) in enumerate(by_text.items(), 1):
        places = [words[row][1].position for row in rows]
        asked = {"layers": wanted, "positions": places, "max_new_tokens": 0, "chat": chat}
        states[:, rows] = unit(model.trace(None, sentence, **asked).resid).to("cpu", dtype)
        if progress is not None:
            progress(done, len(sentences))
    number = {sentence: row for row, sentence in enumerate(sentences)}
    return Bank(
        states=states,
        tokens=torch.tensor([token for token, _ in words]),
        positions=torch.tensor([own.position for _, own in words]),
        sentence_rows=torch.tensor([number[own.text] for _, own in words]),
        layers=wanted,
        sentences=sentences,
        pieces=piece_table(model.tokenizer, chosen),
        model=model.name,
        seed=seed,
        per_type=per_type,
    )


def source_layers(n_layers: int) -> tuple[int, ...]:
    """Layers 1, 2, 4, ... below the last but one, and that: where text states are taken."""
    last = max(1, n_layers - 1)
    doubling = (2**power for power in range(last.bit_length()))
    return (*(layer for layer in doubling if layer < last), last)


def tokenized(model: Model, texts: Iterable[str], chat: bool) -> Iterator[list[tuple[int, Occurrence]]]:
    """Give, for each text, its words: token and occurrence.

    Raises:
        PromptError: a text cannot be given to the model, naming its number, counted from 1.
    """
    for number, line in enumerate(texts, 1):
        text = line.strip()
        if not text:
            continue
        try:
            _, inputs = model.prepare(None, text, chat=chat)
        except PromptError as error:
            raise PromptError(f"text {number}: {error}") from error
        words: list[tuple[int, Occurrence]] = []
        prefix = 0
        for position, token in enumerate(inputs.ids.tolist()):
            prefix = hash((prefix, token))
            if position and inputs.places.kind[position] == PositionKind.TEXT:
                words.append((token, Occurrence(text, position, prefix)))
        yield words


def choose(
    texts: Iterable[list[tuple[int, Occurrence]]], per_type: int, seed: int
) -> Mapping[int, list[Occurrence]]:
    """Keep ``per_type`` occurrences of each token, each with the same chance (algorithm R, Vitter 1985)."""
    draw = np.random.default_rng(seed)
    seen: Counter[int] = Counter()
    chosen: dict[int, list[Occurrence]] = {}
    for words in texts:
        for token, own in words:
            kept = chosen.setdefault(token, [])
            if any(own.prefix == other.prefix for other in kept):
                continue
            seen[token] += 1
            if len(kept) < per_type:
                kept.append(own)
            elif (slot := int(draw.integers(seen[token]))) < per_type:
                kept[slot] = own
    return chosen
