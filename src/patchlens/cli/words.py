"""Words and languages: ``patchlens words``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from patchlens.cli.app import ReadingArgument, app, stdout_console


@app.command()
def words(
    reading: ReadingArgument,
    word: Annotated[
        list[str] | None,
        typer.Argument(help="Words, in any of the dictionary's languages.", metavar="WORD"),
    ] = None,
    at: Annotated[str, typer.Option("--at", help="patches, answer (where it starts) or text.")] = "patches",
    top_k: Annotated[
        int, typer.Option("--top-k", "-k", help="How many of the best words of each position count.")
    ] = 5,
    language: Annotated[
        str | None, typer.Option("--language", help="Take the words as of this language only, such as de.")
    ] = None,
    dictionary: Annotated[
        Path | None, typer.Option("--dictionary", help="A file of more words, languages and meanings.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Print which language each layer speaks, and which form of a word comes first: "Augen", then "eyes"."""
    from patchlens.concepts import Dictionary, first_forms, form_tokens, languages
    from patchlens.reading.store import open_reading
    from patchlens.views.speech import print_words, to_json

    known = Dictionary.builtin() if dictionary is None else Dictionary.open(dictionary)
    opened = open_reading(reading)
    speech = languages(opened, at, top_k, known)
    told = {
        asked: (
            form_tokens(opened, asked, known, language),
            first_forms(opened, asked, at, top_k, known, language),
        )
        for asked in word or []
    }
    if as_json:
        typer.echo(to_json(opened, speech, told))
    else:
        print_words(opened, speech, told, stdout_console())
