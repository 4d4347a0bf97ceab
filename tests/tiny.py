"""Tiny random models of every family, with norm weights off 1 so that a norm too many or too few shows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from torch import nn
from transformers import (
    CLIPImageProcessorPil,
    CLIPVisionConfig,
    Gemma2Config,
    Gemma2ForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    GraniteConfig,
    GraniteForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    LlavaConfig,
    LlavaForConditionalGeneration,
    MllamaConfig,
    MllamaForConditionalGeneration,
    MllamaImageProcessorPil,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2VLImageProcessorPil,
)

from patchlens.models.adapter import Adapter
from patchlens.models.encoder import Processing
from patchlens.models.llava import LlavaAdapter
from patchlens.models.mllama import MllamaAdapter
from patchlens.models.qwen_vl import QwenVLAdapter
from patchlens.models.text import TextAdapter

CORPUS = [
    "a red cat sits on the grass beside a blue dog",
    "what is in the picture? a green bird, a yellow fish and a small horse",
    "is there a cat? yes. how many dogs are there? two",
    "the cat is left of the dog on the sand near the water",
] * 4
SPECIAL = ["<s>", "</s>", "<pad>"]
QWEN_SPECIAL = ["<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"]
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}USER: {% if message['content'] is string %}"
    "{{ message['content'] }}{% else %}{% for part in message['content'] %}{% if part['type'] == 'image' %}"
    "IMAGE\n{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %} {% endfor %}"
    "{% if add_generation_prompt %}ASSISTANT:{% endif %}"
)


def tiny_tokenizer(*special: str, bos: bool = True) -> PreTrainedTokenizerFast:
    """Byte-level BPE over a few captions: any text encodes, and " cat" or " dog" is one token.

    With ``bos`` it puts one in front of every text, as Llama's does.
    """
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=360,
        special_tokens=[*SPECIAL, *special],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    raw.train_from_iterator(CORPUS, trainer)
    if bos:
        raw.post_processor = processors.TemplateProcessing(
            single="<s> $A", special_tokens=[("<s>", raw.token_to_id("<s>"))]
        )
    names = {"eos_token": "</s>", "pad_token": "<pad>"} | ({"bos_token": "<s>"} if bos else {})
    return PreTrainedTokenizerFast(tokenizer_object=raw, extra_special_tokens=list(special), **names)


def unsettle(model: PreTrainedModel, seed: int = 0) -> PreTrainedModel:
    """Randomise every norm's weight and bias and every gate, and widen the rest so that logits differ."""
    generator = torch.Generator().manual_seed(seed)

    def draw(parameter: nn.Parameter, mean: float, std: float) -> None:
        parameter.copy_(mean + std * torch.randn(parameter.shape, generator=generator))

    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "gate" in name and parameter.numel() == 1:
                draw(parameter, 0.6, 0.1)
            elif parameter.ndim == 1 and ("norm" in name or "ln_" in name):
                draw(parameter, 0.0 if name.endswith("bias") else 1.0, 0.3)
            elif parameter.ndim >= 2:
                draw(parameter, 0.0, 0.1)
    return model.eval()


def text_settings(tokenizer: PreTrainedTokenizerFast, **more: Any) -> dict[str, Any]:
    settings = {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "tie_word_embeddings": False,
    }
    return settings | more


def tiny_llava(
    *,
    seed: int = 0,
    image_size: int = 42,
    patch_size: int = 14,
    select: str = "default",
    chat: bool = False,
    image_processor: Any = None,
    dtype: torch.dtype = torch.float32,
) -> LlavaAdapter:
    """LLaVA with a CLIP tower; shortest-edge resize and centre crop unless another processor is given."""
    torch.manual_seed(seed)
    tokenizer = tiny_tokenizer("<image>")
    vision = CLIPVisionConfig(
        hidden_size=24,
        intermediate_size=32,
        num_hidden_layers=3,
        num_attention_heads=2,
        image_size=image_size,
        patch_size=patch_size,
    )
    config = LlavaConfig(
        vision_config=vision,
        text_config=LlamaConfig(**text_settings(tokenizer)),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        vision_feature_select_strategy=select,
        vision_feature_layer=-2,
        tie_word_embeddings=False,
    )
    model = unsettle(LlavaForConditionalGeneration(config), seed).to(dtype)
    processor = image_processor or CLIPImageProcessorPil(
        size={"shortest_edge": image_size}, crop_size={"height": image_size, "width": image_size}
    )
    template = CHAT_TEMPLATE.replace("IMAGE", "<image>") if chat else None
    return LlavaAdapter(model, Processing(tokenizer, processor, template), name="tiny-llava")


def tiny_mllama(
    *, seed: int = 0, tile: int = 28, chat: bool = False, dtype: torch.dtype = torch.float32
) -> MllamaAdapter:
    """Mllama of 7 decoder blocks, cross-attention at 1 and 4, four tiles at most."""
    torch.manual_seed(seed)
    tokenizer = tiny_tokenizer()
    vocab = len(tokenizer)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|image|>"]})
    text = text_settings(tokenizer, num_hidden_layers=7, cross_attention_layers=[1, 4], vocab_size=vocab)
    config = MllamaConfig(
        vision_config={
            "hidden_size": 24,
            "intermediate_size": 32,
            "num_hidden_layers": 2,
            "num_global_layers": 1,
            "attention_heads": 2,
            "image_size": tile,
            "patch_size": 7,
            "max_num_tiles": 4,
            "intermediate_layers_indices": [0, 1],
            "vision_output_dim": 72,
        },
        text_config=text,
        image_token_index=tokenizer.convert_tokens_to_ids("<|image|>"),
    )
    model = unsettle(MllamaForConditionalGeneration(config), seed).to(dtype)
    processor = MllamaImageProcessorPil(size={"height": tile, "width": tile}, max_image_tiles=4)
    template = CHAT_TEMPLATE.replace("IMAGE", "<|image|>") if chat else None
    return MllamaAdapter(model, Processing(tokenizer, processor, template), name="tiny-mllama")


def tiny_qwen_vl(*, seed: int = 0, chat: bool = False, dtype: torch.dtype = torch.float32) -> QwenVLAdapter:
    """Qwen2.5-VL with patches of 14 pixels merged 2 x 2 and windowed vision attention."""
    torch.manual_seed(seed)
    tokenizer = tiny_tokenizer(*QWEN_SPECIAL, bos=False)
    token = tokenizer.convert_tokens_to_ids
    config = Qwen2_5_VLConfig(
        vision_config={
            "depth": 2,
            "hidden_size": 32,
            "intermediate_size": 32,
            "num_heads": 2,
            "out_hidden_size": 32,
            "fullatt_block_indexes": [1],
            "window_size": 56,
        },
        text_config=text_settings(
            tokenizer, rope_parameters={"rope_type": "default", "rope_theta": 1e4, "mrope_section": [1, 1, 2]}
        ),
        image_token_id=token("<|image_pad|>"),
        video_token_id=token("<|video_pad|>"),
        vision_start_token_id=token("<|vision_start|>"),
        vision_end_token_id=token("<|vision_end|>"),
        tie_word_embeddings=False,
    )
    model = unsettle(Qwen2_5_VLForConditionalGeneration(config), seed).to(dtype)
    processor = Qwen2VLImageProcessorPil(size={"shortest_edge": 56 * 56, "longest_edge": 28 * 28 * 64})
    template = CHAT_TEMPLATE.replace("IMAGE", "<|vision_start|><|image_pad|><|vision_end|>") if chat else None
    return QwenVLAdapter(model, Processing(tokenizer, processor, template), name="tiny-qwen-vl")


def tiny_llama(*, seed: int = 0, dtype: torch.dtype = torch.float32) -> TextAdapter:
    """Llama, text only."""
    torch.manual_seed(seed)
    tokenizer = tiny_tokenizer()
    model = LlamaForCausalLM(LlamaConfig(**text_settings(tokenizer)))
    return TextAdapter(unsettle(model, seed).to(dtype), Processing(tokenizer), name="tiny-llama")


def tiny_gpt2(*, seed: int = 0, dtype: torch.dtype = torch.float32) -> TextAdapter:
    """GPT-2 with tied embeddings and LayerNorm biases."""
    torch.manual_seed(seed)
    tokenizer = tiny_tokenizer(bos=False)
    config = GPT2Config(
        vocab_size=len(tokenizer),
        n_positions=256,
        n_embd=32,
        n_layer=3,
        n_head=2,
        bos_token_id=0,
        eos_token_id=1,
    )
    return TextAdapter(
        unsettle(GPT2LMHeadModel(config), seed).to(dtype), Processing(tokenizer), name="tiny-gpt2"
    )


def tiny_gemma2(*, seed: int = 0, dtype: torch.dtype = torch.float32) -> TextAdapter:
    """Gemma 2: soft-capped logits, scaled embeddings, norm weights counted from 1."""
    torch.manual_seed(seed)
    tokenizer = tiny_tokenizer()
    settings = text_settings(tokenizer, head_dim=8, final_logit_softcapping=2.0, tie_word_embeddings=True)
    model = Gemma2ForCausalLM(Gemma2Config(**settings))
    return TextAdapter(unsettle(model, seed).to(dtype), Processing(tokenizer), name="tiny-gemma2")


def tiny_granite(*, seed: int = 0, dtype: torch.dtype = torch.float32) -> TextAdapter:
    """Granite: logits divided by a constant, residual and embedding multipliers."""
    torch.manual_seed(seed)
    tokenizer = tiny_tokenizer()
    settings = text_settings(tokenizer, logits_scaling=4.0, embedding_multiplier=3.0, residual_multiplier=0.5)
    model = GraniteForCausalLM(GraniteConfig(**settings))
    return TextAdapter(unsettle(model, seed).to(dtype), Processing(tokenizer), name="tiny-granite")


BUILDERS = {
    "llava": tiny_llava,
    "mllama": tiny_mllama,
    "qwen_vl": tiny_qwen_vl,
    "llama": tiny_llama,
    "gpt2": tiny_gpt2,
    "gemma2": tiny_gemma2,
    "granite": tiny_granite,
}
VISION = ("llava", "mllama", "qwen_vl")


def save(adapter: Adapter, folder: Path) -> Path:
    """Write model, tokenizer and image processor as a hub repository holds them."""
    adapter.model.save_pretrained(folder)
    tokenizer = adapter.tokenizer
    tokenizer.chat_template = adapter.chat_template
    tokenizer.save_pretrained(folder)
    if adapter.processing.image_processor is not None:
        adapter.processing.image_processor.save_pretrained(folder)
    return folder
