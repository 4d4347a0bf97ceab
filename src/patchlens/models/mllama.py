"""Llama-3.2-Vision (Mllama): tiles on a canvas, seen through cross-attention blocks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from transformers import PreTrainedModel

from patchlens.axes import VISION, PositionKind
from patchlens.errors import UnsupportedModelError
from patchlens.models import prompt as prompts
from patchlens.models.adapter import Adapter
from patchlens.models.encode import Inputs, ProcessedPictures
from patchlens.models.encoder import Processing
from patchlens.models.heads import Heads
from patchlens.pictures.grid import Canvas, Grid, Places, joined, part, patch_places, plain_places, tiled_grid


class MllamaAdapter(Adapter):
    """MllamaForConditionalGeneration: pictures have no position in the sequence, only vision states."""

    family: ClassVar[str] = "mllama"
    model_types: ClassVar[tuple[str, ...]] = ("mllama",)
    along_positions: ClassVar[Mapping[str, int | None]] = {
        **Adapter.along_positions,
        "cross_attention_mask": None,  # the last marker governs the text to its end
    }

    def __init__(
        self, model: PreTrainedModel, processing: Processing, *, name: str, revision: str | None = None
    ) -> None:
        super().__init__(model, processing, name=name, revision=revision)
        vision: Any = model.config.vision_config
        self.cross_blocks = tuple(sorted(self.text_config.cross_attention_layers))
        self._patch = int(vision.patch_size)
        self._states_per_tile = (int(vision.image_size) // self._patch) ** 2 + 1

    @property
    def image_token_id(self) -> int:
        """Id of the marker from which on the text attends to the picture."""
        config: Any = self.model.config
        return int(config.image_token_index)

    @property
    def separators(self) -> frozenset[int]:
        """The marker itself, which shows nothing of the picture."""
        return frozenset((self.image_token_id,))

    @property
    def vision_source(self) -> nn.Module:
        """The projector from vision states to the decoder's width."""
        model: Any = self.model
        return model.model.multi_modal_projector

    def heads(self, block: int) -> Heads:
        """Cross-attention is gated, and goes to the vision states."""
        found = super().heads(block)
        if block not in self.cross_blocks:
            return found
        part: Any = self.blocks[block]
        return replace(found, gate=part.cross_attn_attn_gate, over=VISION)

    def sees(self, inputs: Inputs) -> NDArray[np.bool_]:
        """A position before every marker attends without a mask to all tiles, padding included."""
        mask = inputs.tensors.get("cross_attention_mask")
        if mask is None:
            return np.zeros(len(inputs), np.bool_)
        return mask[0].flatten(1).any(1).cpu().numpy()

    def raw_text(self, pieces: Sequence[prompts.Piece], *, typed: bool) -> str:
        """Leading markers stand before the beginning-of-sequence token, as this family was trained."""
        leading = next((i for i, piece in enumerate(pieces) if piece is not None), len(pieces))
        bos = str(self.tokenizer.bos_token or "")
        rest = super().raw_text(pieces[leading:], typed=typed)
        if leading == 0 or bos in rest:
            return super().raw_text(pieces, typed=typed)
        return (self.image_marker or "") * leading + bos + rest

    def see(self, pictures: Sequence[Image.Image]) -> ProcessedPictures:
        """Tiles of each picture, padded to the greatest number; per tile a CLS state, then patches."""
        made = self.processed(pictures)
        tiles = self._tiles(made)
        grids = tuple(self._grid(picture, shape) for picture, shape in zip(pictures, tiles, strict=True))
        slots = int(made["pixel_values"].shape[2])
        vision = joined([self._states(grid, index, slots) for index, grid in enumerate(grids)])
        runs = tuple(plain_places([PositionKind.IMAGE_OTHER], image=i) for i in range(len(grids)))
        names = ("pixel_values", "aspect_ratio_ids", "aspect_ratio_mask")
        return ProcessedPictures({name: made[name] for name in names}, grids, runs, vision)

    def alongside(self, ids: Sequence[int], seen: ProcessedPictures) -> dict[str, Tensor]:
        """Which tiles each position may attend to: those of the pictures whose marker governs it."""
        if not seen.grids:
            return {}
        slots = int(seen.tensors["pixel_values"].shape[2])
        mask = torch.zeros(1, len(ids), len(seen.grids), slots, dtype=torch.long)
        for picture, (start, end) in enumerate(governed(ids, self.image_token_id)):
            mask[0, start:end, picture, : len(seen.grids[picture].tiles)] = 1
        return {"cross_attention_mask": mask}

    def _tiles(self, made: Any) -> list[tuple[int, int]]:
        """Tiles across and down of each picture; aspect ratios are numbered from 1 by height, then width."""
        most = int(self.processing.image_processor.max_image_tiles)
        sides = range(1, most + 1)
        ratios = [(across, down) for down in sides for across in sides if down * across <= most]
        return [ratios[int(number) - 1] for number in made["aspect_ratio_ids"][0]]

    def _grid(self, picture: Image.Image, tiles: tuple[int, int]) -> Grid:
        size = self.processing.image_processor.size
        tile_width, tile_height = int(size["width"]), int(size["height"])
        across, down = tiles
        canvas_size = across * tile_width, down * tile_height
        shown = fitted(picture.size, canvas_size, tile_width)
        canvas = Canvas.of(*picture.size).resized(*shown).window(0, 0, *canvas_size)
        grid = tiled_grid(picture.width, picture.height, canvas, (tile_width, tile_height), self._patch)
        if grid.tiles[0].rows * grid.tiles[0].cols + 1 != self._states_per_tile:
            raise UnsupportedModelError(
                f"{self.name}: its image processor makes tiles of {tile_width} x {tile_height} pixels, but "
                f"its vision tower holds {self._states_per_tile - 1} patches of {self._patch} pixels per tile"
            )
        return grid

    def _states(self, grid: Grid, index: int, slots: int) -> Places:
        patches = patch_places(grid, index)
        per_tile = self._states_per_tile - 1
        parts: list[Places] = []
        for tile in range(len(grid.tiles)):
            parts.append(plain_places([PositionKind.IMAGE_OTHER], image=index, tile=tile))
            parts.append(part(patches, slice(tile * per_tile, (tile + 1) * per_tile)))
        for tile in range(len(grid.tiles), slots):
            parts.append(plain_places([PositionKind.IMAGE_OTHER] * (per_tile + 1), image=index, tile=tile))
        return joined(parts)


def fitted(size: tuple[int, int], canvas: tuple[int, int], tile: int) -> tuple[int, int]:
    """Width and height a picture is scaled to: into the canvas, and up to a tile if it is smaller."""
    width, height = size
    target_width = min(max(width, tile), canvas[0])
    target_height = min(max(height, tile), canvas[1])
    by_width, by_height = target_width / width, target_height / height
    if by_width < by_height:
        return target_width, min(int(height * by_width) or 1, target_height)
    return min(int(width * by_height) or 1, target_width), target_height


def governed(ids: Sequence[int], marker: int) -> list[tuple[int, int]]:
    """For each marker, the positions (start, end) that attend to its picture.

    A marker governs the text up to the next one, the last up to the end; markers that stand directly
    behind one another govern the same text together.
    """
    starts = [position for position, token in enumerate(ids) if token == marker]
    spans: list[tuple[int, int]] = []
    end = len(ids)
    for number in range(len(starts) - 1, -1, -1):
        following = starts[number + 1] if number + 1 < len(starts) else len(ids)
        if following != starts[number] + 1 or number + 1 == len(starts):
            end = following
        spans.append((starts[number], end))
    return spans[::-1]
