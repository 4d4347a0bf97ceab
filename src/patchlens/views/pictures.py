"""Pictures made small and safe enough to stand inside a page."""

from __future__ import annotations

import base64
import io
from typing import Final

from PIL import Image, ImageOps

from patchlens.reading.records import Picture

SHOWN: Final = frozenset({"image/png", "image/jpeg", "image/webp", "image/gif"})
LONGEST_SIDE: Final = 1400
MOST_BYTES: Final = 600_000


def data_url(picture: Picture, longest: int = LONGEST_SIDE, most: int | None = None) -> str:
    """The picture as a ``data:`` address, shrunk where it is large; empty when it cannot be shown.

    Large is what has a side of more than ``longest`` pixels, or more than ``most`` bytes (``MOST_BYTES`` if
    None). Boxes are placed by the grid's own size, so shrinking moves nothing.
    """
    if picture.mime not in SHOWN:
        return ""
    room = MOST_BYTES if most is None else most
    if len(picture.data) <= room and max(picture.grid.width, picture.grid.height) <= longest:
        return _url(picture.mime, picture.data)
    try:
        return _url("image/jpeg", shrink(picture.data, longest))
    except OSError:
        return ""


def shrink(data: bytes, longest: int) -> bytes:
    """A JPEG of an encoded picture whose longer side is at most ``longest`` pixels, turned upright."""
    with Image.open(io.BytesIO(data)) as opened:
        small = ImageOps.exif_transpose(opened)
        small.thumbnail((longest, longest))
        flat = Image.new("RGB", small.size, "white")
        layered = small.convert("RGBA")
        flat.paste(layered, mask=layered.getchannel("A"))
    buffer = io.BytesIO()
    flat.save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def _url(mime: str, data: bytes) -> str:
    return f"data:{mime};base64,{base64.b64encode(data).decode('ascii')}"
