"""Qwen2.5-VL: pictures at their own resolution, neighbouring patches merged into one token."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
from PIL import Image
from torch import Tensor
from transformers import PreTrainedModel

from patchlens.errors import UnsupportedModelError
from patchlens.models.adapter import Adapter
from patchlens.models.encode import ProcessedPictures
from patchlens.models.encoder import Processing
from patchlens.pictures.grid import Canvas, Grid, patch_places, single_grid


class QwenVLAdapter(Adapter):
    """Qwen2_5_VLForConditionalGeneration, pictures only (no video)."""

    family: ClassVar[str] = "qwen2_5_vl"
    model_types: ClassVar[tuple[str, ...]] = ("qwen2_5_vl",)
    pil_processor: ClassVar[str | None] = "Qwen2VLImageProcessorPil"
    along_positions: ClassVar[Mapping[str, int | None]] = {
        **Adapter.along_positions,
        "mm_token_type_ids": 0,
    }

    def __init__(
        self, model: PreTrainedModel, processing: Processing, *, name: str, revision: str | None = None
    ) -> None:
        super().__init__(model, processing, name=name, revision=revision)
        self._config: Any = model.config
        vision, processor = self._config.vision_config, processing.image_processor
        self._patch, self._merge = int(vision.patch_size), int(vision.spatial_merge_size)
        if (processor.patch_size, processor.merge_size) != (self._patch, self._merge):
            raise UnsupportedModelError(
                f"{name}: its vision tower takes patches of {self._patch} pixels merged {self._merge} x "
                f"{self._merge}, its image processor makes {processor.patch_size} and {processor.merge_size}"
            )

    @property
    def image_token_id(self) -> int:
        """Id that is repeated once per merged patch."""
        return int(self._config.image_token_id)

    @property
    def image_marker(self) -> str:
        """The image token between the tokens that open and close a picture."""
        ids = [self._config.vision_start_token_id, self.image_token_id, self._config.vision_end_token_id]
        return "".join(self.tokenizer.convert_ids_to_tokens(ids))

    @property
    def separators(self) -> frozenset[int]:
        """The tokens that open and close a picture."""
        return frozenset((self._config.vision_start_token_id, self._config.vision_end_token_id))

    @property
    def unspeakable(self) -> tuple[int, ...]:
        """Image and video tokens."""
        return (self.image_token_id, int(self._config.video_token_id))

    @contextmanager
    def undisturbed(self) -> Generator[None, None, None]:
        """Also restore the rotary offset that the model remembers from its last picture."""
        holder: Any = self.model
        kept = holder.model.rope_deltas
        try:
            with super().undisturbed():
                yield
        finally:
            holder.model.rope_deltas = kept

    def see(self, pictures: Sequence[Image.Image]) -> ProcessedPictures:
        """Each picture resized to whole merged patches, which stand in the sequence in reading order."""
        made = self.processed(pictures)
        sizes: list[list[int]] = made["image_grid_thw"].tolist()
        grids = tuple(self._grid(picture, size) for picture, size in zip(pictures, sizes, strict=True))
        runs = tuple(patch_places(grid, index) for index, grid in enumerate(grids))
        names = ("pixel_values", "image_grid_thw")
        return ProcessedPictures({name: made[name] for name in names}, grids, runs)

    def alongside(self, ids: Sequence[int], seen: ProcessedPictures) -> dict[str, Tensor]:
        """Which positions are pictures: without it the model silently takes other rotary positions."""
        if not seen.grids:
            return {}
        kinds = [int(token == self.image_token_id) for token in ids]
        return {"mm_token_type_ids": torch.tensor([kinds])}

    def _grid(self, picture: Image.Image, size: Sequence[int]) -> Grid:
        _, rows, cols = size
        canvas = Canvas.of(*picture.size).resized(cols * self._patch, rows * self._patch)
        return single_grid(picture.width, picture.height, canvas, self._patch * self._merge)
