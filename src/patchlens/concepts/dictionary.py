"""Words that mean one thing in several languages, from a table that a user's file can extend."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Final

from patchlens.concepts.lexicon import fold
from patchlens.errors import DataError, SelectionError

NAMELESS: Final = frozenset({"function", "alike"})
"""Sorts of entries that mean nothing: their words only tell a language, or that it cannot be told."""
SORTS: Final = frozenset({"noun", "colour", *NAMELESS})
_FIXED: Final = ("key", "sort")
_BUILTIN: Final = Path(__file__).with_name("dictionary.tsv")


@dataclass(frozen=True)
class Form:
    """One word for a meaning: as it is written, its language, and the key of the meaning."""

    word: str
    language: str
    key: str


@dataclass(frozen=True)
class Entry:
    """One meaning: its key, its sort (one of SORTS), and every form, language by language."""

    key: str
    sort: str
    forms: tuple[Form, ...]


@dataclass(frozen=True)
class Dictionary:
    """Meanings and their forms; a word is found in any case, and may have several meanings or languages."""

    languages: tuple[str, ...]
    entries: tuple[Entry, ...]

    @classmethod
    def builtin(cls) -> Dictionary:
        """Common nouns and colours in English, German, French, Spanish, Russian and Chinese."""
        return _builtin()

    @classmethod
    def open(cls, path: str | Path) -> Dictionary:
        """The built-in dictionary and a file: a known key gets more forms, another is a new meaning.

        The file is UTF-8 text, cells between tabs. Its first line names the columns: ``key``, ``sort``, and
        codes of languages, old or new. Words within a cell are set apart by commas. Words of sort "noun" or
        "colour" name something; those of sort "function" tell a language and nothing else; "alike" are words
        of a language listed only because another language has one of the same letters.

        Raises:
            DataError: the file cannot be read, or a line is not as said; it names the line.
        """
        return _merged(_builtin(), _parsed(Path(path)))

    def forms(self, word: str, language: str | None = None) -> tuple[Form, ...]:
        """All forms of every meaning that a word has; none where the word is not known.

        Args:
            word: in any language and case.
            language: take it as a word of this language only.

        Raises:
            SelectionError: the dictionary has no such language.
        """
        self._check(language)
        keys = {
            form.key
            for form in self._naming.get(fold(word), ())
            if language is None or form.language == language
        }
        return tuple(form for entry in self.entries if entry.key in keys for form in entry.forms)

    def words(self, language: str) -> tuple[str, ...]:
        """Every word of a language that names something, each once.

        Raises:
            SelectionError: the dictionary has no such language.
        """
        self._check(language)
        named = (form for forms in self._naming.values() for form in forms)
        return tuple(dict.fromkeys(form.word for form in named if form.language == language))

    def languages_of(self, word: str) -> frozenset[str]:
        """Languages that have a word of these letters, in any case; empty where the word is not known."""
        return self._languages.get(fold(word), frozenset())

    def beginning(self, start: str) -> tuple[str, ...]:
        """Words that name something and begin with these letters, without case, each once."""
        return tuple(word for word in self._naming if word.startswith(fold(start)))

    def _check(self, language: str | None) -> None:
        if language is not None and language not in self.languages:
            known = ", ".join(self.languages)
            raise SelectionError(f"the dictionary has no language {language!r}: it has {known}")

    @cached_property
    def _naming(self) -> dict[str, list[Form]]:
        found: dict[str, list[Form]] = {}
        for entry in self.entries:
            if entry.sort not in NAMELESS:
                for form in entry.forms:
                    found.setdefault(fold(form.word), []).append(form)
        return found

    @cached_property
    def _languages(self) -> dict[str, frozenset[str]]:
        found: dict[str, set[str]] = {}
        for entry in self.entries:
            for form in entry.forms:
                found.setdefault(fold(form.word), set()).add(form.language)
        return {word: frozenset(languages) for word, languages in found.items()}


@cache
def _builtin() -> Dictionary:
    return _parsed(_BUILTIN)


def _merged(old: Dictionary, new: Dictionary) -> Dictionary:
    entries = {entry.key: entry for entry in old.entries}
    for entry in new.entries:
        known = entries.get(entry.key, Entry(entry.key, entry.sort, ()))
        forms = tuple(dict.fromkeys((*known.forms, *entry.forms)))
        entries[entry.key] = Entry(entry.key, known.sort, forms)
    languages = tuple(dict.fromkeys((*old.languages, *new.languages)))
    return Dictionary(languages, tuple(entries.values()))


def _parsed(path: Path) -> Dictionary:
    lines = _lines(path)
    number, header = next(lines, (1, ""))
    columns = header.split("\t")
    languages = tuple(columns[2:])
    codes = all(re.fullmatch(r"[a-z]{2,3}", code) for code in languages)
    if tuple(columns[:2]) != _FIXED or not languages or not codes or len({*columns}) < len(columns):
        raise DataError(
            f"{path}, line {number}: expected the columns key, sort and codes of languages such as en, "
            f"each once and between tabs, found {header[:60]!r}"
        )
    entries: dict[str, Entry] = {}
    for number, line in lines:
        entry = _entry(line, languages, f"{path}, line {number}")
        if entry.key in entries:
            raise DataError(f"{path}, line {number}: the key {entry.key!r} stands in an earlier line, too")
        entries[entry.key] = entry
    return Dictionary(languages, tuple(entries.values()))


def _entry(line: str, languages: tuple[str, ...], where: str) -> Entry:
    cells = [cell.strip() for cell in line.split("\t")]
    if len(cells) != len(languages) + len(_FIXED):
        raise DataError(f"{where}: expected {len(languages) + len(_FIXED)} cells, found {len(cells)}")
    key, sort, *written = cells
    if not key or not sort:
        raise DataError(f"{where}: expected a key and a sort, found {line[:60]!r}")
    if sort not in SORTS:
        raise DataError(f"{where}: expected a sort out of {', '.join(sorted(SORTS))}, found {sort!r}")
    forms = tuple(
        Form(word, language, key)
        for language, cell in zip(languages, written, strict=True)
        for word in _words(cell, where)
    )
    if not forms:
        raise DataError(f"{where}: {key!r} has no word in any language")
    return Entry(key, sort, forms)


def _words(cell: str, where: str) -> Iterable[str]:
    words = [word.strip() for word in cell.split(",")] if cell else []
    if not all(words):
        raise DataError(f"{where}: expected words with a comma between them, found {cell!r}")
    return dict.fromkeys(words)


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Lines that are not blank, numbered from 1."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read the dictionary {path}: {error.strerror}") from error
    for number, line in enumerate(data.split(b"\n"), 1):
        try:
            decoded = line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r")
        except UnicodeDecodeError as error:
            raise DataError(f"{path}, line {number}: not UTF-8 text") from error
        if decoded.strip():
            yield number, decoded
