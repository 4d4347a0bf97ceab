"""Where a decoder block's attention keeps its values, its output projection and what scales its write."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from patchlens.axes import POSITION
from patchlens.errors import UnsupportedModelError

ATTENTIONS = ("self_attn", "cross_attn", "attn", "attention")
VALUES = ("v_proj", "qkv_proj", "c_attn")
OUTPUTS = ("o_proj", "out_proj", "c_proj")
FOLLOWING = ("pre_feedforward_layernorm", "post_attention_layernorm", "ln_2")


@dataclass(frozen=True)
class Heads:
    """The parts of one block's attention.

    With ``z`` the heads' mixed values, side by side, the block adds to the residual stream

        ``multiplier * tanh(gate) * norm(W_O z + b_O)``

    where ``gate`` and ``norm`` are mostly None. ``value`` is the projection whose last
    ``n_kv_heads * head_dim`` outputs are the values (keys and queries may stand before them), ``following``
    the module that takes the residual state after the write, ``over`` the axis of what is attended to.
    """

    block: int
    attention: nn.Module
    value: nn.Module
    output: nn.Module
    following: nn.Module
    n_heads: int
    n_kv_heads: int
    head_dim: int
    norm: nn.Module | None = None
    gate: Tensor | None = None
    multiplier: float = 1.0
    over: str = POSITION

    @property
    def matrix(self) -> Float[Tensor, "d_model head head_dim"]:
        """``W_O``, cut by head; the model's own tensor."""
        return _weight(self.output).unflatten(1, (self.n_heads, self.head_dim))

    @property
    def bias(self) -> Float[Tensor, " d_model"]:
        """What the attention writes whatever it sees, before gate and norm: ``b_O + W_O b_V``."""
        matrix = self.matrix.detach()
        constant = self._value_bias().repeat_interleave(self.n_heads // self.n_kv_heads, dim=0)
        total = torch.einsum("dhk,hk->d", matrix, constant.to(matrix))
        own = getattr(self.output, "bias", None)
        return total if own is None else total + own.detach()

    def values(self, projected: Float[Tensor, "source width"]) -> Float[Tensor, "source kv_head head_dim"]:
        """The values in what the projection gave, cut by head, its bias taken off."""
        last = projected[:, -self.n_kv_heads * self.head_dim :]
        return last.unflatten(1, (self.n_kv_heads, self.head_dim)) - self._value_bias().to(last)

    def gain(self, total: Float[Tensor, "query d_model"]) -> Float[Tensor, "#query d_model"]:
        """What each coordinate of the attention's output is multiplied by on its way to the residual stream.

        Args:
            total: the attention's whole output at the queries, bias included; a norm's scale follows from it.
        """
        gain = torch.ones_like(total[:1]) if self.norm is None else _ratio(self.norm, total)
        gain = gain * self.multiplier
        return gain if self.gate is None else gain * self.gate.detach().tanh().to(total)

    def _value_bias(self) -> Float[Tensor, "kv_head head_dim"]:
        own = getattr(self.value, "bias", None)
        size = self.n_kv_heads * self.head_dim
        flat = _weight(self.value).new_zeros(size) if own is None else own.detach()[-size:]
        return flat.unflatten(0, (self.n_kv_heads, self.head_dim))


def find_heads(block: nn.Module, index: int, config: Any, name: str) -> Heads:
    """Look up the parts of a block's attention by the names transformers gives them; found is not yet proven.

    Raises:
        UnsupportedModelError: a part has another name, or the sizes do not fit together.
    """
    attention = _attribute(block, ATTENTIONS)
    value = None if attention is None else _attribute(attention, VALUES)
    output = None if attention is None else _attribute(attention, OUTPUTS)
    following = _attribute(block, FOLLOWING)
    wanted = {
        f"an attention named one of {', '.join(ATTENTIONS)}": attention,
        f"a value projection named one of {', '.join(VALUES)}": value,
        f"an output projection named one of {', '.join(OUTPUTS)}": output,
        f"a norm after it named one of {', '.join(FOLLOWING)}": following,
    }
    missing = [what for what, part in wanted.items() if part is None]
    if attention is None or value is None or output is None or following is None:
        raise UnsupportedModelError(
            f"{name}: block {index} ({type(block).__name__}) does not have {'; '.join(missing)}, so its "
            "attention cannot be taken apart"
        )
    n_heads = int(config.num_attention_heads)
    head_dim, rest = divmod(_weight(output).shape[1], n_heads)
    n_kv_heads = int(getattr(config, "num_key_value_heads", None) or n_heads)
    if rest or _weight(value).shape[0] < n_kv_heads * head_dim:
        raise UnsupportedModelError(
            f"{name}: block {index} was expected to have {n_heads} heads and {n_kv_heads} of values, but its "
            f"projections have sizes {_weight(output).shape[1]} and {_weight(value).shape[0]}"
        )
    sandwiched = following is getattr(block, "pre_feedforward_layernorm", None)
    return Heads(
        block=index,
        attention=attention,
        value=value,
        output=output,
        following=following,
        n_heads=n_heads,
        n_kv_heads=n_kv_heads,
        head_dim=head_dim,
        norm=_attribute(block, ("post_attention_layernorm",)) if sandwiched else None,
        multiplier=float(getattr(block, "residual_multiplier", 1.0)),
    )


def _attribute(module: nn.Module, candidates: Sequence[str]) -> nn.Module | None:
    found = (getattr(module, name, None) for name in candidates)
    return next((part for part in found if isinstance(part, nn.Module)), None)


def _weight(projection: nn.Module) -> Float[Tensor, "out in"]:
    weight = projection.weight
    assert isinstance(weight, Tensor)
    return weight.T if isinstance(projection, Conv1D) else weight


def _ratio(norm: nn.Module, total: Float[Tensor, "query d_model"]) -> Float[Tensor, "query d_model"]:
    """What a root-mean-square norm multiplies each coordinate by, its scale taken from the state itself."""
    scaled = norm(total.to(next(norm.parameters()).dtype)).to(total)
    return torch.where(total == 0, torch.zeros_like(total), scaled / total)
