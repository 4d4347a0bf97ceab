"""The languages of a reading's layers and the forms of its words, in the terminal and as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from rich.text import Text

from patchlens.axes import layer_name
from patchlens.concepts import FirstForm, FormTokens, Speech
from patchlens.reading.reading import Reading
from patchlens.views.terminal import add_numbers, add_texts, new_table, print_table
from patchlens.views.words import percent, visible, visible_text

SHOWN: Final = 10
"""Languages that get a column of their own."""
TELLING: Final = 5
"""Pieces that begin words shown, those that begin the fewest."""

Words = Mapping[str, tuple[Sequence[FormTokens], Sequence[FirstForm]]]
"""Of each word asked for: all its forms with their tokens, and those among the best, the first one first."""


def print_words(reading: Reading, speech: Speech, words: Words, console: Console) -> None:
    """Print the share of each language by layer, and for each word which form comes first."""
    where = {"patches": "at all patches", "answer": "where the answer starts", "text": "at text positions"}
    head = f"languages of the {speech.k} best {where[speech.at]}: shares of what is known"
    console.print(Text(head, style="bold"), soft_wrap=True)
    languages = _languages(reading, speech)
    print_table(languages, console, spare=range(len(languages.columns) - 1, 1, -1))
    for word, (forms, found) in words.items():
        console.print(
            Text(f"\n{visible_text(word)}", style="bold").append(_story(found, speech.k)), soft_wrap=True
        )
        if found:
            print_table(_forms(reading, found), console, spare=(6, 5))
        missing = len(forms) - len(found)
        console.print(Text(f"{missing} of {len(forms)} forms are in no layer's top {speech.k}", style="dim"))
        told = [f"{visible(reading.pieces[token])} ({count})" for token, count in _partial(forms)[:TELLING]]
        if told:
            line = f"not counted, with how many words of the dictionary they begin: {', '.join(told)}"
            console.print(Text(line, style="dim"), soft_wrap=True)


def to_json(reading: Reading, speech: Speech, words: Words) -> str:
    """All that `print_words` tells and the counts behind it; layers by number, ranks from 0."""
    return json.dumps(
        {
            "at": speech.at,
            "k": speech.k,
            "languages": list(speech.languages),
            "total": speech.total,
            "layers": [
                {"layer": int(layer), "counts": counts, "known": known, "shares": _plain(shares)}
                for layer, counts, known, shares in zip(
                    speech.layers,
                    speech.counts.tolist(),
                    speech.known.tolist(),
                    speech.shares,
                    strict=True,
                )
            ],
            "all_layers": _plain(speech.pooled),
            "null": {
                "tokens": speech.table,
                "counts": speech.by_itself.tolist(),
                "shares": _plain(speech.null),
            },
            "most_by": [
                None if most is None else {"piece": reading.pieces[most[0]], "count": most[1]}
                for most in speech.commonest
            ],
            "words": {word: _word(reading, *told) for word, told in words.items()},
        },
        ensure_ascii=False,
        allow_nan=False,
        indent=1,
    )


def _word(reading: Reading, forms: Sequence[FormTokens], found: Sequence[FirstForm]) -> dict[str, Any]:
    return {
        "first": [asdict(form) for form in found],
        "missing": [form.word for form in forms if form.word not in {first.word for first in found}],
        "partial": [
            {"token": token, "piece": reading.pieces[token], "words": count}
            for token, count in _partial(forms)
        ],
    }


def _partial(forms: Sequence[FormTokens]) -> list[tuple[int, int]]:
    """Pieces that begin some form, and how many words they begin, the fewest first."""
    counts = {token: count for form in forms for token, count in form.partial.items()}
    return sorted(counts.items(), key=lambda begun: begun[1])


def _plain(values: NDArray[Any]) -> list[float | None]:
    return [None if math.isnan(value) else value for value in values.tolist()]


def _languages(reading: Reading, speech: Speech) -> Table:
    table = new_table(("layer", "known", *speech.languages[:SHOWN]))
    for layer, known, shares in zip(speech.layers, speech.known, speech.shares, strict=True):
        name = layer_name(int(layer), reading.model.n_layers)
        table.add_row(name, percent(float(known)), *_shares(shares[:SHOWN]))
    table.add_section()
    everywhere = percent(float(speech.known.mean()))
    table.add_row("all layers", everywhere, *_shares(speech.pooled[:SHOWN]), style="dim")
    by_itself = percent(speech.by_itself.sum() / speech.table)
    table.add_row("most by", "", *_commonest(reading, speech), style="dim")
    table.add_row("each token once", by_itself, *_shares(speech.null[:SHOWN]), style="dim")
    return table


def _shares(values: NDArray[Any]) -> list[str]:
    return ["" if value == 0 else percent(float(value)) for value in values]


def _commonest(reading: Reading, speech: Speech) -> list[Text]:
    """The token by which each language came most often, and its share of that language."""
    totals = speech.counts.sum(0).tolist()
    return [
        Text("") if most is None else Text(f"{visible(reading.pieces[most[0]])} {percent(most[1] / total)}")
        for most, total in zip(speech.commonest[:SHOWN], totals[:SHOWN], strict=True)
    ]


def _story(found: Sequence[FirstForm], k: int) -> str:
    if not found:
        return f": no form is in any layer's top {k}"
    ahead = [form for form in found if form.layer == found[0].layer]
    together = f": {_named(ahead)} {'come' if len(ahead) > 1 else 'comes'} first, at layer {found[0].layer}"
    later = found[len(ahead) : len(ahead) + 1]
    return f"{together}; then {_named(later)}, at {later[0].layer}" if later else together


def _named(forms: Sequence[FirstForm]) -> str:
    return ", ".join(f"{visible_text(form.word)} ({'/'.join(form.languages)})" for form in forms)


def _forms(reading: Reading, found: Sequence[FirstForm]) -> Table:
    table = new_table()
    add_texts(table, "form", "language")
    add_numbers(table, "layer", "rank")
    add_texts(table, "at", "places", "as")
    for form in found:
        place = f"patch {form.row},{form.col}" if form.row is not None else f"position {form.position}"
        table.add_row(
            Text(visible_text(form.word)),
            ", ".join(form.languages),
            layer_name(form.layer, reading.model.n_layers),
            f"#{form.rank + 1}",
            place,
            str(form.places),
            Text(visible(form.piece) + ("" if form.is_whole else "…")),
        )
    return table
