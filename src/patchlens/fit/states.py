"""The states that lenses are fitted on: one file per item, so that any pass reads one item at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Bool, Float
from safetensors.torch import load_file, save
from torch import Tensor

from patchlens.attention import SinkRule
from patchlens.axes import FIT_KINDS, FitKind
from patchlens.data.item import Item
from patchlens.errors import FitError, OutputError, naming
from patchlens.files import write_atomically
from patchlens.run import Model

SINKS = SinkRule()
"""What is a sink, and so unfit for fitting."""
EARLY = 16
"""Positions left out at the start of long texts without pictures."""
LONG = 2 * EARLY
EXCLUSIONS = ("first position", "start of a long text", "sink", "patch beyond the number kept")


@dataclass(frozen=True)
class StateBatch:
    """Residual states before the final norm at some positions.

    Attributes:
        resid: layers 0 to ``n_layers - 1`` in order; layer ``n_layers`` may follow and is not used.
        final: layer ``n_layers`` at the same positions.
        kinds: what each position counts as.
    """

    resid: Float[Tensor, "layer pos d_model"]
    final: Float[Tensor, "pos d_model"]
    kinds: tuple[FitKind, ...]

    def of_kind(self, kind: FitKind) -> StateBatch:
        """Return the positions of one kind, in order; there may be none."""
        at = torch.tensor([i for i, own in enumerate(self.kinds) if own == kind], dtype=torch.int64)
        place = at.to(self.resid.device)
        return StateBatch(self.resid[:, place], self.final[place], (kind,) * len(at))

    def first_layers(self, n_layers: int) -> Float[Tensor, "layer pos d_model"]:
        """Return the states of layers 0 to ``n_layers - 1``.

        Raises:
            FitError: layers are missing, or positions and kinds do not match.
        """
        if len(self.resid) not in {n_layers, n_layers + 1} or len(self.kinds) != self.resid.shape[1]:
            raise FitError(
                f"expected the states of {n_layers} layers (0 to {n_layers - 1}, or one more) with a kind "
                f"for each position; found {len(self.resid)} layers, {self.resid.shape[1]} positions and "
                f"{len(self.kinds)} kinds"
            )
        return self.resid[:n_layers]


@dataclass(frozen=True)
class Keep:
    """Which positions of an item to fit on: their kinds, and how many patches at most (None for all)."""

    kinds: tuple[FitKind, ...] = FIT_KINDS
    patches: int | None = None
    seed: int = 0


def exclusions(
    resid: Float[Tensor, "layer pos d_model"], kinds: Sequence[FitKind], *, has_picture: bool
) -> tuple[Bool[Tensor, " pos"], ...]:
    """Positions unfit for fitting, by the first three of `EXCLUSIONS`.

    They are the first of the sequence; the first `EARLY` of a text without picture of more than `LONG`
    positions; and those that are sinks at any layer, by `SINKS`.

    Args:
        resid: states of a whole sequence.
        kinds: kind of each position.
        has_picture: whether the item shows a picture.
    """
    order = torch.arange(len(kinds))
    early = order < (EARLY if not has_picture and len(kinds) > LONG else 1)
    is_patch = torch.tensor([kind == "patch" for kind in kinds])
    return order < 1, early, SINKS.find(resid, is_patch).any(0)


def kept_positions(
    resid: Float[Tensor, "layer pos d_model"],
    kinds: Sequence[FitKind],
    keep: Keep,
    *,
    has_picture: bool,
    index: int = 0,
) -> tuple[Tensor, list[int]]:
    """Positions to fit on ``[kept]``, and how many of the wanted kinds each of `EXCLUSIONS` took.

    A position that several rules take counts for the first. ``index`` is the item's number; with the seed of
    ``keep`` it settles which patches are kept.
    """
    left = torch.tensor([kind in keep.kinds for kind in kinds])
    taken: list[int] = []
    for rule in exclusions(resid, kinds, has_picture=has_picture):
        taken.append(int((left & rule).sum()))
        left &= ~rule
    patches = torch.tensor(
        [i for i, kind in enumerate(kinds) if kind == "patch" and left[i]], dtype=torch.long
    )
    surplus = max(0, len(patches) - keep.patches) if keep.patches is not None else 0
    generator = torch.Generator().manual_seed(keep.seed * 1_000_003 + index)
    left[patches[torch.randperm(len(patches), generator=generator)[:surplus]]] = False
    return left.nonzero().squeeze(1), [*taken, surplus]


@dataclass(frozen=True)
class StateStore:
    """A folder with the kept states of each item; a file is there whole or not at all."""

    folder: Path

    def path(self, index: int) -> Path:
        """File of an item."""
        return self.folder / f"{index:07d}.safetensors"

    def put(
        self,
        index: int,
        resid: Float[Tensor, "layer pos d_model"],
        kinds: Sequence[FitKind],
        excluded: Sequence[int],
    ) -> None:
        """Keep states of one item, layers 0 to ``n_layers``, and how many each of `EXCLUSIONS` took.

        Raises:
            OutputError: the file cannot be written.
        """
        arrays = {
            "resid": resid.cpu().contiguous(),
            "kind": torch.tensor([FIT_KINDS.index(kind) for kind in kinds], dtype=torch.uint8),
            "excluded": torch.tensor(excluded),
        }
        write_atomically(self.path(index), save(arrays))

    def batch(self, index: int) -> StateBatch:
        """States of one item, layers 0 to ``n_layers``."""
        arrays = load_file(self.path(index))
        kinds = tuple(FIT_KINDS[code] for code in arrays["kind"].tolist())
        return StateBatch(arrays["resid"], arrays["resid"][-1], kinds)

    def excluded(self, indices: Sequence[int]) -> dict[str, int]:
        """How many positions of some items each of `EXCLUSIONS` took."""
        total = torch.zeros(len(EXCLUSIONS), dtype=torch.long)
        for index in indices:
            total += load_file(self.path(index))["excluded"]
        return dict(zip(EXCLUSIONS, total.tolist(), strict=True))


def collect(
    model: Model,
    items: Sequence[Item],
    store: StateStore,
    keep: Keep,
    *,
    max_new_tokens: int,
    progress: Callable[[int, int], None],
) -> None:
    """Run the model on every item that the store does not have: its greedy answer, then one pass over both.

    Raises:
        OutputError: the folder cannot be made or written.
        ImageError, PromptError, NumericsError: the model does not take an item; says which.
    """
    try:
        store.folder.mkdir(exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make the folder {store.folder}: {error.strerror or error}") from error
    for index, item in enumerate(items):
        progress(index, len(items))
        if store.path(index).exists():
            continue
        with naming(item.name):
            trace = model.trace(item.open(), item.prompt, max_new_tokens=max_new_tokens, steps=True)
        kinds, resid = trace.fit_kinds, trace.resid
        kept, excluded = kept_positions(resid, kinds, keep, has_picture=bool(item.pictures), index=index)
        store.put(index, resid[:, kept.to(resid.device)], [kinds[i] for i in kept.tolist()], excluded)
    progress(len(items), len(items))
