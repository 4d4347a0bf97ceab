"""Which tokens of a reading stand for a word's forms, and how far each can be trusted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from patchlens.concepts.dictionary import Dictionary, Form
from patchlens.concepts.lexicon import fold
from patchlens.errors import TargetError
from patchlens.reading.records import WORD_START

if TYPE_CHECKING:
    from patchlens.reading.reading import Reading


@dataclass(frozen=True)
class FormTokens:
    """One way to write a word, and the tokens of a reading that stand for it.

    ``languages`` and ``keys`` are those of all meanings asked for that are written so. ``whole`` are ids that
    spell it, in any case, with or without leading space. ``joined`` are first pieces that stand for it
    because a target of several pieces says how it goes on. ``partial`` gives, for every other piece that
    could begin it, how many words of the dictionary it could begin: no evidence by itself.
    """

    word: str
    languages: tuple[str, ...]
    keys: tuple[str, ...]
    whole: tuple[int, ...]
    joined: tuple[int, ...]
    partial: Mapping[int, int] = field(repr=False)


def form_tokens(
    reading: Reading, word: str, dictionary: Dictionary | None = None, language: str | None = None
) -> tuple[FormTokens, ...]:
    """Tokens for every form of a word's meanings, forms of the same letters together; some have none.

    Args:
        reading: whose piece table and targets are searched.
        word: in any language and case.
        dictionary: the built-in one if left out.
        language: take it as a word of this language only.

    Raises:
        TargetError: the dictionary does not know the word.
        SelectionError: it has no such language.
    """
    known = dictionary or Dictionary.builtin()
    forms = known.forms(word, language)
    if not forms:
        raise TargetError(
            f"{word!r} is not in the dictionary{f' of {language}' if language else ''}; "
            "add it in a file of your own"
        )
    same: dict[str, list[Form]] = {}
    for form in forms:
        same.setdefault(fold(form.word), []).append(form)
    ids = _ids_by_word(reading)
    whole = {token for letters in same for token in ids.get(letters, ())}
    return tuple(
        FormTokens(
            group[0].word,
            tuple(dict.fromkeys(form.language for form in group)),
            tuple(dict.fromkeys(form.key for form in group)),
            tuple(ids.get(letters, ())),
            joined := _joined(reading, letters),
            {
                token: len(known.beginning(start))
                for token, start in _beginnings(reading, letters).items()
                if token not in whole and token not in joined
            },
        )
        for letters, group in same.items()
    )


def spelled_by_answer(reading: Reading, word: str) -> int | None:
    """First token of the answer where its first several tokens, read on, spell a word; else None."""
    pieces = [reading.pieces[token] for token in reading.answer.ids]
    for end in range(2, len(pieces) + 1):
        ends = end == len(pieces) or not pieces[end][:1].isalpha()
        if ends and fold("".join(pieces[:end])) == fold(word):
            return reading.answer.ids[0]
    return None


def _ids_by_word(reading: Reading) -> Mapping[str, Sequence[int]]:
    found: dict[str, list[int]] = {}
    for token, piece in reading.pieces.items():
        found.setdefault(fold(piece), []).append(token)
    return found


def _joined(reading: Reading, word: str) -> tuple[int, ...]:
    named = (t.token for t in reading.targets if not t.is_whole and fold(t.word) == word)
    return tuple(dict.fromkeys(named))


def _beginnings(reading: Reading, word: str) -> dict[int, str]:
    """Pieces that begin a word, and their letters; where leading spaces are marked, only with the mark."""
    marked = any(piece.startswith(WORD_START) for piece in reading.pieces.values())
    return {
        token: start
        for token, piece in reading.pieces.items()
        if (start := fold(piece)) and start != word and word.startswith(start)
        if not marked or piece.startswith(WORD_START) or not _cased(start[0])
    }


def _cased(letter: str) -> bool:
    """Whether a letter is of an alphabet whose words stand apart; Han has no case and no spaces."""
    return letter.lower() != letter.upper()
