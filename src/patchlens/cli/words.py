"""Words and languages: ``patchlens words``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from patchlens.cli import options
from patchlens.cli.app import app, stdout_console


@app.command
def words(
    reading: options.ReadingFile,
    /,
    *word: Annotated[str, Parameter(allow_leading_hyphen=False)],
    at: Literal["patches", "answer", "text"] = "patches",
    top_k: Annotated[int, Parameter(alias="-k")] = 5,
    language: str | None = None,
    dictionary: Path | None = None,
    json: options.Json = False,
) -> None:
    """Print which language each layer speaks, and which form of a word comes first: "Augen", then "eyes".

    Args:
        word: Words, in any of the dictionary's languages.
        at: Of which positions; the answer is where it starts.
        top_k: How many of the best words of each position count.
        language: Take the words as of this language only, such as de.
        dictionary: A file of more words, languages and meanings.
    """
    from patchlens.concepts import Dictionary, first_forms, form_tokens, languages
    from patchlens.reading.store import open_reading
    from patchlens.views.speech import print_words, to_json

    known = Dictionary.builtin() if dictionary is None else Dictionary.open(dictionary)
    opened = open_reading(reading)
    speech = languages(opened, at, top_k, known)
    found = {
        asked: (
            form_tokens(opened, asked, known, language),
            first_forms(opened, asked, at, top_k, known, language),
        )
        for asked in word
    }
    if json:
        print(to_json(opened, speech, found))
    else:
        print_words(opened, speech, found, stdout_console())
