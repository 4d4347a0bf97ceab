"""Watch a model's decoder blocks during a forward pass, and leave the model as it was found."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

OnState = Callable[[int, Tensor], None]


@contextmanager
def watched(
    blocks: Sequence[nn.Module], on_output: OnState, on_input: OnState | None = None
) -> Generator[None, None, None]:
    """Call back with each block's index and the residual state it takes or gives, for every forward inside.

    The hooks are gone afterwards, whatever happened. Blocks inside a compiled region do not call back.
    """
    handles: list[RemovableHandle] = []
    try:
        for index, block in enumerate(blocks):
            if on_input is not None:
                handles.append(_input_hook(block, index, on_input))
            handles.append(_output_hook(block, index, on_output))
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def evaluating(model: nn.Module) -> Generator[None, None, None]:
    """Evaluation mode for the model, every module's own mode restored afterwards."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


def _input_hook(block: nn.Module, index: int, on_input: OnState) -> RemovableHandle:
    def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        on_input(index, args[0] if args else kwargs["hidden_states"])

    return block.register_forward_pre_hook(hook, with_kwargs=True)


def _output_hook(block: nn.Module, index: int, on_output: OnState) -> RemovableHandle:
    def hook(_: nn.Module, __: tuple[Any, ...], output: Tensor | tuple[Tensor, ...]) -> None:
        on_output(index, output[0] if isinstance(output, tuple) else output)

    return block.register_forward_hook(hook)
