"""Pictures of one's own, of which no truth is known: every noun of their captions with its scores."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from patchlens.cause.cases import CasesLike, as_cases
from patchlens.cause.hallucination.noun_scores import (
    LENS,
    MEAN,
    SCORES,
    UNITS,
    Scores,
    noun_scores,
    usual_lens,
    whole_caption,
)
from patchlens.cause.hallucination.nouns import content_words, known_nouns
from patchlens.cause.hallucination.rows import Chosen
from patchlens.cause.ledger import Record
from patchlens.cause.runner import Experiment
from patchlens.data.item import Item
from patchlens.errors import SelectionError
from patchlens.lens import LensLike
from patchlens.progress import Progress, silent
from patchlens.run import Model
from patchlens.views.words import visible_text


@dataclass(frozen=True)
class DescribedNoun:
    """A noun of a caption; ``flagged`` says whether the lens's score lies below the threshold that was chosen
    for nouns made up by the model, None where none was.
    """

    picture: str
    caption: str
    noun: str
    scores: dict[str, float]
    flagged: bool | None


@dataclass(frozen=True)
class Described:
    """Scores of all nouns, at one layer (or pair of layers) for each score."""

    model: str
    lens: str
    layers: dict[str, str]
    nouns: tuple[DescribedNoun, ...]
    notes: tuple[str, ...]

    def to_json(self) -> str:
        """JSON text."""
        return json.dumps(asdict(self), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def described(
    model: Model,
    data: CasesLike,
    chosen: Chosen | None = None,
    *,
    prompt: str | None = None,
    lens: LensLike | None = None,
    max_new_tokens: int = 40,
    out: Path | None = None,
    progress: Progress = silent,
) -> Described:
    """Let the model describe pictures and score the nouns it says, as `noun_scores`.

    Args:
        model: what `patchlens.load` returns.
        data: a folder, a ``.jsonl`` file, items, or cases; each with a prompt that asks for a caption.
        chosen: layers and thresholds chosen where the truth is known (`calibrated`); nouns are then those of
            the bench's things. None takes the middle layer and every content word, and flags nothing.
        prompt: what to ask of each picture of a folder.
        lens: gives the first of the scores; the logit lens, or cross where pictures need it, if left out.
        max_new_tokens: longest caption.
        out: NAME.jsonl, a line per case; run again, it goes on from there.
        progress: told what is being done, how much is done, and of how much.

    Raises:
        SelectionError: no caption has a noun.
    """
    reader = usual_lens(model, lens)

    def one(case: Item) -> Record:
        pictures = case.open()
        said = model.trace(pictures, case.prompt, max_new_tokens=max_new_tokens, layers=0).answer
        nouns = (known_nouns if chosen is not None else content_words)(model.tokenizer, said.ids)
        scores: Scores = {}
        if nouns:
            scores = noun_scores(whole_caption(model, pictures, case.prompt, said.ids), reader, nouns)
        return {"caption": said.text, "nouns": [noun.key for noun in nouns], "scores": scores}

    parameters = {"lens": reader.name, "max_new_tokens": max_new_tokens, "known": chosen is not None}
    trial = Experiment("nouns of captions", model, as_cases(data, prompt), parameters, out, progress)
    records = trial.records(one)
    named = [record for record in records.values() if record["nouns"]]
    if not named:
        first = next(iter(records.values()))["caption"]
        raise SelectionError(
            f"no noun was found in what {model.name} says of these pictures, such as {first!r:.80}"
        )
    layers = dict(chosen.layers) if chosen is not None else _middle(named[0]["scores"])
    found = [
        _noun(name, record, number, layers, chosen)
        for name, record in records.items()
        for number in range(len(record["nouns"]))
    ]
    return Described(model.name, reader.name, layers, tuple(found), _notes(chosen))


def print_described(found: Described, console: Console) -> None:
    """Print a table of nouns by picture."""
    console.print(
        Text(visible_text(f"{found.model} · nouns scored with the {found.lens} lens"), style="bold")
    )
    names = [name for name in SCORES if name in found.layers]
    picture = None
    for noun in found.nouns:
        if noun.picture == picture:
            continue
        picture = noun.picture
        console.print(Text(visible_text(f"{picture}: {noun.caption}")), soft_wrap=True)
        table = Table(box=box.SIMPLE_HEAD, padding=(0, 1))
        for heading in ("noun", *map(partial(_heading, found), names), "flagged"):
            table.add_column(heading, overflow="fold")
        for own in (one for one in found.nouns if one.picture == picture):
            flag = "" if own.flagged is None else "likely made up" if own.flagged else "no"
            values = (f"{own.scores[name]:.3g}" for name in names)
            table.add_row(*map(Text, (visible_text(own.noun), *values, flag)))
        console.print(table)
    for note in found.notes:
        console.print(Text(visible_text(f"note: {note}"), style="dim"), soft_wrap=True)


def _heading(found: Described, name: str) -> str:
    layer = found.layers[name]
    where = {"": "", MEAN: "mean of layers, "}.get(layer, f"layer {layer}, ")
    return f"{name} ({where}{UNITS[name]})"


def _noun(
    picture: str, record: Record, number: int, layers: dict[str, str], chosen: Chosen | None
) -> DescribedNoun:
    scores = {name: float(record["scores"][name][layer][number]) for name, layer in layers.items()}
    threshold = None if chosen is None else chosen.thresholds["own"][LENS]
    flagged = None if threshold is None else scores[LENS] < threshold
    return DescribedNoun(picture, record["caption"], record["nouns"][number], scores, flagged)


def _middle(scores: dict[str, dict[str, Any]]) -> dict[str, str]:
    """The layer in the middle of those that a score has; of pairs, twice the same."""
    found: dict[str, str] = {}
    for name, layers in scores.items():
        same = [layer for layer in layers if "-" not in layer or len(set(layer.split("-"))) == 1]
        found[name] = same[len(same) // 2]
    return found


def _notes(chosen: Chosen | None) -> tuple[str, ...]:
    if chosen is None:
        return (
            "nouns are the words of the caption that are written apart, less a list of English and German "
            "function words: verbs and adjectives are among them; scores are at middle layers, and no "
            "threshold is known",
            "a score compares nouns of one caption: low means that less of the picture backs it, not that it "
            "is false",
        )
    return (
        "layers and the threshold were chosen on drawn scenes, whose truth is known; nouns are things that "
        "drawn scenes can show",
    )
