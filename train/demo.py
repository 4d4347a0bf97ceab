"""Make the bundled ``demo`` model (LLaVA): ``python -m train.demo``.

Stages: vision tower (dense), language model (text only), projector (the rest frozen), then all
together at a low rate while rasters of words go on. No loss is ever put on a picture's patches.
Each stage leaves its weights in the work folder and is skipped when they are there.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from transformers import LlavaForConditionalGeneration

from train.architectures import device, llava
from train.export import export_llava
from train.language import TextStage
from train.loop import fit
from train.run_text import RASTER_WEIGHT, compile_layers, language_parts, packer_of, text_stage
from train.run_vision import llava_tower
from train.sight import SightStage
from train.stages import Workspace, workspace

PROJECTOR_STEPS = 500
JOINT_STEPS = 1800
STAGES = ("vision", "text", "joint", "export")


def start(work: Workspace) -> LlavaForConditionalGeneration:
    """The model put together from the two pre-trained parts."""
    torch.manual_seed(6)
    model = llava(len(packer_of(work).tokenizer)).to(device())
    model.model.vision_tower.load_state_dict(
        torch.load(work.folder / "llava-vision.pt", weights_only=True, map_location="cpu")
    )
    language_parts(model).load_state_dict(
        torch.load(work.folder / "text.pt", weights_only=True, map_location="cpu")
    )
    return model


def projector_stage(work: Workspace, model: LlavaForConditionalGeneration) -> None:
    """Train the projector alone."""
    projector = model.model.multi_modal_projector

    def run() -> None:
        model.requires_grad_(False)
        projector.requires_grad_(True)
        sight = SightStage(model, packer_of(work), work.data())
        rng = np.random.default_rng(7)
        fit(
            "projector",
            lambda index: sight.answers(32, rng, train_tower=False),
            [projector],
            rate=3e-3,
            steps=work.steps(PROJECTOR_STEPS),
            log=work.log,
        )

    work.once("projector", projector, run)


def joint_stage(work: Workspace, model: LlavaForConditionalGeneration) -> None:
    """Train everything; every third step goes on with text, which keeps patches readable."""

    def run() -> None:
        model.requires_grad_(True)
        packer, data = packer_of(work), work.data()
        sight, text = SightStage(model, packer, data), TextStage(model, packer, data)
        rng = np.random.default_rng(8)

        def step(index: int) -> tuple[Tensor, dict[str, float]]:
            if index % 15 == 14:
                return text.text(32, rng)
            if index % 3 == 2:
                return text.raster(32, RASTER_WEIGHT, rng)
            return sight.answers(32, rng, train_tower=True)

        fit("joint", step, [model], rate=1e-3, steps=work.steps(JOINT_STEPS), log=work.log)

    work.once("joint", model, run)


def build(work: Workspace) -> LlavaForConditionalGeneration:
    """Put the pre-trained parts together and train them on pictures."""
    model = start(work)
    compile_layers(model)
    for layer in model.model.vision_tower.encoder.layers:
        layer.compile()
    projector_stage(work, model)
    joint_stage(work, model)
    return model


def main() -> None:
    """Run the stages asked for."""
    work, stages = workspace(__doc__ or "", STAGES)
    if "vision" in stages:
        llava_tower(work)
    if "text" in stages:
        text_stage(work)
    if {"joint", "export"} & set(stages):
        model = build(work)
        if "export" in stages:
            export_llava(model, packer_of(work).tokenizer, work.out / "demo")


if __name__ == "__main__":
    main()
