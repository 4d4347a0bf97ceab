"""Tables for the terminal: what each layer reads at a position, and what can be read at all.

Everything from a reading is text, never markup: control and direction characters are named.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from patchlens.axes import layer_name
from patchlens.reading.reading import Reading
from patchlens.reading.records import Candidate
from patchlens.reading.where import Where
from patchlens.views import terminal
from patchlens.views.places import place_name
from patchlens.views.terminal import UNLIMITED, add_texts, new_table, print_table
from patchlens.views.words import percent, target_name, visible, visible_text

if TYPE_CHECKING:
    from patchlens.models.identity import IdentityReport

CELL: Final = 15
FIXED: Final = 3
"""Columns before those of targets and candidates."""
FINAL: Final = "bold yellow"


def print_reading(
    reading: Reading, console: Console, *, at: Where = "answer", step: int | None = None
) -> None:
    """Print the head of a reading and its top-k-by-layer table at a position, or at an answer step.

    Raises:
        SelectionError: the reading does not hold that position or step.
    """
    column = reading.position_row(at) if step is None else reading.step_row(step)
    console.print(heading(reading), soft_wrap=True)
    console.print(story(reading, column), soft_wrap=True)
    table = layer_table(reading, column, cell=CELL if console.is_terminal else UNLIMITED)
    n_targets = len(reading.targets)
    ranks, targets = range(len(table.columns) - 1, FIXED + n_targets, -1), range(FIXED + n_targets - 1, 2, -1)
    print_table(table, console, spare=(*ranks, *targets, 2, 1))


def heading(reading: Reading) -> Text:
    """Model, lens, pictures, prompt and answer, a line each."""
    model = reading.model
    revision = f"@{model.revision}" if model.revision else ""
    named = [
        f"{model.name}{revision}",
        model.dtype,
        f"{reading.lens} lens",
        *(p.name for p in reading.pictures),
    ]
    return terminal.heading(" · ".join(named), reading.prompt, reading.answer)


def story(reading: Reading, column: int) -> Text:
    """Which position the table is of, and when its final word appears."""
    position = int(reading.positions.index[column])
    final = reading.final_token(position)
    rows = np.flatnonzero((reading.top_ids[:, column] == final).any(-1))
    line = Text("at      ", style="dim").append(place_name(reading, column), style="not dim")
    line.append(" · ").append(visible(reading.pieces[final]), style=f"not dim {FINAL}")
    k = reading.top_ids.shape[2]
    if rows.size == 0:
        return line.append(f" is in no layer's top {k}")
    line.append(f" enters the top {k} at layer {_layer(reading, int(rows[0]))}")
    lead = reading.leads_from(final, position)
    return line.append(
        ", not first at the end"
        if lead is None
        else f", first from layer {layer_name(lead, reading.model.n_layers)} on"
    )


def layer_table(reading: Reading, column: int, *, cell: int = CELL) -> Table:
    """Rows are layers; columns entropy, KL to the final layer (nats), targets, and the best candidates.

    Each candidate is cut to ``cell`` characters.
    """
    table = new_table(("layer", "entropy", "KL"))
    add_texts(table, *(_cut(target_name(target), cell) for target in reading.targets))
    add_texts(table, *map(str, range(1, reading.top_ids.shape[2] + 1)))
    position = int(reading.positions.index[column])
    final = reading.final_token(position)
    for row, layer in enumerate(reading.layers.tolist()):
        table.add_row(
            _layer(reading, row),
            f"{reading.entropy[row, column]:.2f}",
            f"{reading.kl_to_final[row, column]:.2f}",
            *_target_cells(reading, row, column),
            *(_cell(c, c.token == final, cell) for c in reading.top(layer, position)),
        )
    return table


def print_models(families: Mapping[str, str], console: Console) -> None:
    """Print which families of models can be read."""
    table = new_table()
    add_texts(table, "family", "covers")
    for family, covers in families.items():
        table.add_row(Text(family), Text(covers))
    print_table(table, console)


def print_identity(name: str, report: IdentityReport, console: Console) -> None:
    """Print the self-check of a model: how closely its last state, unembedded, gives its own logits."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_row(
        "relative difference", f"{report.difference:.2e} (at most {report.tolerance:.0e} is accepted)"
    )
    table.add_row("largest difference", f"{report.max_logit_difference:.2e} logits")
    table.add_row(
        "same first choice", f"{100 * report.argmax_agreement:.1f}% of {report.positions} positions"
    )
    for label, module in (
        ("last block", report.last_block),
        ("final norm", report.final_norm),
        ("head", report.head),
    ):
        table.add_row(label, Text(visible_text(module)))
    console.print(Text(f"{visible_text(name)} ({report.dtype}) is read rightly:", style="bold"))
    console.print(table)


def _target_cells(reading: Reading, row: int, column: int) -> Iterator[str]:
    for logprob, rank in zip(
        reading.target_logprobs[row, column], reading.target_ranks[row, column], strict=True
    ):
        yield f"{percent(float(np.exp(logprob)))} #{int(rank) + 1}"


def _cell(candidate: Candidate, final: bool, size: int) -> Text:
    share = percent(candidate.prob)
    word = _cut(visible(candidate.piece), size - len(share) - 1)
    word.stylize(FINAL if final else "dim" if candidate.prob < 0.01 else "")
    return word.append(f" {share}", style="not bold dim")


def _cut(word: str, size: int) -> Text:
    text = Text(word)
    text.truncate(size, overflow="ellipsis")
    return text


def _layer(reading: Reading, row: int) -> str:
    return layer_name(int(reading.layers[row]), reading.model.n_layers)
