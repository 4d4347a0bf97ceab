"""Train the language model on text alone: ``python -m train.run_text``."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from transformers import LlavaForConditionalGeneration

from train.architectures import PATCH as PATCH_SIDE
from train.architectures import SIDE, device, llava
from train.batches import Packer
from train.language import TextStage
from train.loop import fit
from train.stages import Workspace, workspace
from train.tokens import wrap

STEPS = 3600
RASTER_WEIGHT = 0.5
LENGTH = 192
PATCHES = (SIDE // PATCH_SIDE) ** 2


def packer_of(work: Workspace) -> Packer:
    """The packer of LLaVA's sequences: every patch has a token."""
    tokenizer = wrap(work.tokenizer(), "<image>")
    return Packer(tokenizer, len(tokenizer) - 1, PATCHES, LENGTH)


def language_parts(model: LlavaForConditionalGeneration) -> nn.ModuleDict:
    """The language model and its head, as one module to save."""
    return nn.ModuleDict({"lm": model.model.language_model, "head": model.lm_head})


def compile_layers(model: LlavaForConditionalGeneration) -> None:
    """Compile each block; the eager attention compiles better on a CPU than sdpa runs."""
    model.model.language_model.config._attn_implementation = "eager"
    for layer in model.model.language_model.layers:
        layer.compile()


def text_stage(work: Workspace) -> None:
    """Leave the trained language model in the workspace as ``text.pt``."""
    torch.manual_seed(4)
    packer = packer_of(work)
    model = llava(len(packer.tokenizer)).to(device())
    parts = language_parts(model)

    def run() -> None:
        compile_layers(model)
        stage = TextStage(model, packer, work.data())
        rng = np.random.default_rng(5)

        def step(index: int) -> tuple[Tensor, dict[str, float]]:
            if index % 8 == 7:
                return stage.text(32, rng)
            return stage.raster(32, RASTER_WEIGHT, rng)

        def keep(index: int) -> None:
            torch.save(parts.state_dict(), work.folder / "text-sofar.pt")

        fit("text", step, [parts], rate=2.5e-3, steps=work.steps(STEPS), log=work.log, check=keep)

    work.once("text", parts, run)


if __name__ == "__main__":
    text_stage(workspace(__doc__ or "", ("text",))[0])
