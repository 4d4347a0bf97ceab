"""Load a model by name and hand out the adapter of its family."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import transformers
from safetensors import SafetensorError
from torch import nn
from transformers import (
    AutoImageProcessor,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoProcessor,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES,
)

from patchlens.errors import MissingExtraError, ModelNotFoundError, SelectionError, UnsupportedModelError
from patchlens.models.adapter import Adapter
from patchlens.models.encoder import Processing
from patchlens.models.llava import LlavaAdapter
from patchlens.models.mllama import MllamaAdapter
from patchlens.models.quiet import quiet_loading
from patchlens.models.qwen_vl import QwenVLAdapter
from patchlens.models.source import (
    ModelSource,
    chat_template,
    not_found,
    reach,
    read_config,
    refuse_pickles,
    resolve,
)
from patchlens.models.text import TextAdapter

FAMILIES: tuple[type[Adapter], ...] = (LlavaAdapter, MllamaAdapter, QwenVLAdapter)
SMALL = 500_000_000  # parameters; half-precision checkpoints below this run in float32 on a CPU
DEVICE_PLANS = ("auto", "balanced", "balanced_low_0", "sequential")


def supported_families() -> dict[str, str]:
    """Family and what it covers, for people."""
    return {
        LlavaAdapter.family: "LLaVA-1.5 with a CLIP or SigLIP tower (LlavaForConditionalGeneration)",
        MllamaAdapter.family: "Llama-3.2-Vision (MllamaForConditionalGeneration)",
        QwenVLAdapter.family: "Qwen2.5-VL (Qwen2_5_VLForConditionalGeneration)",
        TextAdapter.family: "text-only causal language models (GPT-2, Llama, Qwen, SmolLM, Gemma and others)",
    }


def load_adapter(
    name_or_path: str,
    *,
    dtype: str | torch.dtype = "auto",
    device_map: Any = None,
    revision: str | None = None,
    trust_remote_code: bool = False,
    allow_pickle: bool = False,
    attn_implementation: str | None = None,
) -> Adapter:
    """Load a bundled model, a folder or a hub repository.

    Args:
        name_or_path: a bundled name, a folder, or a hub id. Only a hub id may touch the network.
        dtype: "auto" takes the checkpoint's, except that on a CPU a half-precision checkpoint below
            500 million parameters runs in float32, which holds the same weights exactly, is faster there
            and keeps rounding out of the reading. Or a torch dtype or its name.
        device_map: a device, or a plan transformers knows ("auto"), which needs accelerate.
        revision: branch, tag or commit of a hub repository.
        trust_remote_code: run code that comes with the model.
        allow_pickle: read weights that are stored as pickles.
        attn_implementation: passed on to transformers ("eager" to read attention).

    Raises:
        ModelNotFoundError: no such model, no access, or no network.
        UnsupportedModelError: no adapter for it, its code would have to run, or its weights are pickles.
        MissingExtraError: the device plan needs accelerate.
        SelectionError: the device is not there or too small.
    """
    source = resolve(str(name_or_path), revision)
    with quiet_loading(keep_bars=not source.is_local):
        source = reach(source)
        config = read_config(source)
        family = family_of(source.name, config, trust_remote_code=trust_remote_code)
        if not allow_pickle:
            refuse_pickles(source)
        options = source.options | {"trust_remote_code": trust_remote_code}
        processing = _processing(source, options, family)
        weights = {
            "dtype": _dtype(dtype),
            "use_safetensors": None if allow_pickle else True,
            "attn_implementation": attn_implementation,
        }
        model = _model(source, family, options | weights, device_map)
    if dtype == "auto" and _is_small_on_cpu(model):
        nn.Module.to(model, torch.float32)
    model.eval()
    commit = getattr(model.config, "_commit_hash", None)
    return family(model, processing, name=source.name, revision=commit or source.revision)


def adapt(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    image_processor: Any = None,
    *,
    name: str = "model",
    template: Any = None,
) -> Adapter:
    """Wrap a model and the parts that stand before it; the template is the tokenizer's if left out.

    Raises:
        UnsupportedModelError: no adapter for its type, or nothing that makes its pictures into tensors.
    """
    family = family_of(name, model.config.to_dict(), trust_remote_code=False)
    if image_processor is None and family is not TextAdapter:
        raise UnsupportedModelError(
            f"{name} takes pictures, but there is no image processor to make them tensors: give its processor"
        )
    template = tokenizer.chat_template if template is None else template
    processing = Processing(tokenizer, image_processor, template if isinstance(template, str) else None)
    return family(model, processing, name=name)


def adapt_in_memory(model: Any, processor: Any, *, name: str | None = None) -> Adapter:
    """Wrap a transformers model as it is: fine-tuned, of PEFT, quantised, on any device.

    Args:
        model: the model, or what PEFT made of one.
        processor: its processor; or its tokenizer, where it takes no pictures.
        name: what to call it; its own name or path if left out.

    Raises:
        UnsupportedModelError: it is no such model, there is no adapter for its type, or no processor.
    """
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    if not isinstance(inner, PreTrainedModel):
        raise UnsupportedModelError(
            f"expected a model of transformers or PEFT, or a name or folder, got {type(model).__name__}"
        )
    own = name or str(getattr(inner.config, "_name_or_path", "") or type(inner).__name__)
    tokenizer = getattr(processor, "tokenizer", processor)
    if not isinstance(tokenizer, PreTrainedTokenizerBase):
        raise UnsupportedModelError(
            f"{own} is in memory: give its processor too, load(model, processor=..), or its tokenizer if it "
            f"takes no pictures; got {type(processor).__name__}"
        )
    image_processor = getattr(processor, "image_processor", None)
    template = getattr(processor, "chat_template", None) or tokenizer.chat_template
    return adapt(inner, tokenizer, image_processor, name=own, template=template)


def family_of(name: str, config: Mapping[str, Any], *, trust_remote_code: bool) -> type[Adapter]:
    """The adapter for a config; never another family's.

    Raises:
        UnsupportedModelError: there is none, or the model's class is code that would have to be trusted.
    """
    model_type = str(config.get("model_type", ""))
    for family in FAMILIES:
        if model_type in family.model_types:
            return family
    sees = model_type in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES or "vision_config" in config
    known = "; ".join(supported_families().values())
    if sees:
        raise UnsupportedModelError(
            f"{name} is a multimodal model of type {model_type or 'unknown'!r}, which patchlens cannot read; "
            f"supported: {known}"
        )
    if model_type in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        return TextAdapter
    if "auto_map" in config and trust_remote_code:
        return TextAdapter
    if "auto_map" in config:
        raise UnsupportedModelError(
            f"{name} brings its own code, which is not run unless you trust it: trust_remote_code=True"
        )
    raise UnsupportedModelError(
        f"{name} is of type {model_type or 'unknown'!r}, no causal language model patchlens can read; "
        f"supported: {known}"
    )


def _processing(source: ModelSource, options: dict[str, Any], family: type[Adapter]) -> Processing:
    try:
        tokenizer = AutoTokenizer.from_pretrained(source.location, **options)
        if family is TextAdapter:
            return Processing(tokenizer, None, chat_template(source, tokenizer))
        whole = _whole_processor(source, options)
        if whole is not None:
            template = whole.chat_template if isinstance(whole.chat_template, str) else None
            return Processing(
                whole.tokenizer, whole.image_processor, template or chat_template(source, whole.tokenizer)
            )
        image_processor = _image_processor(source, family)
    except (OSError, ValueError) as error:
        raise not_found(source, error) from error
    return Processing(tokenizer, image_processor, chat_template(source, tokenizer))


def _whole_processor(source: ModelSource, options: dict[str, Any]) -> Any:
    """The model's full processor, or None where a part of it (video) needs torchvision."""
    try:
        return AutoProcessor.from_pretrained(source.location, **options)
    except (ImportError, OSError, ValueError, TypeError, AttributeError):
        return None


def _image_processor(source: ModelSource, family: type[Adapter]) -> Any:
    if family.pil_processor is None:
        return AutoImageProcessor.from_pretrained(source.location, **source.options)
    return getattr(transformers, family.pil_processor).from_pretrained(source.location, **source.options)


def _model(
    source: ModelSource, family: type[Adapter], options: dict[str, Any], device_map: Any
) -> PreTrainedModel:
    auto: Any = AutoModelForCausalLM if family is TextAdapter else AutoModelForImageTextToText
    single = device_map is not None and not isinstance(device_map, dict) and device_map not in DEVICE_PLANS
    if device_map is not None and not single:
        options = options | {"device_map": device_map}
        _need_accelerate()
    try:
        model, info = auto.from_pretrained(
            source.location, output_loading_info=True, ignore_mismatched_sizes=True, **options
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise not_found(source, error) from error
    absent = sorted(info["missing_keys"]) + sorted(key for key, *_ in info["mismatched_keys"])
    if absent:
        raise ModelNotFoundError(
            f"{source.name} lacks {len(absent)} of its weights or holds them in another shape ({absent[0]}): "
            "the checkpoint is incomplete or not of the type its config says"
        )
    return _placed(model, source, device_map) if single else model


def _placed(model: Any, source: ModelSource, device: Any) -> PreTrainedModel:
    try:
        return model.to(device)
    except (RuntimeError, AssertionError) as error:  # torch asserts that it was built for the device
        reason = str(error).splitlines()[0]
        raise SelectionError(f"{source.name} cannot be put on device {device!r}: {reason}") from error


def _need_accelerate() -> None:
    try:
        import accelerate  # noqa: F401  # pyright: ignore[reportUnusedImport]
    except ImportError as error:
        raise MissingExtraError("spreading a model over devices", "accelerate", "devices") from error


def _dtype(dtype: str | torch.dtype) -> str | torch.dtype:
    if isinstance(dtype, torch.dtype) or dtype == "auto":
        return dtype
    found = getattr(torch, dtype, None)
    if not isinstance(found, torch.dtype) or not found.is_floating_point:
        raise UnsupportedModelError(
            f"{dtype!r} is no data type for a model: use auto, float32, bfloat16 or float16"
        )
    return found


def _is_small_on_cpu(model: PreTrainedModel) -> bool:
    halves = {parameter.dtype for parameter in model.parameters()} & {torch.bfloat16, torch.float16}
    on_cpu = all(parameter.device.type == "cpu" for parameter in model.parameters())
    return bool(halves) and on_cpu and sum(parameter.numel() for parameter in model.parameters()) < SMALL
