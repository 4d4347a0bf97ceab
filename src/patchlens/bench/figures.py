"""The courses of figures over the layers, all lenses of a model in one drawing (extra "chart")."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from patchlens.bench.board import LensScores, ModelScores
from patchlens.bench.wording import NAMES
from patchlens.views import fonts
from patchlens.views.figures import LINES, finished

GREY: Final = "#888888"

PANELS: Final = ("readable_top5", "false_top5", "auroc_others", "kl_text", "kl_patch", "kl_answer")
KNOWN: Final = ("logit", "tuned", "jacobian", "latent", "embedding", "cross", "attention", "contextual")
"""Names with a colour of their own, the same in every drawing; others take what is left over."""
_COLUMNS: Final = 3
_NULL: Final = "shuffled"
_NAME_COLUMNS: Final = 28


def courses(scores: ModelScores) -> Figure:
    """Draw a panel per metric that some lens has: a line and its interval per lens, the nulls dotted."""
    return finished(lambda: _draw(scores))


def _draw(scores: ModelScores) -> Figure:
    panels = [name for name in PANELS if any(own.course(name) for own in scores.lenses)]
    n_rows = -(-len(panels) // _COLUMNS)
    colours = _colours([own.lens for own in scores.lenses])
    figure = Figure(figsize=(11.5, 0.6 + 2.7 * n_rows), layout="constrained")
    for number, name in enumerate(panels):
        axes = figure.add_subplot(n_rows, _COLUMNS, number + 1)
        axes.set_title(NAMES[name])
        for own in scores.lenses:
            _line(axes, own, name, colours[own.lens])
        axes.set_xlabel("layer")
        axes.set_xlim(-0.2, scores.n_layers + 0.2)
        axes.set_ylim(bottom=0, top=1.02 if name in PANELS[:3] else None)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(axis="y", color="#e4e4e0", linewidth=0.8)
    handles, labels = _legend(figure)
    figure.legend(handles, labels, loc="outside lower center", ncols=min(len(labels), 6))
    return figure


def _colours(lenses: Sequence[str]) -> dict[str, str]:
    """A colour for each lens: its own, or one that no known lens among them has, as far as there are any."""
    palette = (*LINES, GREY)
    own = {lens: palette[KNOWN.index(lens)] for lens in lenses if lens in KNOWN}
    left = [colour for colour in palette if colour not in own.values()] or list(palette)
    others = [lens for lens in lenses if lens not in KNOWN]
    return own | {lens: left[number % len(left)] for number, lens in enumerate(others)}


def _line(axes: Axes, own: LensScores, name: str, colour: str) -> None:
    course = own.course(name)
    if not course:
        return
    at = [score.layer for score in course if score.layer is not None]
    label = fonts.text(own.lens, _NAME_COLUMNS)
    axes.plot(at, [s.value.mean for s in course], color=colour, marker="o", markersize=3, label=label)
    bounds = [(s.value.mean if b is None else b for b in (s.value.low, s.value.high)) for s in course]
    low, high = zip(*bounds, strict=True)
    axes.fill_between(at, low, high, color=colour, alpha=0.2, linewidth=0)
    nulls = [s.nulls[_NULL].estimate.mean for s in course if _NULL in s.nulls]
    if len(nulls) == len(at):
        axes.plot(at, nulls, color=colour, linestyle=":", linewidth=1)


def _legend(figure: Figure) -> tuple[list[Artist], list[str]]:
    """One entry per lens, whichever panels it is in."""
    found: dict[str, Artist] = {}
    for axes in figure.axes:
        handles, labels = axes.get_legend_handles_labels()
        found = dict(zip(labels, handles, strict=True)) | found
    return list(found.values()), list(found)
