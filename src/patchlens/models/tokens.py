"""Token ids as people should see them, and words as the ids that stand for them.

A piece keeps what decoding one id would lose: a leading space is shown as ``▁``, bytes that are no whole
character as ``<0xE7>``. Two ids may print alike, so everything is keyed by id.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import TYPE_CHECKING

from patchlens.errors import TargetError
from patchlens.reading.records import WORD_START, Target

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def piece_table(tokenizer: PreTrainedTokenizerBase, ids: Iterable[int]) -> dict[int, str]:
    """Piece of each id; one the tokenizer does not know (padding of the vocabulary) shows as ``<id 123>``."""
    byte_level = "ByteLevel" in repr(getattr(getattr(tokenizer, "backend_tokenizer", None), "decoder", None))
    added = tokenizer.added_tokens_decoder
    table: dict[int, str] = {}
    for token in sorted({int(i) for i in ids}):
        raw = tokenizer.convert_ids_to_tokens(token) if token < len(tokenizer) else None
        if not isinstance(raw, str):
            table[token] = f"<id {token}>"
        elif byte_level and token not in added:
            table[token] = _from_bytes(raw)
        else:
            table[token] = raw
    return table


@cache
def _byte_of() -> dict[str, int]:
    """The byte-level alphabet: printable bytes stand for themselves, the others for code points from 256."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(b): b for b in printable} | {chr(256 + n): b for n, b in enumerate(others)}


def _from_bytes(raw: str) -> str:
    data = bytes(_byte_of()[character] for character in raw)
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return "".join(f"<0x{byte:02X}>" for byte in data)
    words = text.lstrip(" ")
    return WORD_START * (len(text) - len(words)) + words


def find_target(tokenizer: PreTrainedTokenizerBase, word: str | int) -> Target:
    """The token that stands for a word: its form after a space where there is one, else its bare form.

    A word of several pieces is represented by the first (`Target.is_whole` says so). An int is an id.

    Raises:
        TargetError: the word is empty or the id is not in the vocabulary.
    """
    if isinstance(word, int):
        if not 0 <= word < len(tokenizer):
            raise TargetError(f"target id {word} is outside the vocabulary of {len(tokenizer)} tokens")
        piece = piece_table(tokenizer, [word])[word]
        return Target(piece, word, (piece,))
    text = word.strip()
    if not text:
        raise TargetError("a target is empty: name a word, such as --target cat")
    if not is_text(text):
        raise TargetError(f"target {text!r} is not text: some of its bytes are not valid UTF-8")
    spaced, bare = (content_ids(tokenizer, form) for form in (f" {text}", text))
    ids = bare if len(bare) < len(spaced) else spaced
    if not ids:
        raise TargetError(f"the tokenizer makes no token of target {word!r}")
    pieces = piece_table(tokenizer, ids)
    return Target(word, ids[0], tuple(pieces[i] for i in ids))


def form_targets(tokenizer: PreTrainedTokenizerBase, words: Sequence[str]) -> tuple[Target, ...]:
    """Every token that stands for one of several words, each as a target of its own.

    First of each word comes the token that `find_target` chooses, then every other single token that spells
    it whole, after a space or bare, in lower case, capitalised or in capitals. A target's ``word`` is the
    word as it was given.

    Raises:
        TargetError: a word is empty, is not text, or has no token.
    """
    found: dict[tuple[int, str], Target] = {}
    for word in words:
        for target in (find_target(tokenizer, word), *_spelled_whole(tokenizer, word)):
            found.setdefault((target.token, word), target)
    return tuple(found.values())


def _spelled_whole(tokenizer: PreTrainedTokenizerBase, word: str) -> Iterator[Target]:
    text = word.strip()
    cases = dict.fromkeys((text, text.lower(), text.capitalize(), text.upper()))
    for form in (f"{space}{case}" for case in cases for space in (" ", "")):
        ids = content_ids(tokenizer, form)
        pieces = tuple(piece_table(tokenizer, ids).values())
        if pieces and pieces[0].removeprefix(WORD_START) == form.strip():
            yield Target(word, ids[0], pieces)


def is_text(value: str) -> bool:
    """Whether a string can be written as UTF-8; bytes of a command line that are not stay lone surrogates."""
    return not any(0xD800 <= ord(character) <= 0xDFFF for character in value)


def content_ids(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """Ids of a text without special tokens, and without a lone space that some tokenizers put first."""
    ids: list[int] = tokenizer.encode(text, add_special_tokens=False)
    pieces = piece_table(tokenizer, ids)
    while len(ids) > 1 and not pieces[ids[0]].strip(WORD_START):
        ids = ids[1:]
    return ids


def following_ids(tokenizer: PreTrainedTokenizerBase, before: str, text: str) -> list[int]:
    """Ids of a text that goes on after another: after a space, unless the other ends with white space."""
    return (
        content_ids(tokenizer, ("" if before[-1:].isspace() else " ") + text.strip()) if text.strip() else []
    )


def answer_text(tokenizer: PreTrainedTokenizerBase, ids: Iterable[int]) -> str:
    """An answer as people read it: special tokens and white space at its ends left out."""
    return str(tokenizer.decode(list(ids), skip_special_tokens=True)).strip()
