"""LLaVA-1.5: a CLIP or SigLIP canvas whose patches stand in the decoder's sequence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from PIL import Image
from transformers import PreTrainedModel

from patchlens.axes import PositionKind
from patchlens.errors import UnsupportedModelError
from patchlens.models.adapter import Adapter
from patchlens.models.crop import canvas_of
from patchlens.models.encode import ProcessedPictures
from patchlens.models.encoder import Processing
from patchlens.pictures.grid import Grid, Places, joined, patch_places, plain_places, single_grid

TOWERS_WITH_CLS = {"clip_vision_model": True, "siglip_vision_model": False}


class LlavaAdapter(Adapter):
    """LlavaForConditionalGeneration with a vision tower of fixed resolution."""

    family: ClassVar[str] = "llava"
    model_types: ClassVar[tuple[str, ...]] = ("llava",)
    after_marker: ClassVar[str] = "\n"

    def __init__(
        self, model: PreTrainedModel, processing: Processing, *, name: str, revision: str | None = None
    ) -> None:
        super().__init__(model, processing, name=name, revision=revision)
        config: Any = model.config
        tower = str(config.vision_config.model_type)
        drops_first = config.vision_feature_select_strategy == "default"
        if tower not in TOWERS_WITH_CLS or (drops_first and not TOWERS_WITH_CLS[tower]):
            raise UnsupportedModelError(
                f"{name}: LLaVA with a {tower} tower and {config.vision_feature_select_strategy!r} selection "
                f"is not supported; towers patchlens knows: {', '.join(TOWERS_WITH_CLS)}"
            )
        self._patch = int(config.vision_config.patch_size)
        self._keeps_cls = TOWERS_WITH_CLS[tower] and not drops_first

    @property
    def image_token_id(self) -> int:
        """Id that is repeated once per patch."""
        config: Any = self.model.config
        return int(config.image_token_id)

    def see(self, pictures: Sequence[Image.Image]) -> ProcessedPictures:
        """One canvas per picture, cut into patches in reading order, after a CLS token if that is kept."""
        pixels: torch.Tensor = self.processed(pictures)["pixel_values"]
        grids = tuple(self._grid(picture, pixels) for picture in pictures)
        runs = tuple(self._run(grid, index) for index, grid in enumerate(grids))
        return ProcessedPictures(tensors={"pixel_values": pixels}, grids=grids, runs=runs)

    def _grid(self, picture: Image.Image, pixels: torch.Tensor) -> Grid:
        canvas = canvas_of(self.processing.image_processor, picture)
        height, width = pixels.shape[-2:]
        if (canvas.width, canvas.height) != (width, height):
            raise UnsupportedModelError(
                f"{self.name}: its image processor was expected to make {canvas.width} x {canvas.height} "
                f"pixels of a {picture.width} x {picture.height} picture, but made {width} x {height}"
            )
        return single_grid(picture.width, picture.height, canvas, self._patch)

    def _run(self, grid: Grid, index: int) -> Places:
        patches = patch_places(grid, index)
        if not self._keeps_cls:
            return patches
        return joined([plain_places([PositionKind.IMAGE_OTHER], image=index), patches])
