"""Make the bundled ``demo-cross`` model (Mllama): ``python -m train.demo_cross``.

Stages: vision model (dense), language model (text only, shared with ``demo``), then its
self-attention layers are set into Mllama and trained on pictures, the vision model frozen at first.
Each stage leaves its weights in the work folder and is skipped when they are there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from transformers import MllamaForConditionalGeneration

from train.architectures import CROSS_LAYERS, TILE, device, mllama
from train.batches import KIND_WEIGHTS, RELATION_WEIGHTS, Batch, Packer
from train.export import export_mllama
from train.language import additive, answer_loss, text_batch
from train.loop import fit
from train.render import Rendered
from train.run_text import text_stage
from train.run_vision import mllama_tower
from train.stages import Workspace, workspace
from train.tokens import wrap
from train.vision import pixels, tiles

LENGTH = 112
GATE = 0.2
STAGES = ("vision", "text", "joint", "export")


def start(work: Workspace) -> MllamaForConditionalGeneration:
    """Mllama from the pre-trained vision model and language model; new blocks are random."""
    torch.manual_seed(9)
    vocabulary = work.tokenizer().get_vocab_size()
    model = mllama(vocabulary)
    model.model.vision_model.load_state_dict(
        torch.load(work.folder / "mllama-vision.pt", weights_only=True, map_location="cpu")
    )
    text = torch.load(work.folder / "text.pt", weights_only=True, map_location="cpu")
    lm = model.model.language_model
    with torch.no_grad():
        lm.embed_tokens.weight[:vocabulary] = text["lm.embed_tokens.weight"][:vocabulary]
        lm.norm.weight.copy_(text["lm.norm.weight"])
        model.lm_head.weight.copy_(text["head.weight"][:vocabulary])
    own = [layer for i, layer in enumerate(lm.layers) if i not in CROSS_LAYERS]
    for index, layer in enumerate(own):
        prefix = f"lm.layers.{index}."
        layer.load_state_dict({k.removeprefix(prefix): v for k, v in text.items() if k.startswith(prefix)})
    for index in CROSS_LAYERS:
        nn.init.constant_(lm.layers[index].cross_attn_attn_gate, GATE)
        nn.init.constant_(lm.layers[index].cross_attn_mlp_gate, GATE)
    return model.to(device())


class CrossStage:
    """Losses on answers of the cross-attention model."""

    def __init__(self, model: MllamaForConditionalGeneration, packer: Packer, sets: list[Rendered]) -> None:
        self.model, self.packer, self.sets = model, packer, sets
        self.device = model.lm_head.weight.device

    def hidden(self, batch: Batch, states: Tensor | None, seen: Tensor | None) -> Tensor:
        """Normed last states; ``seen`` is 1 for each tile that is real, ``[sequence, tile]``."""
        lm = self.model.model.language_model
        cross = rows = None
        if states is not None and seen is not None:
            after = torch.arange(self.packer.length) >= self.packer.first_patch
            hide = after[None, :, None] & (seen[:, None, :] == 0).cpu()
            per_state = hide.repeat_interleave(states.shape[1] // seen.shape[1], 2)
            cross = additive(~per_state)[:, None].to(self.device)
            rows = after.to(self.device, torch.bfloat16)[None, None, :, None].expand(
                len(batch.ids), -1, -1, -1
            )
        return lm(
            inputs_embeds=lm.embed_tokens(batch.ids.to(self.device)),
            attention_mask=additive(batch.mask.to(self.device)),
            position_ids=batch.positions.to(self.device),
            cross_attention_states=states,
            cross_attention_mask=cross,
            full_text_row_masked_out_mask=rows,
            use_cache=False,
        ).last_hidden_state

    def answers(
        self, data: Rendered, count: int, rng: np.random.Generator, train_tower: bool
    ) -> tuple[Tensor, dict[str, float]]:
        """Mean loss on answer tokens over ``count`` pictures."""
        picked = data.sample(count, rng)
        turns = [self.packer.picture_turns(data.scenes[i], rng) for i in picked]
        batch = self.packer.batch(turns, picked, picture=True)
        cut, ratio, mask = tiles(pixels(data.pictures[picked], self.device), TILE)
        model = self.model.model
        with torch.autocast(self.device.type, torch.bfloat16):
            with torch.set_grad_enabled(train_tower):
                vision = model.vision_model(cut, ratio, mask).last_hidden_state
            states = model.multi_modal_projector(vision).flatten(1, 3)
            hidden = self.hidden(batch, states, mask[:, 0])
            loss, right = answer_loss(self.model.lm_head, hidden, batch.targets)
        return loss, {"see": loss.item(), "see_right": right}

    def text(self, count: int, rng: np.random.Generator) -> tuple[Tensor, dict[str, float]]:
        """Mean loss on the answers of prompts without a picture."""
        batch = text_batch(self.packer, self.sets[0], count, rng)
        with torch.autocast(self.device.type, torch.bfloat16):
            hidden = self.hidden(batch, None, None)
            loss, right = answer_loss(self.model.lm_head, hidden, batch.targets)
        return loss, {"text": loss.item(), "text_right": right}

    def step(
        self, index: int, rng: np.random.Generator, train_tower: bool
    ) -> tuple[Tensor, dict[str, float]]:
        """One step of the mixture: mostly scenes, some small pictures, some text."""
        if index % 12 == 11:
            return self.text(32, rng)
        data = self.sets[1] if index % 12 == 5 else self.sets[0]
        return self.answers(data, 32, rng, train_tower)


@dataclass(frozen=True)
class Cycle:
    """One cycle of training on pictures."""

    name: str
    steps: int
    rate: float
    seed: int
    train_tower: bool
    weights: dict[str, float]


FROZEN = Cycle("cross-frozen", 1800, 2e-3, 10, False, KIND_WEIGHTS)
JOINT = Cycle("cross-joint", 1500, 1.2e-3, 11, True, KIND_WEIGHTS)
RELATIONS = Cycle("cross-relations", 1300, 1.5e-3, 17, True, RELATION_WEIGHTS)


def picture_stage(work: Workspace, model: MllamaForConditionalGeneration, cycle: Cycle) -> None:
    """Train on pictures, in the first cycle with the vision model as it is."""

    def run() -> None:
        model.requires_grad_(True)
        model.model.vision_model.requires_grad_(cycle.train_tower)
        tokenizer = wrap(work.tokenizer(), "<|image|>", with_start=True)
        packer = Packer(tokenizer, work.tokenizer().get_vocab_size(), 1, LENGTH, cycle.weights)
        stage = CrossStage(model, packer, [work.data(), work.small_data()])
        rng = np.random.default_rng(cycle.seed)
        fit(
            cycle.name,
            lambda index: stage.step(index, rng, cycle.train_tower),
            [model],
            rate=cycle.rate,
            steps=work.steps(cycle.steps),
            log=work.log,
            check=lambda index: torch.save(model.state_dict(), work.folder / f"{cycle.name}-sofar.pt"),
        )

    work.once(cycle.name, model, run)


def build(work: Workspace) -> MllamaForConditionalGeneration:
    """Train on pictures what the earlier stages left."""
    model = start(work)
    lm = model.model.language_model
    lm.config._attn_implementation = "eager"
    for layer in (*lm.layers, *model.model.vision_model.transformer.layers):
        layer.compile()
    for cycle in (FROZEN, JOINT, RELATIONS):
        picture_stage(work, model, cycle)
    return model


def main() -> None:
    """Run the stages asked for."""
    work, stages = workspace(__doc__ or "", STAGES)
    if "vision" in stages:
        mllama_tower(work)
    if "text" in stages:
        text_stage(work)
    if {"joint", "export"} & set(stages):
        model = build(work)
        if "export" in stages:
            tokenizer = wrap(work.tokenizer(), "<|image|>", with_start=True)
            export_mllama(model, tokenizer, work.out / "demo-cross")


if __name__ == "__main__":
    main()
