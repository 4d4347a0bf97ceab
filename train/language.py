"""The text-only stage: rasters of words where a picture's patches will be, and plain questions."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from transformers import LlavaForConditionalGeneration
from transformers.models.llama.modeling_llama import LlamaModel

from train.batches import IGNORE, Batch, Packer
from train.render import Rendered

RASTER_SAMPLES = 25
"""Patch positions per picture whose next word is trained; all would cost more than they teach."""


def decode(lm: LlamaModel, embedded: Tensor, batch: Batch) -> Tensor:
    """Normed last states ``[sequence, position, d_model]`` of packed sequences."""
    device = embedded.device
    rotary = lm.rotary_emb(embedded, batch.positions.to(device))
    mask = additive(batch.mask.to(device))
    hidden = embedded
    for layer in lm.layers:
        hidden = layer(hidden, attention_mask=mask, position_embeddings=rotary)
    return lm.norm(hidden)


def additive(mask: Tensor) -> Tensor:
    """0 where a key may be seen and a very low score elsewhere, in bfloat16."""
    low = torch.finfo(torch.bfloat16).min
    return torch.zeros(mask.shape, dtype=torch.bfloat16, device=mask.device).masked_fill_(~mask, low)


def answer_loss(head: nn.Module, states: Tensor, targets: Tensor) -> tuple[Tensor, float]:
    """Mean cross-entropy in nats over the trained positions, and the share of right tokens."""
    targets = targets.to(states.device)
    at = targets != IGNORE
    logits = head(states[at]).float()
    with torch.no_grad():
        right = (logits.argmax(-1) == targets[at]).float().mean().item()
    return nn.functional.cross_entropy(logits, targets[at]), right


def raster_batch(packer: Packer, data: Rendered, picked: np.ndarray, rng: np.random.Generator) -> Batch:
    """Questions on scenes whose patches are given as words.

    Patch ids are set in ``ids``; a sample of the patches gets the next patch's word as target.
    """
    turns = [packer.picture_turns(data.scenes[i], rng) for i in picked]
    batch = packer.batch(turns, picked, picture=True)
    words = np.stack([packer.raster(data.scenes[i], data.coverage[i], rng) for i in picked])
    batch.ids[:, batch.patches] = torch.from_numpy(words)
    return batch


def raster_targets(batch: Batch, rng: np.random.Generator) -> Tensor:
    """The next patch's word at a random sample of patches, ``IGNORE`` elsewhere."""
    out = torch.full_like(batch.targets, IGNORE)
    count = len(batch.patches) - 1
    keys = torch.from_numpy(rng.random((len(batch.ids), count)))
    at = batch.patches[keys.argsort(1)[:, :RASTER_SAMPLES]]
    return out.scatter_(1, at, batch.ids.gather(1, at + 1))


def text_batch(packer: Packer, data: Rendered, count: int, rng: np.random.Generator) -> Batch:
    """Prompts without a picture."""
    turns = [
        packer.text_turns([data.scenes[i] for i in rng.integers(len(data.scenes), size=14)], rng)
        for _ in range(count)
    ]
    return packer.batch(turns, np.zeros(0, np.int64), picture=False)


class TextStage:
    """Losses of the text-only stage on a LLaVA model's language model."""

    def __init__(
        self,
        model: LlavaForConditionalGeneration,
        packer: Packer,
        data: Rendered,
    ) -> None:
        self.lm: LlamaModel = model.model.language_model
        self.head = model.lm_head
        self.packer, self.data = packer, data
        self.device = self.head.weight.device

    def states(self, batch: Batch) -> Tensor:
        """Normed last states of a batch of token ids."""
        with torch.autocast(self.device.type, torch.bfloat16):
            return decode(self.lm, self.lm.embed_tokens(batch.ids.to(self.device)), batch)

    def raster(self, count: int, weight: float, rng: np.random.Generator) -> tuple[Tensor, dict[str, float]]:
        """Loss on answers plus ``weight`` times the loss on the next patch's word."""
        picked = self.data.sample(count, rng)
        batch = raster_batch(self.packer, self.data, picked, rng)
        states = self.states(batch)
        with torch.autocast(self.device.type, torch.bfloat16):
            loss, right = answer_loss(self.head, states, batch.targets)
            next_word, _ = answer_loss(self.head, states, raster_targets(batch, rng))
        figures = {"loss": loss.item(), "right": right, "raster": next_word.item()}
        return loss + weight * next_word, figures

    def text(self, count: int, rng: np.random.Generator) -> tuple[Tensor, dict[str, float]]:
        """Loss on the answers of prompts without a picture."""
        batch = text_batch(self.packer, self.data, count, rng)
        states = self.states(batch)
        with torch.autocast(self.device.type, torch.bfloat16):
            loss, right = answer_loss(self.head, states, batch.targets)
        return loss, {"text": loss.item(), "text_right": right}
