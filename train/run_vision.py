"""Pre-train the vision towers: ``python -m train.run_vision --only llava|mllama``.

Mllama's tower starts from LLaVA's: same width, depth and patches, other positions and norms.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from transformers import LlavaForConditionalGeneration, MllamaForConditionalGeneration

from train.architectures import D_MODEL, PATCH, SIDE, TILE, device, llava, mllama
from train.stages import Workspace, workspace
from train.vision import ONE_TILE, TWO_BY_TWO, llava_states, mllama_states, pretrain

LLAVA_CYCLES = ((1500, 2.5e-3), (1200, 2e-3))
"""Steps and rate of each cosine cycle; the second takes up where the first ended."""
MLLAMA_STEPS = 900
MLLAMA_RATE = 2e-3
BATCH = 64
POSITION_GATE = 0.5


def llava_tower(work: Workspace) -> None:
    """CLIP tower of ``demo``, left in the workspace as ``llava-vision.pt``."""
    torch.manual_seed(1)
    model = llava(work.tokenizer().get_vocab_size() + 1).to(device())
    tower = model.model.vision_tower
    for layer in tower.encoder.layers:
        layer.compile()
    for cycle, (steps, rate) in enumerate(LLAVA_CYCLES, 1):
        last = cycle == len(LLAVA_CYCLES)

        def run(steps: int = steps, rate: float = rate, cycle: int = cycle) -> None:
            pretrain(
                tower,
                llava_states(model),
                D_MODEL,
                [work.data()],
                steps=work.steps(steps),
                batch=BATCH,
                rate=rate,
                seed=2 + cycle,
                log=work.log,
                device=device(),
            )

        work.once("llava-vision" if last else f"llava-vision-{cycle}", tower, run)


def mllama_tower(work: Workspace) -> None:
    """Vision model of ``demo-cross``, left in the workspace as ``mllama-vision.pt``."""
    llava_tower(work)
    torch.manual_seed(2)
    vocabulary = work.tokenizer().get_vocab_size()
    source = llava(vocabulary + 1)
    source.model.vision_tower.load_state_dict(
        torch.load(work.folder / "llava-vision.pt", weights_only=True, map_location="cpu")
    )
    model = mllama(vocabulary)
    transplant(source, model)
    model.to(device())
    tower = model.model.vision_model
    for layer in (*tower.transformer.layers, *tower.global_transformer.layers):
        layer.compile()

    def run() -> None:
        pretrain(
            tower,
            mllama_states(model),
            3 * D_MODEL,
            [work.data(), work.small_data()],
            steps=work.steps(MLLAMA_STEPS),
            batch=BATCH,
            rate=MLLAMA_RATE,
            seed=12,
            log=work.log,
            device=device(),
        )

    work.once("mllama-vision", tower, run)


@torch.no_grad()
def transplant(source: LlavaForConditionalGeneration, target: MllamaForConditionalGeneration) -> None:
    """Copy what CLIP's tower and Mllama's have in common; attention biases are left behind."""
    clip, tower = source.model.vision_tower, target.model.vision_model
    tower.patch_embedding.weight.copy_(clip.embeddings.patch_embedding.weight)
    tower.class_embedding.copy_(clip.embeddings.class_embedding)
    tower.layernorm_pre.load_state_dict(clip.pre_layrnorm.state_dict())
    for theirs, ours in zip(clip.encoder.layers, tower.transformer.layers, strict=True):
        ours.input_layernorm.load_state_dict(theirs.layer_norm1.state_dict())
        ours.post_attention_layernorm.load_state_dict(theirs.layer_norm2.state_dict())
        ours.mlp.load_state_dict(theirs.mlp.state_dict())
        for name in ("q_proj", "k_proj", "v_proj"):
            getattr(ours.self_attn, name).weight.copy_(getattr(theirs.self_attn, name).weight)
        ours.self_attn.o_proj.weight.copy_(theirs.self_attn.out_proj.weight)
    positions = tiled_positions(clip.embeddings.position_embedding.weight)
    gated = tower.gated_positional_embedding
    gated.gate.fill_(math.atanh(POSITION_GATE))
    gated.embedding.zero_()
    # A picture of one tile starts out as the top left quarter of a picture of four.
    for ratio in (TWO_BY_TWO, ONE_TILE):
        gated.tile_embedding.weight[ratio].copy_(positions.flatten() / POSITION_GATE)


def tiled_positions(positions: Tensor) -> Tensor:
    """CLIP's positions ``[1 + patch, d]`` in Mllama's order ``[tile, 1 + patch, d]``."""
    grid, half = SIDE // PATCH, TILE // PATCH
    side = grid // half
    patches = positions[1:].view(side, half, side, half, -1).permute(0, 2, 1, 3, 4)
    patches = patches.reshape(side * side, half * half, -1)
    return torch.cat([positions[:1].expand(side * side, 1, -1), patches], 1)


if __name__ == "__main__":
    place, chosen = workspace(__doc__ or "", ("llava", "mllama"))
    for name in chosen:
        {"llava": llava_tower, "mllama": mllama_tower}[name](place)
