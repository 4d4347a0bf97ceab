"""An account of attention in the terminal: by layer, then by step or word."""

from __future__ import annotations

import math
from typing import Final

import torch
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text
from torch import Tensor

from patchlens.attention.account import Account, BlockAccount
from patchlens.attention.queries import STEPS, WORD
from patchlens.attention.shares import CLASSES
from patchlens.axes import VISION, PositionKind
from patchlens.views.words import percent, visible, visible_text

UNLIMITED: Final = 10_000
NAMES: Final = ("patches", "other image", "text", "special", "sinks")
PATCH: Final = CLASSES.index(PositionKind.PATCH)
TOP_HEADS: Final = 3
LEGEND: Final = (
    "Shares of attention, mean over heads{queries}. ‖c‖ on patches: their share of the lengths of what "
    "attending adds. Write: length of what the attention adds, over that of the state. Entropy in nats."
)


def print_account(account: Account, console: Console) -> None:
    """Print whose attention it is, where it goes by layer, by step or word if several, and the sink rule."""
    console.print(_heading(account), soft_wrap=True)
    tables = [layer_table(account)]
    if len(account.queries) > 1:
        tables.append(query_table(account))
    for table in tables:
        if console.is_terminal:
            console.print(table)
        else:
            table.box = None
            Console(file=console.file, width=UNLIMITED, color_system=None).print(table)
            console.print()
    several = " and over what was asked for" if len(account.queries) > 1 else ""
    console.print(Text(LEGEND.format(queries=several), style="dim"), soft_wrap=True)
    rule = str(account.rule)
    console.print(Text(f"{rule[0].upper()}{rule[1:]}.", style="dim"), soft_wrap=True)


def layer_table(account: Account) -> Table:
    """Rows are layers; figures are means over the heads asked for and the queries that see the sources."""
    crosses = any(block.over == VISION for block in account.blocks)
    seen = account.picture_axis is not None
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("layer", justify="right", no_wrap=True)
    if crosses:
        table.add_column("attends to", no_wrap=True)
    for name in (*NAMES, "entropy", "‖c‖ on patches", "write"):
        table.add_column(name, justify="right")
    if seen:
        table.add_column(f"heads with most on patches{_of(account)}", no_wrap=True)
    for block in account.blocks:
        cells = [percent(float(share)) for share in _mean(account.chosen(block.shares))]
        row = [
            str(block.layer),
            *(["picture" if block.over == VISION else "text"] if crosses else []),
            *cells,
        ]
        looks = block.over == account.picture_axis
        row.append(_plain(float(_mean(account.chosen(block.entropy)))))
        row.append(percent(float(_mean(account.chosen(block.norm_shares))[PATCH])) if looks else "–")
        row.append(_plain(float(block.write.mean())))
        table.add_row(*row, *([_top_heads(account, block) if looks else "–"] if seen else []))
    return table


def query_table(account: Account) -> Table:
    """Rows are steps of the answer or words; shares are means over layers that see the picture, and heads."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    steps, crosses = account.queries.name == STEPS, account.picture_axis == VISION
    table.add_column("step" if steps else "position", justify="right", no_wrap=True)
    table.add_column("predicts" if steps else "token", no_wrap=True)
    for name in (*NAMES, *(["write"] if crosses else [])):
        table.add_column(name, justify="right")
    write = torch.stack([block.write for block in account.looking]).mean(0)
    words = account.queries.predicts if steps else account.queries.pieces
    for number, (row, word) in enumerate(zip(account.over_layers(), words, strict=True)):
        table.add_row(
            str(number if steps else account.queries.positions[number]),
            Text("–" if word is None else visible(word)),
            *(percent(float(share)) for share in row),
            *([_plain(float(write[number]))] if crosses else []),
        )
    return table


def _heading(account: Account) -> Text:
    queries = account.queries
    head = Text()
    head.append(visible_text(account.model) + "\n", style="dim")
    head.append("prompt  ", style="dim").append(visible_text(account.prompt) + "\n")
    said = visible_text(account.answer.text) if account.answer.ids else "(none was asked for)"
    head.append("answer  ", style="dim").append(said + "\n", style="bold")
    head.append("whose   ", style="dim")
    if queries.name == WORD:
        places = ", ".join(map(str, queries.positions))
        return head.append(f"{visible_text(queries.asked)} in the prompt (position {places})")
    if queries.name == STEPS:
        return head.append(f"all {len(queries)} steps of the answer")
    said = queries.predicts[0]
    head.append(f"position {queries.positions[0]}, {visible(queries.pieces[0])}")
    return head if said is None else head.append(f", which predicts {visible(said)}")


def _top_heads(account: Account, block: BlockAccount) -> Text:
    own = _mean(block.shares[..., PATCH].T)
    heads = list(range(len(own)) if account.heads is None else account.heads)
    best = sorted(heads, key=lambda head: (-float(own[head]), head))[:TOP_HEADS]
    text = Text()
    for head in best:
        text.append(f"{head:>2} ", style="dim").append(f"{percent(float(own[head])):<6} ")
    return text


def _of(account: Account) -> str:
    return "" if account.heads is None else f", of {len(account.heads)}"


def _mean(values: Tensor) -> Tensor:
    """Mean over queries, leaving out those that do not see the sources."""
    return values.nanmean(0)


def _plain(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.2f}"
