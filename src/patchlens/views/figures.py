"""The four charts: colours safe for colour-blind eyes, glyphs from fonts that are there."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterator
from typing import Any, Final

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection
from matplotlib.colorbar import Colorbar
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray
from PIL import Image, ImageOps

from patchlens.axes import PositionKind
from patchlens.concepts.lexicon import Concept
from patchlens.reading.reading import Reading
from patchlens.views import fonts
from patchlens.views.places import place_name

LINES: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARK: Final = "#B3440A"
STYLE: Final[dict[Any, Any]] = {
    "text.parse_math": False,
    "text.usetex": False,
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#888888",
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "figure.facecolor": "white",
    "legend.frameon": False,
}
MOST_PANELS: Final = 9
PICTURE_PIXELS: Final = 640
MOST_TICKS: Final = 50
KIND_NAMES: Final = {
    PositionKind.TEXT: "text",
    PositionKind.PATCH: "patches",
    PositionKind.IMAGE_OTHER: "other image tokens",
    PositionKind.SPECIAL: "special tokens",
}


class Chart(Figure):
    """A figure that a notebook shows, without pyplot."""

    def _repr_png_(self) -> bytes:
        from patchlens.views.charts import rendered

        return rendered(self, ".png")


def finished(draw: Callable[[], Figure]) -> Figure:
    """Draw in one style, whatever the user's own settings; every text finds its glyphs, none is mathtext."""
    fonts.register()
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(STYLE)
        figure = draw()
    for text in figure.findobj(Text):
        text.set_fontfamily(list(fonts.FAMILIES))
        text.set_parse_math(False)
    return figure


def topk(reading: Reading, column: int) -> Figure:
    """A row per layer, a column per rank; the cell's colour is its probability, the final word is framed."""
    n_layers, _, k = reading.top_ids.shape
    figure = Chart(figsize=(1.9 + 0.98 * k, 1.25 + 0.215 * n_layers), layout="constrained")
    axes = figure.add_subplot()
    probs = np.exp(reading.top_logprobs[:, column])
    mesh = axes.pcolormesh(probs, cmap="Blues", norm=PowerNorm(0.5, 0, 1), edgecolors="white", linewidth=0.8)
    position = int(reading.positions.index[column])
    final = reading.final_token(position)
    for row in range(n_layers):
        for rank in range(k):
            token = int(reading.top_ids[row, column, rank])
            shade = "white" if probs[row, rank] > 0.32 else "#1b1c1f"
            piece = fonts.word(reading.pieces[token], 14)
            axes.text(rank + 0.5, row + 0.5, piece, ha="center", va="center", fontsize=7.5, color=shade)
            if token == final:
                axes.add_patch(
                    Rectangle((rank, row), 1, 1, fill=False, edgecolor=MARK, linewidth=1.4, zorder=3)
                )
    axes.set_xticks(np.arange(k) + 0.5, [str(rank + 1) for rank in range(k)])
    axes.set_yticks(np.arange(n_layers) + 0.5, [_layer_tick(reading, row) for row in range(n_layers)])
    axes.tick_params(length=0, labelsize=7.5)
    axes.set_ylim(n_layers, 0)
    axes.set_xlabel("rank")
    axes.set_ylabel("layer")
    axes.spines[:].set_visible(False)
    _title(figure, reading, f"{place_name(reading, column)}: {_story(reading, position, final)}")
    bar = figure.colorbar(mesh, ax=axes, shrink=0.5, aspect=18, pad=0.02, ticks=[0, 0.01, 0.1, 0.3, 0.6, 1])
    bar.ax.yaxis.set_major_formatter(FuncFormatter(_share))
    bar.outline.set_visible(False)
    return figure


def trajectory(reading: Reading, column: int, concept: Concept | None) -> Figure:
    """Probability of words over the layers at one position, on a logarithmic scale; a gap where not known."""
    figure = Chart(figsize=(6.4, 3.8), layout="constrained")
    axes = figure.add_subplot()
    gaps = False
    for (name, words), colour in zip(_lines(reading, column, concept), _colours(), strict=False):
        values = np.exp(reading.logprobs(words)[:, column].astype(float))
        gaps |= bool(np.isnan(values).any())
        axes.plot(reading.layers, values, color=colour, marker="o", markersize=3.5, linewidth=1.6, label=name)
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(FuncFormatter(_share))
    axes.set_ylim(top=1.6)
    axes.grid(axis="y", color="#e4e4e0", linewidth=0.8)
    axes.set_ylabel("probability")
    _layer_axis(axes, reading)
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    _title(figure, reading, f"{place_name(reading, column)}{_unknown(reading, 'gaps') if gaps else ''}")
    return figure


def heatmap(reading: Reading, concept: Concept | None, layer: int | None, image: int) -> Figure:
    """A concept's probability, or the entropy, at every patch of a picture: small multiples on one scale."""
    values = reading.entropy if concept is None else reading.logprobs(concept)
    if not reading.pictures:
        return _by_position(reading, values, concept, layer)
    reading.on_grid(values[0], image)
    rows = _spread(len(reading.layers)) if layer is None else [reading.layer_row(layer)]
    here = (reading.positions.kind == PositionKind.PATCH) & (reading.positions.image == image)
    shown = values[rows][:, here]
    known = shown[np.isfinite(shown)]
    limits = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
    columns = min(len(rows), 3)
    grid = reading.pictures[image].grid
    size = 2.5 if len(rows) > 1 else 4.5
    height = math.ceil(len(rows) / columns) * (size * min(grid.height / grid.width, 2.0) + 0.3) + 0.5
    figure = Chart(figsize=(columns * size + 1.1, height), layout="constrained")
    panels = figure.subplots(math.ceil(len(rows) / columns), columns, squeeze=False).ravel()
    picture = _grey(reading.pictures[image].data)
    for axes in panels:
        axes.set_axis_off()
    for axes, row in zip(panels, rows, strict=False):
        mesh = _heat(axes, reading, values[row], here, image, picture, limits)
        axes.set_title(f"layer {_layer_tick(reading, row)}")
    bar = figure.colorbar(mesh, ax=panels.tolist(), shrink=0.7, aspect=36, pad=0.02)  # pyright: ignore[reportPossiblyUnboundVariable]
    _scaled(bar, concept, limits)
    _title(figure, reading, _what(reading, concept, is_partly=len(known) < shown.size))
    return figure


def _by_position(
    reading: Reading, values: NDArray[np.float32], concept: Concept | None, layer: int | None
) -> Figure:
    """Layers down, positions across: the map of a reading without a picture."""
    rows = list(range(len(reading.layers))) if layer is None else [reading.layer_row(layer)]
    shown = values[rows]
    known = shown[np.isfinite(shown)]
    limits = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
    n = shown.shape[1]
    figure = Chart(figsize=(min(2.2 + 0.3 * n, 16.0), 2.0 + 0.2 * len(rows)), layout="constrained")
    axes = figure.add_subplot()
    mesh = axes.pcolormesh(shown, cmap="magma", vmin=limits[0], vmax=limits[1])
    step = math.ceil(n / MOST_TICKS)
    pieces = [fonts.word(reading.pieces[int(token)], 14) for token in reading.positions.token[::step]]
    axes.set_xticks(np.arange(0, n, step) + 0.5, pieces, rotation=90)
    axes.set_yticks(np.arange(len(rows)) + 0.5, [_layer_tick(reading, row) for row in rows])
    axes.tick_params(length=0, labelsize=7.5)
    axes.set_ylim(len(rows), 0)
    axes.set_ylabel("layer")
    _scaled(figure.colorbar(mesh, ax=axes, shrink=0.7, pad=0.02), concept, limits)
    _title(figure, reading, _what(reading, concept, is_partly=len(known) < shown.size))
    return figure


def _scaled(bar: Colorbar, concept: Concept | None, limits: tuple[float, float]) -> None:
    """A key in nats for entropy, in powers of ten for a probability."""
    bar.outline.set_visible(False)
    if concept is not None:
        powers = [math.log(10) * n for n in range(-12, 1)]
        bar.set_ticks([p for p in powers if limits[0] <= p <= limits[1]] or list(limits))
        bar.ax.yaxis.set_major_formatter(FuncFormatter(_logged))


def _what(reading: Reading, concept: Concept | None, *, is_partly: bool) -> str:
    what = "entropy (nats)" if concept is None else f"probability of {_concept_name(reading, concept)}"
    return what + (_unknown(reading, "no colour") if is_partly else "")


def _unknown(reading: Reading, how: str) -> str:
    return f"; {how}: below the top {reading.top_ids.shape[2]}, so not known"


def entropy(reading: Reading) -> Figure:
    """Median and middle half of entropy and KL by layer, for each kind of position and for the answer."""
    figure = Chart(figsize=(8.4, 3.6), layout="constrained")
    for axes, values, name in zip(
        figure.subplots(1, 2),
        (reading.entropy, reading.kl_to_final),
        ("entropy (nats)", "KL to the final layer (nats)"),
        strict=True,
    ):
        for (label, columns), colour in zip(_groups(reading), _colours(), strict=False):
            low, middle, high = np.percentile(values[:, columns], (25, 50, 75), axis=1)
            axes.plot(reading.layers, middle, color=colour, linewidth=1.7, label=f"{label} ({len(columns)})")
            if len(columns) > 1:
                axes.fill_between(reading.layers, low, high, color=colour, alpha=0.16, linewidth=0)
        axes.set_title(name)
        axes.set_ylim(bottom=0)
        axes.grid(axis="y", color="#e4e4e0", linewidth=0.8)
        _layer_axis(axes, reading)
    figure.axes[0].legend(fontsize=8)
    _title(figure, reading, "median and middle half")
    return figure


def _groups(reading: Reading) -> Iterator[tuple[str, NDArray[np.intp]]]:
    answers = reading.positions.step >= 0
    for kind, name in KIND_NAMES.items():
        columns = np.flatnonzero((reading.positions.kind == kind) & ~answers)
        if columns.size:
            yield name, columns
    if answers.any():
        yield "answer", np.flatnonzero(answers)


def _lines(reading: Reading, column: int, concept: Concept | None) -> Iterator[tuple[str, Concept]]:
    if concept is not None:
        words = [concept] if isinstance(concept, (int, str)) else concept
        yield from ((_concept_name(reading, word), word) for word in words)
    elif reading.targets:
        for target in reading.targets:
            name = target.word if target.is_whole else f"{target.word} ({target.pieces[0]}…)"
            yield fonts.text(name, 24), target.token
    else:
        final = reading.final_token(int(reading.positions.index[column]))
        yield fonts.word(reading.pieces[final], 24), final


def _concept_name(reading: Reading, concept: Concept) -> str:
    if isinstance(concept, str):
        return fonts.text(concept, 24)
    if isinstance(concept, int):
        return fonts.word(reading.pieces.get(concept, ""), 24)
    return " + ".join(_concept_name(reading, part) for part in concept)


def _heat(
    axes: Axes,
    reading: Reading,
    values: NDArray[np.float32],
    here: NDArray[np.bool_],
    image: int,
    picture: Image.Image | None,
    limits: tuple[float, float],
) -> PatchCollection:
    grid = reading.pictures[image].grid
    if picture is not None:
        axes.imshow(picture, cmap="gray", extent=(0, grid.width, grid.height, 0), vmin=0, vmax=255)
    seen = here & np.isfinite(values)
    boxes = [Rectangle((x0, y0), x1 - x0, y1 - y0) for x0, y0, x1, y1 in reading.positions.box[seen].tolist()]
    mesh = PatchCollection(boxes, cmap="magma", alpha=0.75, linewidth=0)
    mesh.set_array(values[seen])
    mesh.set_clim(*limits)
    axes.add_collection(mesh)
    axes.set_xlim(0, grid.width)
    axes.set_ylim(grid.height, 0)
    axes.set_aspect("equal")
    return mesh


def _grey(data: bytes) -> Image.Image | None:
    try:
        with Image.open(io.BytesIO(data)) as opened:
            grey = ImageOps.exif_transpose(opened).convert("L")
    except OSError:
        return None
    grey.thumbnail((PICTURE_PIXELS, PICTURE_PIXELS))
    return grey


def _spread(count: int) -> list[int]:
    return sorted({round(i) for i in np.linspace(0, count - 1, min(count, MOST_PANELS))})


def _share(value: float, _: float) -> str:
    return f"{100 * value:g}%"


def _logged(value: float, _: float) -> str:
    return f"{100 * math.exp(value):.3g}%"


def _colours() -> Iterator[str]:
    while True:
        yield from LINES


def _layer_axis(axes: Axes, reading: Reading) -> None:
    axes.set_xlabel("layer (0: embeddings)")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlim(float(reading.layers.min()) - 0.3, float(reading.layers.max()) + 0.3)


def _layer_tick(reading: Reading, row: int) -> str:
    layer = int(reading.layers[row])
    return "0 (emb.)" if layer == 0 else str(layer)


def _story(reading: Reading, position: int, final: int) -> str:
    lead = reading.leads_from(final, position)
    word = fonts.word(reading.pieces[final], 24)
    return word if lead is None else f"{word} is first from layer {lead} on"


def _title(figure: Figure, reading: Reading, what: str) -> None:
    named = " · ".join([reading.model.name, f"{reading.lens} lens", *(p.name for p in reading.pictures)])
    lines = [fonts.text(reading.prompt, 90), fonts.drawable(what), fonts.text(named, 90)]
    figure.suptitle("\n".join(lines), x=0.01, ha="left", fontsize=8.5)
