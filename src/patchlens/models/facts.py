"""Find a decoder's blocks, final norm and unembedding in a transformers model; found is not yet proven."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn
from transformers import PreTrainedModel

from patchlens.errors import UnsupportedModelError
from patchlens.models.unembed import Unembed

BLOCK_LISTS = ("layers", "h", "blocks")
FINAL_NORMS = ("norm", "ln_f", "final_layernorm", "final_layer_norm", "layer_norm", "norm_f")


@dataclass(frozen=True)
class Decoder:
    """The parts of a decoder every lens needs, and their names inside the model."""

    blocks: Sequence[nn.Module]
    final_norm: nn.Module
    unembed: Unembed
    embedding: nn.Module
    block_list_name: str
    final_norm_name: str
    head_name: str


def find_decoder(model: PreTrainedModel) -> Decoder:
    """Look up a model's decoder parts through the accessors transformers offers.

    Raises:
        UnsupportedModelError: a part is missing, or the number of blocks is not the config's.
    """
    names = {id(module): name for name, module in model.named_modules()}
    decoder = model.get_decoder()
    config: Any = model.config.get_text_config(decoder=True)
    blocks = _attribute(decoder, BLOCK_LISTS, nn.ModuleList)
    final_norm = _attribute(decoder, FINAL_NORMS, nn.Module)
    head = model.get_output_embeddings()
    embedding = model.get_input_embeddings()
    wanted = {
        f"a list of blocks named one of {', '.join(BLOCK_LISTS)}": blocks,
        f"a final norm named one of {', '.join(FINAL_NORMS)}": final_norm,
        "a linear output head": head if isinstance(head, nn.Linear) else None,
        "an input embedding": embedding,
    }
    missing = [what for what, part in wanted.items() if part is None]
    if missing or not isinstance(blocks, nn.ModuleList) or not isinstance(head, nn.Linear):
        where = names.get(id(decoder), type(decoder).__name__)
        raise UnsupportedModelError(
            f"{type(model).__name__} ({where}) does not have {'; '.join(missing)}: patchlens cannot read it"
        )
    assert isinstance(final_norm, nn.Module)
    if len(blocks) != config.num_hidden_layers:
        raise UnsupportedModelError(
            f"{type(model).__name__}: its config says {config.num_hidden_layers} layers, "
            f"but {names[id(blocks)]} holds {len(blocks)}"
        )
    if head.weight.is_meta:
        raise UnsupportedModelError(
            f"{type(model).__name__}: {names[id(head)]} was left off the devices for want of memory; take a "
            "device map that keeps it on one, or a smaller dtype"
        )
    return Decoder(
        blocks=tuple(blocks),
        final_norm=final_norm,
        unembed=_unembed(final_norm, head, config),
        embedding=embedding,
        block_list_name=names[id(blocks)],
        final_norm_name=names[id(final_norm)],
        head_name=names[id(head)],
    )


def _attribute(module: nn.Module, candidates: Sequence[str], kind: type[nn.Module]) -> nn.Module | None:
    for name in candidates:
        found = getattr(module, name, None)
        if isinstance(found, kind):
            return found
    return None


def _unembed(final_norm: nn.Module, head: nn.Linear, config: Any) -> Unembed:
    softcap = getattr(config, "final_logit_softcapping", None)
    scale = 1.0
    if (divisor := getattr(config, "logits_scaling", None)) is not None:
        scale = 1.0 / float(divisor)
    elif (factor := getattr(config, "logit_scale", None)) is not None:
        scale = float(factor)
    return Unembed(
        final_norm=final_norm,
        weight=head.weight,
        bias=head.bias,
        softcap=None if softcap is None else float(softcap),
        scale=scale,
    )
