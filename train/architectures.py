"""Configurations of the two bundled models."""

from __future__ import annotations

import torch
from transformers import (
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    MllamaConfig,
    MllamaForConditionalGeneration,
)
from transformers.models.mllama.configuration_mllama import MllamaTextConfig, MllamaVisionConfig

D_MODEL = 128
HEADS = 4
MLP = 384
LAYERS = 8
PATCH = 14
SIDE = 140
TILE = 70
CROSS_LAYERS = [2, 5, 8]
START_ID, END_ID, PAD_ID = 1, 2, 3


def llava(vocabulary: int) -> LlavaForConditionalGeneration:
    """The ``demo`` model, random weights; the image token is the last id of the vocabulary."""
    vision = CLIPVisionConfig(
        hidden_size=D_MODEL,
        intermediate_size=4 * D_MODEL,
        num_hidden_layers=4,
        num_attention_heads=HEADS,
        image_size=SIDE,
        patch_size=PATCH,
        projection_dim=D_MODEL,
        hidden_act="gelu",
    )
    text = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=D_MODEL,
        intermediate_size=MLP,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=HEADS,
        max_position_embeddings=512,
        tie_word_embeddings=False,
        bos_token_id=START_ID,
        eos_token_id=END_ID,
        pad_token_id=PAD_ID,
    )
    config = LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_id=vocabulary - 1,
        vision_feature_layer=-1,
        vision_feature_select_strategy="default",
        image_seq_length=(SIDE // PATCH) ** 2,
        tie_word_embeddings=False,
    )
    return LlavaForConditionalGeneration(config)


def mllama(vocabulary: int) -> MllamaForConditionalGeneration:
    """The ``demo-cross`` model, random weights; the image token's id is the vocabulary's size."""
    vision = MllamaVisionConfig(
        hidden_size=D_MODEL,
        intermediate_size=4 * D_MODEL,
        num_hidden_layers=4,
        num_global_layers=1,
        attention_heads=HEADS,
        image_size=TILE,
        patch_size=PATCH,
        max_num_tiles=4,
        intermediate_layers_indices=[1, 3],
        vision_output_dim=3 * D_MODEL,
        hidden_act="gelu",
    )
    text = MllamaTextConfig(
        vocab_size=vocabulary,
        hidden_size=D_MODEL,
        intermediate_size=MLP,
        num_hidden_layers=LAYERS + len(CROSS_LAYERS),
        num_attention_heads=HEADS,
        num_key_value_heads=HEADS,
        cross_attention_layers=CROSS_LAYERS,
        max_position_embeddings=512,
        rms_norm_eps=1e-6,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        tie_word_embeddings=False,
        bos_token_id=START_ID,
        eos_token_id=END_ID,
        pad_token_id=PAD_ID,
    )
    config = MllamaConfig(
        vision_config=vision, text_config=text, image_token_index=vocabulary, tie_word_embeddings=False
    )
    return MllamaForConditionalGeneration(config)


def device() -> torch.device:
    """A GPU if there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
