"""An account of attention in the terminal: by layer, then by step or word."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from patchlens.attention.account import Account, BlockAccount
from patchlens.attention.columns import by_layer, by_query, seeing_mean
from patchlens.attention.queries import STEPS, WORD
from patchlens.axes import CLASSES, VISION, PositionKind
from patchlens.views import terminal
from patchlens.views.terminal import add_numbers, add_texts, new_table, print_table
from patchlens.views.words import percent, visible, visible_text

NAMES: Final = dict(zip(CLASSES, ("patches", "other", "text", "special", "sinks"), strict=True))
PATCH: Final = CLASSES.index(PositionKind.PATCH)
TOP_HEADS: Final = ("top head", "2nd", "3rd")
SPARE: Final = (*reversed(TOP_HEADS), "write", "nats", "‖c‖", "special", "other")
LEGEND: Final = (
    "Shares of attention, mean over heads{queries}; other: places of a picture that show no part of it. "
    "‖c‖: share of patches in the lengths of what attending adds. Write: length of what the attention adds, "
    "over that of the state. Nats: entropy of the weights. Top heads: with the largest share on patches."
)


def print_account(account: Account, console: Console) -> None:
    """Print whose attention it is, where it goes by layer, by step or word if several, and the sink rule."""
    head = terminal.heading(account.model, account.prompt, account.answer)
    console.print(head.append("\nwhose   ", style="not bold").append(_whose(account)), soft_wrap=True)
    for table in (layer_table(account), *([query_table(account)] if len(account.queries) > 1 else [])):
        headers = [column.header for column in table.columns]
        print_table(table, console, spare=[headers.index(name) for name in SPARE if name in headers])
        if not console.is_terminal:
            console.print()
    several = " and over what was asked for" if len(account.queries) > 1 else ""
    rule = str(account.rule)
    for line in (LEGEND.format(queries=several), f"{rule[0].upper()}{rule[1:]}."):
        console.print(Text(line, style="dim"), soft_wrap=True)


def layer_table(account: Account) -> Table:
    """Rows are layers; figures are means over the heads asked for and the queries that see the sources.

    At the end stand the heads with the largest share on patches.
    """
    columns, crosses = by_layer(account), any(block.over == VISION for block in account.blocks)
    heads = TOP_HEADS if account.picture_axis else ()
    table = new_table(("layer",))
    add_texts(table, *(["over"] if crosses else []))
    add_numbers(table, *NAMES.values(), "‖c‖", "nats", "write")
    add_texts(table, *heads)
    for row, block in enumerate(account.blocks):
        looks = block.over == account.picture_axis
        best = _top_heads(account, block) if looks else []
        table.add_row(
            str(block.layer),
            *(["picture" if block.over == VISION else "text"] if crosses else []),
            *(percent(float(columns[name][row])) for name in NAMES),
            percent(float(columns["contribution_patch"][row])) if looks else "–",
            _plain(columns["entropy"][row]),
            _plain(columns["write"][row]),
            *(best[n] if n < len(best) else "–" for n in range(len(heads))),
        )
    return table


def query_table(account: Account) -> Table:
    """Rows are steps of the answer or words; shares are means over layers that see the picture, and heads."""
    steps, crosses = account.queries.name == STEPS, account.picture_axis == VISION
    table = new_table(("step" if steps else "position",))
    add_texts(table, "predicts" if steps else "token")
    add_numbers(table, *NAMES.values(), *(["write"] if crosses else []))
    columns = by_query(account)
    words = columns["predicts" if steps else "piece"]
    for row, number in enumerate(columns["query" if steps else "position"]):
        table.add_row(
            str(number),
            Text("–" if words[row] is None else visible(words[row])),
            *(percent(float(columns[name][row])) for name in NAMES),
            *([_plain(columns["write"][row])] if crosses else []),
        )
    return table


def _whose(account: Account) -> str:
    queries = account.queries
    if queries.name == WORD:
        places = ", ".join(map(str, queries.positions))
        return f"{visible_text(queries.asked)} in the prompt (position {places})"
    if queries.name == STEPS:
        return f"all {len(queries)} steps of the answer"
    said = queries.predicts[0]
    where = f"position {queries.positions[0]}, {visible(queries.pieces[0])}"
    return where if said is None else f"{where}, which predicts {visible(said)}"


def _top_heads(account: Account, block: BlockAccount) -> list[str]:
    own = seeing_mean(block.shares[..., PATCH].T)
    heads = list(range(len(own)) if account.heads is None else account.heads)
    best = sorted(heads, key=lambda head: (-float(own[head]), head))[: len(TOP_HEADS)]
    return [f"{head:>2} {percent(float(own[head]))}" for head in best]


def _plain(value: np.floating) -> str:
    return "–" if math.isnan(value) else f"{value:.2f}"
