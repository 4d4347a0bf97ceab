"""Whose attention is asked for: where the answer starts, its steps, its end, a position or a word."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from patchlens.errors import SelectionError
from patchlens.models.adapter import Adapter
from patchlens.models.inputs import Inputs
from patchlens.models.positions import positions_of
from patchlens.models.tokens import piece_table
from patchlens.reading.where import rows_at, word_rows

ANSWER: Final = "answer"
LAST: Final = "last"
STEPS: Final = "steps"
WORD: Final = "word"
INDEX: Final = "position"


@dataclass(frozen=True)
class Queries:
    """Positions of the sequence whose attention is asked for.

    ``name`` is answer, last, steps, position or word, ``asked`` what was asked for. ``pieces`` are the tokens
    that stand there; ``predicts`` those of the answer that are predicted there, None where it is none.
    """

    name: str
    asked: str
    positions: tuple[int, ...]
    pieces: tuple[str, ...]
    predicts: tuple[str | None, ...]

    def __len__(self) -> int:
        return len(self.positions)


def find_queries(adapter: Adapter, inputs: Inputs, answer_ids: Sequence[int], asked: int | str) -> Queries:
    """Resolve what was asked for to positions.

    Args:
        adapter: the model.
        inputs: of the pass; the answer's tokens follow the prompt where its steps were asked for.
        answer_ids: the model's whole answer.
        asked: ``answer`` (the position that predicts its first token), ``steps`` (those that predict each),
            ``last`` (the last position of the sequence), an index of the sequence (negative from its end), or
            a word or phrase of the prompt: every token that is part of it, wherever it stands
            (`patchlens.reading.where.word_rows`).

    Raises:
        SelectionError: steps of an answer that was not run over, a position that is not there, or a word that
            is not in the prompt.
    """
    first = inputs.n_prompt - 1
    table = piece_table(adapter.tokenizer, [*inputs.ids.tolist(), *answer_ids])
    positions = positions_of(inputs, range(len(inputs)), len(answer_ids))
    if asked == STEPS:
        name, rows = STEPS, list(range(first, len(inputs)))
        if len(rows) < len(answer_ids):
            raise SelectionError(
                f"this run holds {len(rows)} of the answer's {len(answer_ids)} steps: trace with steps=True"
            )
    elif isinstance(asked, str) and asked not in (ANSWER, LAST):
        places = word_rows(asked, positions, table, inputs.prompt)
        name, rows = WORD, sorted({row for place in places for row in place})
    else:
        name = asked if isinstance(asked, str) else INDEX
        rows = rows_at(asked, positions, table, inputs.prompt).tolist()
    said = [answer_ids[row - first] if 0 <= row - first < len(answer_ids) else -1 for row in rows]
    return Queries(
        name,
        str(asked),
        tuple(rows),
        tuple(table[int(inputs.ids[row])] for row in rows),
        tuple(table.get(token) for token in said),
    )
