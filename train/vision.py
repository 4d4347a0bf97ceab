"""Dense pre-training of the vision towers: what covers each patch, and in which colour."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from transformers import LlavaForConditionalGeneration, MllamaForConditionalGeneration

from patchlens.scenes.vocabulary import BACKGROUNDS, COLOURS, OBJECTS, PATTERNS, SHAPES
from train.loop import fit
from train.render import SLOTS, Rendered

CLASSES = {c.key: i for i, c in enumerate((*OBJECTS, *SHAPES, *BACKGROUNDS, *PATTERNS))}
TINTS = {c.key: i for i, c in enumerate(COLOURS)}
MEAN = torch.tensor([0.48145466, 0.4578275, 0.40821073])
STD = torch.tensor([0.26862954, 0.26130258, 0.27577711])
TWO_BY_TWO, ONE_TILE = 6, 1
"""Mllama's ids of the aspect ratios 2 x 2 and 1 x 1."""

Features = Callable[[Tensor], Tensor]
"""Pixels ``[picture, 3, height, width]`` to patch states ``[picture, patch, d]``, row by row."""


def pixels(pictures: np.ndarray, device: torch.device) -> Tensor:
    """Normalised pixels ``[picture, 3, height, width]`` from sRGB bytes, channels last."""
    levels = torch.from_numpy(np.array(pictures)).to(device).float() / 255
    return ((levels - MEAN.to(device)) / STD.to(device)).permute(0, 3, 1, 2).contiguous()


def llava_states(model: LlavaForConditionalGeneration) -> Features:
    """Patch states of the CLIP tower, before the projector."""
    tower = model.model.vision_tower

    def states(images: Tensor) -> Tensor:
        return tower(images, output_hidden_states=True).hidden_states[-1][:, 1:]

    return states


def tiles(images: Tensor, tile: int) -> tuple[Tensor, Tensor, Tensor]:
    """Cut pictures as Mllama's processor does: pixels, aspect ratio ids and tile mask."""
    count, channels, height, width = images.shape
    rows, cols = height // tile, width // tile
    cut = images.view(count, channels, rows, tile, cols, tile).permute(0, 2, 4, 1, 3, 5)
    cut = cut.reshape(count, 1, rows * cols, channels, tile, tile)
    cut = nn.functional.pad(cut, (0, 0, 0, 0, 0, 0, 0, 4 - rows * cols))
    mask = torch.zeros(count, 1, 4, dtype=torch.long, device=images.device)
    mask[:, :, : rows * cols] = 1
    ids = torch.full((count, 1), TWO_BY_TWO if rows == 2 else ONE_TILE, device=images.device)
    return cut.contiguous(), ids, mask


def mllama_states(model: MllamaForConditionalGeneration) -> Features:
    """Patch states of the Mllama tower in the order of the picture's rows, without CLS."""
    tower = model.model.vision_model

    def states(images: Tensor) -> Tensor:
        side = images.shape[-1] // tower.image_size
        out = tower(*tiles(images, tower.image_size)).last_hidden_state[:, 0, : side * side, 1:]
        grid = int(out.shape[2] ** 0.5)
        out = out.view(len(out), side, side, grid, grid, -1).permute(0, 1, 3, 2, 4, 5)
        return out.reshape(len(out), (side * grid) ** 2, -1)

    return states


def targets(data: Rendered, picked: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Soft classes ``[picture, patch, class]`` and colours ``[picture, patch, colour]``."""
    coverage = data.coverage[picked].astype(np.float32)
    classes = np.zeros((len(picked), SLOTS, len(CLASSES)), np.float32)
    tints = np.zeros((len(picked), SLOTS, len(TINTS)), np.float32)
    for row, index in enumerate(picked):
        scene = data.scenes[index]
        for slot, thing in enumerate(scene.objects):
            classes[row, slot, CLASSES[thing.name]] = 1
            if thing.colour:
                tints[row, slot, TINTS[thing.colour]] = 1
        classes[row, -1, CLASSES[scene.background]] = 1
        for colour in scene.pattern_colours:
            tints[row, -1, TINTS[colour]] = 0.5
    across = coverage.transpose(0, 2, 1)
    return across @ classes, across @ tints


class DenseHead(nn.Module):
    """Reads class and colour of each patch; thrown away after pre-training."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.read = nn.Linear(width, len(CLASSES) + len(TINTS))

    def forward(self, states: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of classes and of colours."""
        out = self.read(self.norm(states))
        return out[..., : len(CLASSES)], out[..., len(CLASSES) :]


def pretrain(
    tower: nn.Module,
    features: Features,
    width: int,
    sets: list[Rendered],
    *,
    steps: int,
    batch: int,
    rate: float,
    seed: int,
    log: Path,
    device: torch.device,
) -> DenseHead:
    """Train a tower in place; the last of several sets is shown every fifth step."""
    head = DenseHead(width).to(device)
    rng = np.random.default_rng(seed)
    things = len(OBJECTS) + len(SHAPES)

    def step(index: int) -> tuple[Tensor, dict[str, float]]:
        data = sets[-1] if len(sets) > 1 and index % 5 == 4 else sets[0]
        picked = np.sort(rng.choice(len(data.scenes), batch, replace=False))
        classes, tints = (torch.from_numpy(t).to(device) for t in targets(data, picked))
        with torch.autocast(device.type, torch.bfloat16):
            states = features(pixels(data.pictures[picked], device))
        of_class, of_tint = head(states.float())
        weight = 1 + 4 * classes[..., :things].sum(-1)
        loss_class = -(nn.functional.log_softmax(of_class, -1) * classes).sum(-1)
        loss_tint = -(nn.functional.log_softmax(of_tint, -1) * tints).sum(-1)
        loss = ((loss_class + loss_tint) * weight).sum() / weight.sum()
        with torch.no_grad():
            hit = of_class.argmax(-1) == classes.argmax(-1)
            on = classes[..., :things].sum(-1) > 0.5
        figures = {
            "loss": loss.item(),
            "thing": hit[on].float().mean().item() if on.any() else 1.0,
            "all": hit.float().mean().item(),
        }
        return loss, figures

    fit("vision", step, [tower, head], rate=rate, steps=steps, log=log)
    return head
