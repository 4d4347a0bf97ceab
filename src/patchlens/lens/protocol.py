"""What every lens promises the engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypeAlias, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from patchlens.axes import FitKind
from patchlens.capture import Captured
from patchlens.lens.engine.statistics import Statistics
from patchlens.models.adapter import Adapter
from patchlens.models.inputs import Inputs
from patchlens.models.unembed import Unembed
from patchlens.reading.records import Channel

JSON: TypeAlias = str | int | float | bool | None


@runtime_checkable
class Lens(Protocol):
    """Turns the residual state of a layer into the normed state that the unembed matrix multiplies.

    The engine multiplies by ``unembed.weight`` and applies bias, scale and soft-cap itself, so a lens never
    touches the vocabulary. Positions stand alone: the engine hands over any of them in any grouping, and the
    same state must give the same row. A lens fitted apart for several kinds of position is run once per kind.
    """

    @property
    def name(self) -> str:
        """Short name written into a reading, such as ``logit``."""
        ...

    def params(self) -> Mapping[str, JSON]:
        """Everything that changes the result, as JSON values, for the manifest of a reading."""
        ...

    def normed(
        self, resid_layer: Float[Tensor, "pos d_model"], layer: int, unembed: Unembed
    ) -> Float[Tensor, "pos d_model"]:
        """Return the state that stands in for the final-normed state, ``[pos, d_model]``.

        Args:
            resid_layer: residual states of one layer, before the final norm, on the unembed's device.
            layer: number of that layer, 0 being the embeddings.
            unembed: the model's unembedding; ``unembed.norm`` applies the final norm.
        """
        ...


@runtime_checkable
class KindedLens(Protocol):
    """A lens fitted apart for several kinds of position: it gives the one for each."""

    @property
    def name(self) -> str:
        """Short name written into a reading, such as ``tuned``."""
        ...

    def params(self) -> Mapping[str, JSON]:
        """Everything that changes the result, as JSON values, for the manifest of a reading."""
        ...

    def for_kind(self, kind: FitKind) -> Lens:
        """Return the lens for one kind of position; where none was fitted, the one that stands in."""
        ...


@runtime_checkable
class VisionLens(Protocol):
    """A lens for pictures that have no positions of their own: first it lays their states out as such."""

    @property
    def name(self) -> str:
        """Short name written into a reading, such as ``cross``."""
        ...

    def params(self) -> Mapping[str, JSON]:
        """Everything that changes the result, as JSON values, for the manifest of a reading."""
        ...

    def notes(self) -> tuple[str, ...]:
        """What a reader must know about its positions and numbers, for the notes of a reading."""
        ...

    def reader(self) -> Lens:
        """Return the lens for what was laid out; its name and parameters are this lens's."""
        ...

    def lay_out(self, adapter: Adapter, inputs: Inputs, captured: Captured) -> tuple[Inputs, Captured]:
        """Return inputs and states in which what the picture became has positions."""
        ...


@runtime_checkable
class ReadingLens(Protocol):
    """A lens that does not go through the unembedding: it gives the statistics of its own scores itself.

    Its last layer need not be the model's answer.
    """

    @property
    def name(self) -> str:
        """Short name written into a reading, such as ``embedding``."""
        ...

    def params(self) -> Mapping[str, JSON]:
        """Everything that changes the result, as JSON values, for the manifest of a reading."""
        ...

    def notes(self) -> tuple[str, ...]:
        """What a reader must know about its numbers, for the notes of a reading."""
        ...

    def read(
        self,
        resid: Float[Tensor, "layer pos d_model"],
        final: Float[Tensor, "pos d_model"],
        unembed: Unembed,
        *,
        layers: Sequence[int],
        n_layers: int,
        top_k: int,
        target_ids: Sequence[int],
        progress: Callable[[int, int], None] | None,
    ) -> Statistics:
        """Return the statistics at every layer and position, every number finite.

        Arguments as in `patchlens.lens.engine.stream.stream_statistics`; ``kl_to_final`` is from the
        model's own distribution, through ``unembed``.
        """
        ...

    def channels(
        self, resid: Float[Tensor, "layer pos d_model"], statistics: Statistics
    ) -> tuple[Channel, ...]:
        """What else it tells about the same states, over the axes ``layer`` and ``pos``; may be empty."""
        ...
