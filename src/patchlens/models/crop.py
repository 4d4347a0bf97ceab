"""Follow the resize, crop and pad settings of an image processor that makes one canvas per picture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from PIL import Image

from patchlens.errors import UnsupportedModelError
from patchlens.pictures.grid import Canvas, centred, padded_square, shortest_edge_size


def canvas_of(processor: Any, picture: Image.Image) -> Canvas:
    """The canvas a CLIP-like or SigLIP-like processor makes of a picture: pad, resize, crop as configured.

    Raises:
        UnsupportedModelError: a setting is not one of those stated here.
    """
    canvas = Canvas.of(*picture.size)
    if getattr(processor, "do_pad", False):
        if not hasattr(processor, "pad_to_square"):
            raise UnsupportedModelError(
                f"{type(processor).__name__} pads in a way patchlens has no geometry for"
            )
        canvas = padded_square(canvas)
    if processor.do_resize:
        canvas = canvas.resized(*_resized_size(processor, canvas))
    if getattr(processor, "do_center_crop", False):
        size = _entries(processor.crop_size)
        pil = getattr(processor, "backend", "pil") == "pil"
        canvas = centred(canvas, size["width"], size["height"], odd_padding_first=pil)
    return canvas


def _resized_size(processor: Any, canvas: Canvas) -> tuple[int, int]:
    size = _entries(processor.size)
    if set(size) == {"width", "height"}:
        return size["width"], size["height"]
    if set(size) == {"shortest_edge"}:
        return shortest_edge_size(canvas.width, canvas.height, size["shortest_edge"])
    raise UnsupportedModelError(
        f"{type(processor).__name__} resizes by {', '.join(sorted(size))}: patchlens has no geometry for it"
    )


def _entries(size: Any) -> dict[str, int]:
    items = size.items() if isinstance(size, Mapping) else vars(size).items()
    return {str(key): int(value) for key, value in items if value is not None}
