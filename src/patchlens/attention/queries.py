"""Whose attention is asked for: where the answer starts, its steps, its end, or a word of the prompt."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from patchlens.errors import SelectionError
from patchlens.models.adapter import Adapter
from patchlens.models.inputs import Inputs
from patchlens.models.tokens import piece_table

ANSWER: Final = "answer"
LAST: Final = "last"
STEPS: Final = "steps"
WORD: Final = "word"


@dataclass(frozen=True)
class Queries:
    """Positions of the sequence whose attention is asked for.

    ``name`` is answer, last, steps or word, ``asked`` what was asked for. ``pieces`` are the tokens that
    stand there; ``predicts`` those of the answer that are predicted there, None where it is none.
    """

    name: str
    asked: str
    positions: tuple[int, ...]
    pieces: tuple[str, ...]
    predicts: tuple[str | None, ...]

    def __len__(self) -> int:
        return len(self.positions)


def find_queries(adapter: Adapter, inputs: Inputs, answer_ids: Sequence[int], asked: str) -> Queries:
    """Resolve what was asked for to positions.

    Args:
        adapter: the model.
        inputs: of the pass; the answer's tokens follow the prompt where its steps were asked for.
        answer_ids: the model's whole answer.
        asked: ``answer`` (the position that predicts its first token), ``steps`` (those that predict each),
            ``last`` (the last position of the sequence), or a word or phrase of the prompt: every token
            that is part of it, wherever it stands, upper and lower case alike.

    Raises:
        SelectionError: steps of an answer that was not run over, or a word that is not in the prompt.
    """
    first = inputs.n_prompt - 1
    if asked == ANSWER:
        name, positions = ANSWER, [first]
    elif asked == STEPS:
        name, positions = STEPS, list(range(first, len(inputs)))
        if len(positions) < len(answer_ids):
            raise SelectionError(
                f"this run holds {len(positions)} of the answer's {len(answer_ids)} steps: trace with "
                "steps=True"
            )
    elif asked == LAST:
        name, positions = LAST, [len(inputs) - 1]
    else:
        name, positions = WORD, _word_positions(adapter, inputs, asked)
    steps = [position - first for position in positions]
    said = [answer_ids[step] if 0 <= step < len(answer_ids) else -1 for step in steps]
    tokens = inputs.ids[positions].tolist()
    table = piece_table(adapter.tokenizer, [*tokens, *(token for token in said if token >= 0)])
    return Queries(
        name,
        asked,
        tuple(positions),
        tuple(table[token] for token in tokens),
        tuple(table.get(token) for token in said),
    )


def _word_positions(adapter: Adapter, inputs: Inputs, word: str) -> list[int]:
    wanted = word.strip()
    if not wanted:
        raise SelectionError("whose attention is asked for is empty: choose answer, last, steps or a word")
    spans = _spans(adapter, inputs)
    own = inputs.text.find(inputs.prompt)
    start, end = (own, own + len(inputs.prompt)) if own >= 0 else (0, len(inputs.text))
    places = [
        (start + match.start(), start + match.end()) for match in _matches(wanted, inputs.text[start:end])
    ]
    found = [
        position
        for position, (left, right) in spans.items()
        if any(left < stop and begin < right for begin, stop in places)
    ]
    if not found:
        raise SelectionError(
            f"the prompt has no {wanted!r}: choose answer, last, steps or a word that stands in it"
        )
    return found


def _matches(wanted: str, text: str) -> list[re.Match[str]]:
    """Whole words; where there is none, as in writing without spaces, any place that reads so."""
    literal = re.escape(wanted)
    whole = list(re.finditer(rf"(?<!\w){literal}(?!\w)", text, re.IGNORECASE))
    return whole or list(re.finditer(literal, text, re.IGNORECASE))


def _spans(adapter: Adapter, inputs: Inputs) -> dict[int, tuple[int, int]]:
    """Which characters of ``inputs.text`` each position of the prompt stands for, pictures apart."""
    tokenizer: Any = adapter.tokenizer
    if not tokenizer.is_fast:
        raise SelectionError(
            f"the tokenizer of {adapter.name} does not tell where in the prompt its tokens stand: choose "
            "answer, last or steps"
        )
    plain = tokenizer(inputs.text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    pairs = [
        (token, tuple(span))
        for token, span in zip(plain["input_ids"], plain["offset_mapping"], strict=True)
        if token != adapter.image_token_id
    ]
    marker = -1 if adapter.image_token_id is None else adapter.image_token_id
    positions = np.flatnonzero(inputs.ids[: inputs.n_prompt] != marker).tolist()
    added = len(positions) - len(pairs)  # tokens put around the text, such as the one that begins it
    for lead in range(added + 1):
        inner = positions[lead : lead + len(pairs)]
        if inputs.ids[inner].tolist() == [token for token, _ in pairs]:
            return {position: span for position, (_, span) in zip(inner, pairs, strict=True)}
    raise SelectionError(
        f"the tokens of the prompt could not be matched with its text for {adapter.name}: choose answer, "
        "last or steps"
    )
