"""Text-only causal language models: GPT-2, Llama, Qwen, SmolLM, Gemma and whatever else proves itself."""

from __future__ import annotations

from typing import ClassVar

from patchlens.models.adapter import Adapter


class TextAdapter(Adapter):
    """Any AutoModelForCausalLM whose parts transformers can name; `prove` decides whether they are right."""

    family: ClassVar[str] = "text"
