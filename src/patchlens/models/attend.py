"""Watch attention at work: weights, values and what it adds to the residual stream, one block at a time."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from patchlens.errors import UnsupportedModelError
from patchlens.models.heads import Heads


@dataclass(frozen=True)
class Attended:
    """What one block's attention did in one forward pass.

    ``weights`` are transformers' own eager attention weights, ``projected`` what the value projection gave,
    ``before`` and ``after`` the residual stream on both sides of the write.
    """

    heads: Heads
    weights: Float[Tensor, "head pos source"]
    projected: Float[Tensor, "source width"]
    before: Float[Tensor, "pos d_model"]
    after: Float[Tensor, "pos d_model"]


OnAttention = Callable[[Attended], None]


@contextmanager
def attending(
    decoder: nn.Module, blocks: Sequence[nn.Module], heads: Sequence[Heads], on_attention: OnAttention
) -> Generator[None, None, None]:
    """Run the decoder's attention eagerly inside and call back once per block that runs.

    Nothing is kept here between blocks. Hooks and eager attention are gone afterwards, whatever happened.
    """
    handles: list[RemovableHandle] = []
    with _eager(decoder):
        try:
            for parts in heads:
                handles += _hooks(blocks[parts.block], parts, on_attention)
            yield
        finally:
            for handle in handles:
                handle.remove()


@contextmanager
def _eager(decoder: nn.Module) -> Generator[None, None, None]:
    """Eager attention for the decoder alone, whose config its modules share; a vision tower keeps its own."""
    config: Any = decoder.config
    own = config._attn_implementation
    try:
        config._attn_implementation = "eager"
        yield
    finally:
        config._attn_implementation = own


def _hooks(block: nn.Module, heads: Heads, on_attention: OnAttention) -> list[RemovableHandle]:
    seen: dict[str, Tensor] = {}

    def on_block(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        seen["before"] = (args[0] if args else kwargs["hidden_states"])[0]

    def on_values(_: nn.Module, __: tuple[Any, ...], output: Tensor) -> None:
        seen["projected"] = output.flatten(0, -2)

    def on_weights(_: nn.Module, __: tuple[Any, ...], output: Any) -> None:
        weights = output[1] if isinstance(output, tuple) and len(output) > 1 else None
        if not isinstance(weights, Tensor):
            raise UnsupportedModelError(
                f"block {heads.block} ({type(heads.attention).__name__}) gives no attention weights, even "
                "when it runs eagerly"
            )
        seen["weights"] = weights[0]

    def on_following(_: nn.Module, args: tuple[Any, ...]) -> None:
        parts = {name: seen.pop(name) for name in ("weights", "projected", "before")}
        on_attention(Attended(heads, after=args[0][0], **parts))

    return [
        block.register_forward_pre_hook(on_block, with_kwargs=True),
        heads.value.register_forward_hook(on_values),
        heads.attention.register_forward_hook(on_weights),
        heads.following.register_forward_pre_hook(on_following),
    ]
