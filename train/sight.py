"""Questions on pictures, for the LLaVA model."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from transformers import LlavaForConditionalGeneration

from train.batches import Packer
from train.language import answer_loss, decode
from train.render import Rendered
from train.vision import llava_states, pixels


class SightStage:
    """Losses on the answers to questions about pictures; patches themselves are never trained."""

    def __init__(self, model: LlavaForConditionalGeneration, packer: Packer, data: Rendered) -> None:
        self.model, self.packer, self.data = model, packer, data
        self.features = llava_states(model)
        self.device = model.lm_head.weight.device

    def answers(
        self, count: int, rng: np.random.Generator, train_tower: bool
    ) -> tuple[Tensor, dict[str, float]]:
        """Mean loss on answer tokens over ``count`` pictures."""
        picked = self.data.sample(count, rng)
        turns = [self.packer.picture_turns(self.data.scenes[i], rng) for i in picked]
        batch = self.packer.batch(turns, picked, picture=True)
        images = pixels(self.data.pictures[picked], self.device)
        model = self.model.model
        with torch.autocast(self.device.type, torch.bfloat16):
            with torch.set_grad_enabled(train_tower):
                states = self.features(images)
            seen = model.multi_modal_projector(states)
            words = model.language_model.embed_tokens(batch.ids.to(self.device))
            first = int(batch.patches[0])
            last = first + len(batch.patches)
            embedded = torch.cat([words[:, :first], seen.to(words.dtype), words[:, last:]], 1)
            hidden = decode(model.language_model, embedded, batch)
            loss, right = answer_loss(self.model.lm_head, hidden, batch.targets)
        return loss, {"see": loss.item(), "see_right": right}
