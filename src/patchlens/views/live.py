"""The widget of a page: what the notebook's kernel and the page in the browser keep in step."""

from __future__ import annotations

import base64
from typing import Final

import anywidget
import traitlets

from patchlens.reading.reading import Reading
from patchlens.views.html import asset
from patchlens.views.payload import pack


class PageWidget(anywidget.AnyWidget):
    """The page of one or two readings; its traits speak of the first.

    ``layer`` is the number of the layer shown (None until the page is), ``position`` the index in the
    sequence of what is pinned (None: nothing is), ``query`` the words searched for. Layers and positions
    may be set as negative numbers, which count from the end.
    """

    _esm: Final = traitlets.Unicode(asset("widget.js")).tag(sync=True)
    payload = traitlets.List(traitlets.Bytes(), read_only=True).tag(sync=True)
    layer = traitlets.Int(None, allow_none=True).tag(sync=True)
    position = traitlets.Int(None, allow_none=True).tag(sync=True)
    query = traitlets.Unicode("").tag(sync=True)

    def __init__(self, reading: Reading, beside: Reading | None = None) -> None:
        self.reading = reading
        self.beside = beside
        super().__init__()

    @traitlets.default("payload")
    def _packed(self) -> list[bytes]:
        shown = [self.reading] if self.beside is None else [self.reading, self.beside]
        return [base64.b64decode(pack(reading)) for reading in shown]

    @traitlets.validate("layer")
    def _held_layer(self, proposal: traitlets.Bunch) -> int | None:
        layer: int | None = proposal["value"]
        return None if layer is None else int(self.reading.layers[self.reading.layer_row(layer)])

    @traitlets.validate("position")
    def _held_position(self, proposal: traitlets.Bunch) -> int | None:
        position: int | None = proposal["value"]
        if position is None:
            return None
        return int(self.reading.positions.index[self.reading.position_row(position)])
