"""Two oracles for every family's geometry, both through its real image processor.

A ramp picture holds each pixel's own coordinates as colours, so the mean colour of what the model gets for a
patch says where in the picture that patch lies. And painting one patch's box must change that patch most.
"""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from transformers import CLIPImageProcessorPil, LlavaImageProcessorPil

from patchlens.capture import capture
from patchlens.models.adapter import Adapter
from patchlens.models.encode import Inputs
from patchlens.pictures.grid import Places, tile_boxes
from tiny import tiny_llava, tiny_mllama, tiny_qwen_vl

PROCESSORS = {
    "crop": CLIPImageProcessorPil(size={"shortest_edge": 42}, crop_size={"height": 42, "width": 42}),
    "crop of more": CLIPImageProcessorPil(size={"shortest_edge": 59}, crop_size={"height": 42, "width": 42}),
    "crop of less": CLIPImageProcessorPil(size={"shortest_edge": 31}, crop_size={"height": 42, "width": 42}),
    "squash": CLIPImageProcessorPil(size={"height": 42, "width": 42}, do_center_crop=False),
    "pad": LlavaImageProcessorPil(
        size={"shortest_edge": 42}, crop_size={"height": 42, "width": 42}, do_pad=True
    ),
    "as it is": CLIPImageProcessorPil(do_resize=False, crop_size={"height": 42, "width": 42}),
}
LLAVA = tiny_llava()
MLLAMA = tiny_mllama()
QWEN = tiny_qwen_vl()
SIDE = st.integers(20, 250)


def llava_with(way: str) -> Adapter:
    return tiny_llava(image_processor=PROCESSORS[way])


def ramp(width: int, height: int) -> Image.Image:
    y, x = np.mgrid[:height, :width]
    return Image.fromarray(np.stack([x, y, np.zeros_like(x)], axis=-1).astype(np.uint8))


def colours(adapter: Adapter, pixels: torch.Tensor) -> torch.Tensor:
    """Undo the normalisation: pixel values ``[..., 3, height, width]`` in 0..255."""
    processor = adapter.processing.image_processor
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (processor.image_mean, processor.image_std))
    return (pixels * std + mean) * 255


def llava_patches(adapter: Adapter, inputs: Inputs) -> list[torch.Tensor]:
    pixels = colours(adapter, inputs.tensors["pixel_values"])
    return [patch for picture in pixels for patch in cut(picture, 14)]


def mllama_patches(adapter: Adapter, inputs: Inputs) -> list[torch.Tensor]:
    tiles = colours(adapter, inputs.tensors["pixel_values"])[0].flatten(0, 1)
    nothing = torch.full((3, 7, 7), torch.nan)
    return [patch for tile in tiles for patch in [nothing, *cut(tile, 7)]]


def qwen_patches(adapter: Adapter, inputs: Inputs) -> list[torch.Tensor]:
    rows = inputs.tensors["pixel_values"].view(-1, 3, 2, 14, 14)[:, :, 0]
    return list(colours(adapter, rows).view(-1, 4, 3, 14, 14).transpose(1, 2).reshape(-1, 3, 28, 28))


def cut(picture: torch.Tensor, patch: int) -> list[torch.Tensor]:
    rows, cols = picture.shape[1] // patch, picture.shape[2] // patch
    return [
        picture[:, r * patch : (r + 1) * patch, c * patch : (c + 1) * patch]
        for r in range(rows)
        for c in range(cols)
    ]


def in_order(inputs: Inputs) -> Places:
    """Places of the tokens that the patches, in the processor's order, become."""
    return inputs.places if inputs.vision_places is None else inputs.vision_places


def check_ramp(adapter: Adapter, patches: Callable, width: int, height: int) -> None:
    inputs = adapter.encode("a", [ramp(width, height)])
    places, grid = in_order(inputs), inputs.grids[0]
    rows = [i for i in range(len(places)) if places.image[i] == 0]
    seen = patches(adapter, inputs)
    if inputs.vision_places is None:
        rows = [i for i in rows if places.row[i] >= 0]
    assert len(rows) == len(seen)
    tile_of = {tile.index: tile for tile in grid.tiles}
    for row, patch in zip(rows, seen, strict=True):
        if places.row[row] < 0 or not whole(places, row, tile_of):
            continue
        left, top, right, bottom = places.box[row]
        scale = max(right - left, bottom - top) / patch.shape[-1]
        middle = patch.mean(dim=(1, 2))[:2].tolist()
        expected = [(left + right) / 2 - 0.5, (top + bottom) / 2 - 0.5]
        np.testing.assert_allclose(middle, expected, atol=0.7 + 0.5 * scale)


def whole(places: Places, row: int, tile_of: dict) -> bool:
    """Whether a patch lies in the picture with all its area, so that no padding tints its mean."""
    if places.kind[row] != "patch":
        return False
    tile = tile_of[places.tile[row]]
    unclipped = tile_boxes(tile)[places.row[row] - tile.row, places.col[row] - tile.col]
    return bool(np.allclose(unclipped, places.box[row], atol=1e-3))


@settings(max_examples=15, deadline=None)
@given(way=st.sampled_from(sorted(PROCESSORS)), width=SIDE, height=SIDE)
def test_llava_patches_show_the_pixels_of_their_box(way: str, width: int, height: int):
    adapter = LLAVA_BY_WAY[way]
    check_ramp(adapter, llava_patches, width, height)


@settings(max_examples=15, deadline=None)
@given(width=SIDE, height=SIDE)
def test_mllama_patches_show_the_pixels_of_their_box(width: int, height: int):
    check_ramp(MLLAMA, mllama_patches, width, height)


@settings(max_examples=15, deadline=None)
@given(width=SIDE, height=SIDE)
def test_qwen_patches_show_the_pixels_of_their_box(width: int, height: int):
    check_ramp(QWEN, qwen_patches, width, height)


LLAVA_BY_WAY = {way: llava_with(way) for way in PROCESSORS}


def states(adapter: Adapter, picture: Image.Image) -> tuple[NDArray, Inputs]:
    inputs = adapter.encode("what is it?", [picture])
    captured = capture(adapter, inputs, layers=[0])
    found = captured.resid[0] if captured.vision is None else captured.vision
    return found.numpy(), inputs


@pytest.mark.parametrize(
    ("adapter", "size"),
    [
        (LLAVA, (97, 60)),
        (LLAVA_BY_WAY["crop of more"], (60, 97)),
        (LLAVA_BY_WAY["pad"], (90, 50)),
        (LLAVA_BY_WAY["squash"], (40, 90)),
        (tiny_llava(select="full"), (97, 60)),
        (MLLAMA, (100, 49)),
        (MLLAMA, (40, 100)),
        (MLLAMA, (20, 13)),
        (QWEN, (140, 80)),
        (QWEN, (70, 200)),
    ],
    ids=str,
)
def test_painting_a_box_changes_that_patch_most(adapter: Adapter, size: tuple[int, int]):
    plain = Image.new("RGB", size, (90, 110, 100))
    before, inputs = states(adapter, plain)
    places = in_order(inputs)
    for row in np.flatnonzero(places.kind == "patch"):
        left, top, right, bottom = places.box[row]
        if right - left < 3 or bottom - top < 3:
            continue
        painted = plain.copy()
        painted.paste((250, 20, 30), (round(left), round(top), round(right), round(bottom)))
        after, _ = states(adapter, painted)
        change = np.linalg.norm(after - before, axis=1)
        assert change.argmax() == row


def test_every_picture_of_a_prompt_has_its_own_grid_and_number():
    for adapter in (LLAVA, MLLAMA, QWEN):
        pictures = [Image.new("RGB", (60, 90)), Image.new("RGB", (150, 60), "red")]
        inputs = adapter.encode("what differs?", pictures)
        assert [(grid.width, grid.height) for grid in inputs.grids] == [(60, 90), (150, 60)]
        places = in_order(inputs)
        for number, grid in enumerate(inputs.grids):
            mine = (places.image == number) & (places.kind == "patch")
            assert np.nanmax(places.box[mine][:, 2]) <= grid.width
            assert np.nanmax(places.box[mine][:, 3]) <= grid.height
            assert mine.any()
        alone, _ = states(adapter, pictures[1])
        both = capture(adapter, inputs, layers=[0])
        found = both.resid[0] if both.vision is None else both.vision
        second = found.numpy()[(places.image == 1) & (places.kind == "patch")]
        only = in_order(adapter.encode("what is it?", [pictures[1]]))
        np.testing.assert_allclose(second, alone[only.kind == "patch"], atol=1e-4)
