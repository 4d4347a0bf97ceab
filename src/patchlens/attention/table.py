"""An account of attention in the terminal: by layer, then by step or word."""

from __future__ import annotations

import math
from typing import Final

import torch
from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text
from torch import Tensor

from patchlens.attention.account import Account, BlockAccount
from patchlens.attention.queries import STEPS, WORD
from patchlens.axes import CLASSES, VISION, PositionKind
from patchlens.views.terminal import UNLIMITED, print_table
from patchlens.views.words import percent, visible, visible_text

NAMES: Final = ("patches", "other", "text", "special", "sinks")
PATCH: Final = CLASSES.index(PositionKind.PATCH)
TOP_HEADS: Final = 3
TIGHT: Final = (0, 1, 0, 0)
LEGEND: Final = (
    "Shares of attention, mean over heads{queries}; other: places of a picture that show no part of it. "
    "‖c‖: share of patches in the lengths of what attending adds. Write: length of what the attention adds, "
    "over that of the state. Nats: entropy of the weights. Top heads: with the largest share on patches."
)


def print_account(account: Account, console: Console) -> None:
    """Print whose attention it is, where it goes by layer, by step or word if several, and the sink rule."""
    console.print(_heading(account), soft_wrap=True)
    tables = [_fitting(account, console)]
    if len(account.queries) > 1:
        tables.append(query_table(account))
    for table in tables:
        print_table(table, console)
        if not console.is_terminal:
            console.print()
    several = " and over what was asked for" if len(account.queries) > 1 else ""
    console.print(Text(LEGEND.format(queries=several), style="dim"), soft_wrap=True)
    rule = str(account.rule)
    console.print(Text(f"{rule[0].upper()}{rule[1:]}.", style="dim"), soft_wrap=True)


def layer_table(account: Account, best: int = TOP_HEADS) -> Table:
    """Rows are layers; figures are means over the heads asked for and the queries that see the sources.

    At the end stand the ``best`` heads with the largest share on patches.
    """
    crosses, heads = _crosses(account), best if account.picture_axis else 0
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=TIGHT)
    table.add_column("layer", justify="right", no_wrap=True)
    if crosses:
        table.add_column("over", no_wrap=True)
    for name in (*NAMES, "‖c‖", "nats", "write"):
        table.add_column(name, justify="right", no_wrap=True)
    if heads:
        table.add_column("top heads", no_wrap=True)
    for block in account.blocks:
        looks = block.over == account.picture_axis
        table.add_row(
            str(block.layer),
            *(["picture" if block.over == VISION else "text"] if crosses else []),
            *(percent(float(share)) for share in _mean(account.chosen(block.shares))),
            percent(float(_mean(account.chosen(block.norm_shares))[PATCH])) if looks else "–",
            _plain(float(_mean(account.chosen(block.entropy)))),
            _plain(float(block.write.mean())),
            *([_top_heads(account, block, heads) if looks else "–"] if heads else []),
        )
    return table


def query_table(account: Account) -> Table:
    """Rows are steps of the answer or words; shares are means over layers that see the picture, and heads."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=TIGHT)
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


def _top_heads(account: Account, block: BlockAccount, best: int) -> Text:
    own = _mean(block.shares[..., PATCH].T)
    heads = list(range(len(own)) if account.heads is None else account.heads)
    text = Text()
    for head in sorted(heads, key=lambda head: (-float(own[head]), head))[:best]:
        text.append(f"{head:>2} ", style="dim").append(f"{percent(float(own[head])):<6}")
    return text


def _fitting(account: Account, console: Console) -> Table:
    """With as many of the top heads as a terminal has room for."""
    unlimited = console.options.update_width(UNLIMITED)
    for best in range(TOP_HEADS, 0, -1):
        table = layer_table(account, best)
        if not console.is_terminal or Measurement.get(console, unlimited, table).maximum <= console.width:
            return table
    return layer_table(account, 0)


def _crosses(account: Account) -> bool:
    return any(block.over == VISION for block in account.blocks)


def _mean(values: Tensor) -> Tensor:
    """Mean over queries, leaving out those that do not see the sources."""
    return values.nanmean(0)


def _plain(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.2f}"
