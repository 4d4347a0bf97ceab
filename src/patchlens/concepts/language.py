"""Which language a piece is evidence of, by its letters and the dictionary; None where nothing tells."""

from __future__ import annotations

import unicodedata
from typing import Final

from patchlens.concepts.dictionary import Dictionary
from patchlens.concepts.lexicon import fold
from patchlens.reading.records import WORD_START

_KANA: Final = frozenset({"HIRAGANA", "KATAKANA"})
_BY_SCRIPT: Final = {
    **{"CJK": "zh", "HANGUL": "ko", "CYRILLIC": "ru", "GREEK": "el", "HEBREW": "he", "THAI": "th"},
    **{"ARMENIAN": "hy", "GEORGIAN": "ka", "TAMIL": "ta", "TELUGU": "te", "KHMER": "km", "LAO": "lo"},
}
_ONE_IS_A_WORD: Final = _KANA | {"CJK", "HANGUL"}
_RUSSIAN: Final = frozenset("абвгдеёжзийклмнопрстуфхцчшщъыьэюя")


def language_of(piece: str, dictionary: Dictionary) -> str | None:
    """Language a piece is evidence of, as a code such as "en"; None where it is evidence of none.

    A word that the dictionary knows in one language is of that language, in several languages of none. Other
    pieces go by script, where that is the script of one language: kana is Japanese, Hangul Korean, and so on.
    Han counts as Chinese and Cyrillic as Russian, unless a letter is foreign to Russian, although others are
    written with them; Arabic and Devanagari are shared by too many. In Latin letters, what the dictionary
    does not know (names, word pieces such as "gira") tells nothing. Nor does a piece without a leading space,
    unless it is capitalised: "olas" is Spanish for waves, and the end of Nicolas. Neither does a single
    letter of an alphabet.
    """
    word = fold(piece)
    letters = [character for character in word if character.isalpha()]
    scripts = {_script(letter) for letter in letters}
    if len(letters) == 1 and not scripts <= _ONE_IS_A_WORD:
        return None
    if scripts == {"LATIN"} and not (piece.startswith((WORD_START, " ")) or piece.istitle()):
        return None
    known = dictionary.languages_of(word)
    if known:
        return next(iter(known)) if len(known) == 1 else None
    if scripts & _KANA and scripts <= _KANA | {"CJK"}:
        return "ja"
    if len(scripts) != 1 or (scripts == {"CYRILLIC"} and not _RUSSIAN.issuperset(letters)):
        return None
    return _BY_SCRIPT.get(next(iter(scripts)))


def _script(letter: str) -> str:
    """First word of a character's name, which is its script."""
    return unicodedata.name(letter, "").replace("-", " ").partition(" ")[0]
