"""Write a trained model as a folder that transformers loads by itself."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import (
    GenerationConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    MllamaForConditionalGeneration,
    MllamaProcessor,
    PreTrainedTokenizerFast,
)
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.mllama.image_processing_pil_mllama import MllamaImageProcessorPil

from train.architectures import END_ID, PAD_ID, PATCH, SIDE, START_ID, TILE
from train.vision import MEAN, STD

MODELS = Path(__file__).parents[1] / "src/patchlens/demo/models"


def _save(model: torch.nn.Module, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    config = GenerationConfig(
        bos_token_id=START_ID, eos_token_id=END_ID, pad_token_id=PAD_ID, do_sample=False, max_new_tokens=48
    )
    model.generation_config = config  # pyright: ignore[reportAttributeAccessIssue]
    # Plain save_pretrained in bf16; on a copy, since training goes on in fp32.
    state = {k: v.detach().cpu().to(torch.bfloat16).contiguous() for k, v in model.state_dict().items()}
    copy = type(model)(model.config).to(torch.bfloat16)  # pyright: ignore[reportCallIssue,reportArgumentType]
    copy.load_state_dict(state)
    copy.config._attn_implementation = None
    copy.generation_config = config
    copy.save_pretrained(folder)


def export_llava(
    model: LlavaForConditionalGeneration, tokenizer: PreTrainedTokenizerFast, folder: Path
) -> None:
    """Weights in bf16, configuration, tokenizer and processor of ``demo``."""
    _save(model, folder)
    images = CLIPImageProcessorPil(
        size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE}, do_convert_rgb=True
    )
    processor = LlavaProcessor(
        image_processor=images,
        tokenizer=tokenizer,
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        image_token="<image>",
        num_additional_image_tokens=1,
        chat_template=tokenizer.chat_template,
    )
    processor.save_pretrained(folder)


def export_mllama(
    model: MllamaForConditionalGeneration, tokenizer: PreTrainedTokenizerFast, folder: Path
) -> None:
    """Weights in bf16, configuration, tokenizer and processor of ``demo-cross``."""
    _save(model, folder)
    images = MllamaImageProcessorPil(
        size={"height": TILE, "width": TILE},
        max_image_tiles=4,
        image_mean=MEAN.tolist(),
        image_std=STD.tolist(),
    )
    processor = MllamaProcessor(images, tokenizer, chat_template=tokenizer.chat_template)
    processor.save_pretrained(folder)
