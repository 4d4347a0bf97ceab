"""What every lens is: one class whose defaults do the common thing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import torch
from jaxtyping import Float, Int
from torch import Tensor

from patchlens.axes import FIT_KINDS, FitKind
from patchlens.capture import Captured
from patchlens.errors import LensError, SelectionError
from patchlens.lens.engine.statistics import Statistics
from patchlens.lens.engine.stream import stream_statistics
from patchlens.models.adapter import Adapter
from patchlens.models.inputs import Inputs
from patchlens.models.unembed import Unembed
from patchlens.reading.records import Channel

JSON: TypeAlias = str | int | float | bool | None


class Lens:
    """Turns the residual state of a layer into the normed state that the unembed matrix multiplies.

    A lens has a `name` and gives `normed`; all else has defaults. The engine multiplies by
    ``unembed.weight`` and applies bias, scale and soft-cap itself, so a lens never touches the vocabulary.
    Positions stand alone: the engine hands over any of them in any grouping, and the same state must give the
    same row. `patchlens.lens.check.check_lens` tries whether a lens keeps to this.

    Attributes:
        name: short name written into a reading, such as ``logit``.
        reads_vision: it reads pictures that have no positions of their own, which `lay_out` gives them.
        has_distribution: what it reads of a state of the residual stream is a distribution over the next
            token, to be held against the model's own there; False for a lens that compares states or lays
            out pictures.
    """

    name: str
    reads_vision: bool = False
    has_distribution: bool = True

    def params(self) -> Mapping[str, JSON]:
        """Everything that changes the result, as JSON values, for the manifest of a reading; none."""
        return {}

    def notes(self) -> tuple[str, ...]:
        """What a reader must know about its positions and numbers, for the notes of a reading; nothing."""
        return ()

    def normed(
        self, resid_layer: Float[Tensor, "pos d_model"], layer: int, unembed: Unembed
    ) -> Float[Tensor, "pos d_model"]:
        """Return the state that stands in for the final-normed state, ``[pos, d_model]``.

        Args:
            resid_layer: residual states of one layer, before the final norm, on the unembed's device.
            layer: number of that layer, 0 being the embeddings.
            unembed: the model's unembedding; ``unembed.norm`` applies the final norm.

        Raises:
            LensError: this lens gives no such state: it is fitted apart by kind, or compares states.
        """
        raise LensError(
            f"the lens {self.name} gives no state for the unembedding: write its method normed(resid_layer, "
            "layer, unembed), or take it for_kind a position"
        )

    def for_kind(self, kind: FitKind) -> Lens:
        """Return the lens for one kind of position: itself, unless it is fitted apart for them."""
        return self

    def lay_out(self, adapter: Adapter, inputs: Inputs, captured: Captured) -> tuple[Inputs, Captured]:
        """Return the inputs and states that `read` shall see: those of the pass as they are.

        Raises:
            SelectionError: the lens is not for this model, prompt or choice of positions.
        """
        return inputs, captured

    def read(
        self,
        resid: Float[Tensor, "layer pos d_model"],
        final: Float[Tensor, "pos d_model"],
        unembed: Unembed,
        kinds: Sequence[FitKind],
        *,
        layers: Sequence[int],
        n_layers: int,
        top_k: int,
        target_ids: Sequence[int] = (),
        progress: Callable[[int, int], None] | None = None,
    ) -> Statistics:
        """Return the statistics at every layer and position, every number finite.

        Streams `normed` states over the vocabulary, once for each lens that `for_kind` gives. All other
        arguments, and what is raised, are those of `patchlens.lens.engine.stream.stream_statistics`;
        ``kl_to_final`` is from the model's own distribution, through ``unembed``, whatever the lens.

        Args:
            resid: residual states before the final norm at ``layers``.
            final: those of layer ``n_layers`` at the same positions.
            unembed: the model's.
            kinds: the kind of each position.
            layers: number of each layer in ``resid``.
            n_layers: number of the last layer.
            top_k: how many best tokens to keep.
            target_ids: tokens to follow wherever they rank.
            progress: called with (done, total).
        """
        result = Statistics.empty(len(layers), len(kinds), top_k, len(target_ids))
        turns = self._turns(kinds)
        for turn, (own, at) in enumerate(turns):
            place = at if isinstance(at, slice) else at.to(resid.device)
            part = stream_statistics(
                resid[:, place],
                final[place],
                own,
                unembed,
                layers=layers,
                n_layers=n_layers,
                top_k=top_k,
                target_ids=target_ids,
                progress=None if progress is None else _of_turn(progress, turn, len(turns)),
            )
            result.put(at, part)
        return result

    def _turns(self, kinds: Sequence[FitKind]) -> list[tuple[Lens, slice | Int[Tensor, " n"]]]:
        """Which lens reads which positions, each in a turn of its own."""
        own = {kind: self.for_kind(kind) for kind in FIT_KINDS if kind in kinds}
        lenses = [*own.values()] or [self]
        if all(lens is lenses[0] for lens in lenses):
            return [(lenses[0], slice(None))]
        return [
            (lens, torch.tensor([place for place, other in enumerate(kinds) if other == kind]))
            for kind, lens in own.items()
        ]

    def channels(
        self, resid: Float[Tensor, "layer pos d_model"], statistics: Statistics
    ) -> tuple[Channel, ...]:
        """What else it tells about the same states, over the axes ``layer`` and ``pos``; nothing."""
        return ()

    def to_arrays(self) -> Mapping[str, Tensor]:
        """Return what a file of this lens holds beside `params`, arrays by name.

        Raises:
            LensError: nothing was fitted that a file could hold.
        """
        raise LensError(f"a lens of the name {self.name!r} has nothing that a file could hold")


def check_name(lens: Lens) -> None:
    """Check that a lens has a name that a reading can bear.

    Raises:
        LensError: it has none.
    """
    name: object = getattr(lens, "name", None)
    if not (isinstance(name, str) and name.strip() and name.isprintable()):
        what = "has none" if name in (None, "") else f"has {name!r:.40}"
        raise LensError(
            f"a lens has a name, a short text that stands in its readings, and this {type(lens).__name__} "
            f"{what}: give it one, such as name='mine'"
        )


def check_fitted(
    name: str, n_layers: int, d_model: int, layer: int, resid_layer: Float[Tensor, "pos width"]
) -> None:
    """Check that states of a layer are of the kind that a lens was fitted on.

    Raises:
        SelectionError: the lens has no such layer.
        LensError: the states are of another width.
    """
    if not 0 <= layer <= n_layers:
        raise SelectionError(f"layer {layer} does not exist: this lens has layers 0 to {n_layers}")
    if resid_layer.shape[1] != d_model:
        raise LensError(
            f"a {name} lens for states {d_model} wide cannot read this model's, {resid_layer.shape[1]} wide: "
            "fit one for this model"
        )


def _of_turn(progress: Callable[[int, int], None], turn: int, turns: int) -> Callable[[int, int], None]:
    return lambda done, total: progress(turn * total + done, turns * total)
