"""Charts of a reading as matplotlib figures, PNG, SVG or PDF (extra "chart")."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from patchlens.concepts.lexicon import Concept
from patchlens.errors import MissingExtraError, SelectionError
from patchlens.files import output_path, write_atomically
from patchlens.reading.reading import Reading, check_reading
from patchlens.reading.where import Where

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Kind = Literal["topk", "trajectory", "heatmap", "entropy"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
FORMATS: Final[dict[str, dict[str, Any]]] = {
    ".png": {"format": "png", "dpi": 160, "metadata": {"Software": None}},
    ".svg": {"format": "svg", "metadata": {"Date": None, "Creator": None}},
    ".pdf": {"format": "pdf", "metadata": {"CreationDate": None, "Creator": None, "Producer": None}},
}


def chart(
    reading: Reading,
    kind: Kind | str,
    *,
    at: Where = "answer",
    step: int | None = None,
    layer: int | None = None,
    concept: Concept | None = None,
    image: int = 0,
) -> Figure:
    """Draw a chart of a reading: a matplotlib figure, which a notebook shows as a picture.

    Args:
        reading: what to draw.
        kind: "topk" (top words by layer at a position), "trajectory" (probability of words over the layers
            at a position), "heatmap" (a concept, or the entropy, on a picture; over layers and positions
            where there is no picture) or "entropy" (entropy and KL to the final layer over the layers, by
            kind of position; nats).
        at: position of a topk or trajectory: its index, "answer", "last", or a word of the prompt.
        step: an answer step instead of a position.
        layer: the one layer of a heatmap; several, evenly spaced, if None.
        concept: words or ids. A trajectory draws each of several on its own, a heatmap adds them up.
        image: which picture (heatmap).

    Raises:
        SelectionError: no reading, or no such kind, position, step, layer or picture.
        TargetError: a word does not occur in the reading.
        MissingExtraError: matplotlib is not installed.
    """
    check_reading(reading)
    try:
        from patchlens.views import figures
    except ModuleNotFoundError as error:
        if error.name and error.name.partition(".")[0] == "matplotlib":
            raise MissingExtraError("a chart", "matplotlib", "chart") from None
        raise
    if kind not in KINDS:
        raise SelectionError(f"there is no chart kind {kind!r}: choose {', '.join(KINDS)}")

    def column() -> int:
        return reading.position_row(at) if step is None else reading.step_row(step)

    draw: dict[str, Callable[[], Figure]] = {
        "topk": lambda: figures.topk(reading, column()),
        "trajectory": lambda: figures.trajectory(reading, column(), concept),
        "heatmap": lambda: figures.heatmap(reading, concept, layer, image),
        "entropy": lambda: figures.entropy(reading),
    }
    return figures.finished(draw[kind])


def write_chart(
    reading: Reading,
    kind: Kind | str,
    path: str | Path,
    *,
    at: Where = "answer",
    step: int | None = None,
    layer: int | None = None,
    concept: Concept | None = None,
    image: int = 0,
) -> Path:
    """Draw a chart (see `chart`) and write it as PNG, SVG or PDF by the path's suffix, always the same bytes.

    Raises:
        SelectionError, TargetError, MissingExtraError: as `chart`.
        OutputError: another suffix, or the file cannot be written.
    """
    path = output_path(path, *FORMATS)
    figure = chart(reading, kind, at=at, step=step, layer=layer, concept=concept, image=image)
    return write_atomically(path, rendered(figure, path.suffix.lower()))


def rendered(figure: Figure, suffix: str) -> bytes:
    """A figure as PNG, SVG or PDF, by a suffix of `FORMATS`: always the same bytes, text drawn as shapes."""
    import matplotlib as mpl

    buffer = io.BytesIO()
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update({"svg.hashsalt": "patchlens", "svg.fonttype": "path"})
        figure.savefig(buffer, **FORMATS[suffix])
    return buffer.getvalue()
