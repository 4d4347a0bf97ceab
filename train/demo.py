"""Make the bundled ``demo`` model (LLaVA): ``python -m train.demo``.

Stages: vision tower (dense), language model (text only), projector (the rest frozen), then all
together at a low rate while rasters of words go on, and once more with harder questions. No loss is
ever put on a picture's patches.
Each stage leaves its weights in the work folder and is skipped when they are there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from transformers import LlavaForConditionalGeneration

from train.architectures import device, llava
from train.batches import HARD_WEIGHTS, KIND_WEIGHTS
from train.export import MODELS, export_llava
from train.language import TextStage
from train.loop import fit
from train.run_text import RASTER_WEIGHT, compile_layers, language_parts, packer_of, text_stage
from train.run_vision import llava_tower
from train.sight import SightStage
from train.stages import Workspace, workspace

PROJECTOR_STEPS = 500


@dataclass(frozen=True)
class Joint:
    """One cycle of training everything: how long, how fast, and what is asked about which scenes."""

    name: str
    steps: int
    rate: float
    seed: int
    weights: dict[str, float]
    collages: float


JOINT = (
    Joint("joint", 1800, 1e-3, 8, KIND_WEIGHTS, 0.0),
    Joint("joint-hard", 2000, 1.5e-3, 13, HARD_WEIGHTS, 0.2),
)
STAGES = ("vision", "text", "projector", "joint", "export")


def start(work: Workspace) -> LlavaForConditionalGeneration:
    """The model put together from the two pre-trained parts."""
    torch.manual_seed(6)
    model = llava(len(packer_of(work).tokenizer)).to(device())
    model.model.vision_tower.load_state_dict(torch.load(work.folder / "llava-vision.pt", weights_only=True))
    language_parts(model).load_state_dict(torch.load(work.folder / "text.pt", weights_only=True))
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


def joint_stage(work: Workspace, model: LlavaForConditionalGeneration, plan: Joint) -> None:
    """Train everything; every third step goes on with text, which keeps patches readable."""

    def run() -> None:
        model.requires_grad_(True)
        packer, data = packer_of(work, plan.weights), work.data()
        sight = SightStage(model, packer, data, plan.collages)
        text = TextStage(model, packer, data, plan.collages)
        rng = np.random.default_rng(plan.seed)

        def step(index: int) -> tuple[Tensor, dict[str, float]]:
            if index % 15 == 14:
                return text.text(32, rng)
            if index % 3 == 2:
                return text.raster(32, RASTER_WEIGHT, rng)
            return sight.answers(32, rng, train_tower=True)

        def keep(index: int) -> None:
            torch.save(model.state_dict(), work.folder / f"{plan.name}-sofar.pt")

        steps = work.steps(plan.steps)
        fit(plan.name, step, [model], rate=plan.rate, steps=steps, log=work.log, check=keep)

    work.once(plan.name, model, run)


def build(work: Workspace, stages: tuple[str, ...]) -> LlavaForConditionalGeneration:
    """Run what the stages need, and give the model as far as it has come."""
    model = start(work)
    compile_layers(model)
    for layer in model.model.vision_tower.encoder.layers:
        layer.compile()
    projector_stage(work, model)
    if {"joint", "export"} & set(stages):
        for plan in JOINT:
            joint_stage(work, model, plan)
    return model


def main() -> None:
    """Run the stages asked for."""
    work, stages = workspace(__doc__ or "", STAGES)
    if "vision" in stages:
        llava_tower(work)
    if "text" in stages:
        text_stage(work)
    if {"projector", "joint", "export"} & set(stages):
        model = build(work, stages)
        if "export" in stages:
            export_llava(model, packer_of(work).tokenizer, MODELS / "demo")


if __name__ == "__main__":
    main()
