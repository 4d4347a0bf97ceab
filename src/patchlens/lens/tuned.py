"""The tuned lens: an affine translator per layer and kind of position, to the last layer's states."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from patchlens.axes import FIT_KINDS, FitKind
from patchlens.errors import FormatError, SelectionError
from patchlens.lens.lens import JSON, Lens, check_fitted
from patchlens.models.unembed import Unembed

Form = Literal["after_norm", "before_norm"]

STAND_INS: Final[Mapping[FitKind, tuple[FitKind, ...]]] = {
    "text": ("text", "answer", "patch"),
    "patch": ("patch", "text", "answer"),
    "answer": ("answer", "text", "patch"),
}
"""Whose translators read a kind of position: its own, else the first of these that was fitted."""


@dataclass(frozen=True, eq=False)
class Translators:
    """Affine maps of layers 0 to ``n_layers - 1``: ``x -> weight[layer] @ x + bias[layer]``, float32."""

    weight: Float[Tensor, "layer d_model d_model"]
    bias: Float[Tensor, "layer d_model"]


@dataclass(frozen=True, eq=False)
class TunedLayers(Lens):
    """The tuned lens of one kind of position; `TunedLens.for_kind` gives it."""

    name = "tuned"
    form: Form
    translators: Translators

    def params(self) -> Mapping[str, JSON]:
        """The form only; the whole lens states the rest."""
        return {"form": self.form}

    def normed(
        self, resid_layer: Float[Tensor, "pos d_model"], layer: int, unembed: Unembed
    ) -> Float[Tensor, "pos d_model"]:
        """Translate ``[pos, d_model]`` states of a layer, in float32, with the final norm applied.

        Raises:
            SelectionError: the lens has no such layer.
            LensError: it was fitted for a model of another width.
        """
        n_layers = len(self.translators.bias)
        check_fitted(self.name, n_layers, self.translators.bias.shape[-1], layer, resid_layer)
        if layer == n_layers:
            return unembed.norm(resid_layer)
        own = self.translators
        weight, bias = own.weight[layer].to(resid_layer.device), own.bias[layer].to(resid_layer.device)
        return translated(self.form, resid_layer, weight, bias, unembed).to(unembed.weight.dtype)


@dataclass(frozen=True, eq=False)
class TunedLens(Lens):
    """Tuned lens, fitted apart for text, patches and answers.

    Belrose et al. 2023, arXiv 2303.08112, section 3. The form ``before_norm`` is the paper's: ``unembed(h +
    W_l h + b_l)``, the final norm applied after the translator. ``after_norm`` differs: the final norm comes
    first and the translator after it, ``A_l norm(h) + b_l``, which has a closed form
    (`patchlens.fit.closed_form`) and makes the fit convex; a temperature is folded into ``A_l`` and ``b_l``.
    Layer ``n_layers`` has no translator: it is the model's own.

    Attributes:
        form: where the final norm stands.
        kinds: translators per kind of position that was fitted.
        how: how it was fitted, such as ``closed_form`` or ``closed_form+gradient``.
        data: what it was fitted on, in words.
        seed: of the fit.
        positions: how many positions each kind was fitted on.
        note: what a reader should know about the fit.
        file: sha256 that names the file it was opened from, or None.
    """

    name = "tuned"
    form: Form
    kinds: Mapping[FitKind, Translators]
    how: str = "identity"
    data: str = ""
    seed: int | None = None
    positions: Mapping[FitKind, int] = field(default_factory=dict[FitKind, int])
    note: str = ""
    file: str | None = None

    def __post_init__(self) -> None:
        shapes = {tuple(own.weight.shape) for own in self.kinds.values()}
        if len(shapes) != 1:
            raise SelectionError(
                f"a tuned lens needs at least one kind of position, and translators of one shape; found "
                f"{sorted(shapes) or 'none'}"
            )

    @classmethod
    def identity(
        cls,
        n_layers: int,
        d_model: int,
        *,
        form: Form = "before_norm",
        kinds: Sequence[FitKind] = FIT_KINDS,
    ) -> TunedLens:
        """Return the lens that changes nothing: the logit lens, and where a fit from scratch starts."""
        eye = torch.eye(d_model) if form == "after_norm" else torch.zeros(d_model, d_model)
        start: dict[FitKind, Translators] = {
            kind: Translators(eye.repeat(n_layers, 1, 1), torch.zeros(n_layers, d_model)) for kind in kinds
        }
        return cls(form, start)

    @property
    def n_layers(self) -> int:
        """Number of the model's last layer, the first without a translator."""
        return len(next(iter(self.kinds.values())).bias)

    @property
    def d_model(self) -> int:
        """Width of the residual stream."""
        return next(iter(self.kinds.values())).bias.shape[1]

    def params(self) -> Mapping[str, JSON]:
        """Form, how and on what it was fitted, and which translators read each kind of position."""
        read_by: dict[str, JSON] = {f"{kind}_read_by": self.read_by(kind) for kind in FIT_KINDS}
        counts: dict[str, JSON] = {f"{kind}_positions": count for kind, count in self.positions.items()}
        own: dict[str, JSON] = {name: getattr(self, name) for name in _FACTS}
        return own | read_by | counts | {"file": self.file}

    def read_by(self, kind: FitKind) -> FitKind:
        """Name the kind whose translators read ``kind``: its own, or by `STAND_INS` one that was fitted."""
        return next(own for own in STAND_INS[kind] if own in self.kinds)

    def for_kind(self, kind: FitKind) -> TunedLayers:
        """Return the lens for one kind of position; where it was not fitted, the one that stands in."""
        return TunedLayers(self.form, self.kinds[self.read_by(kind)])

    def to(self, device: torch.device | str) -> TunedLens:
        """Return the same lens with its translators on a device, so that reading there moves nothing."""
        moved = {
            kind: Translators(own.weight.to(device), own.bias.to(device)) for kind, own in self.kinds.items()
        }
        return replace(self, kinds=moved)

    def to_arrays(self) -> dict[str, Tensor]:
        """Return the translators by name, such as ``patch.weight``; `from_arrays` takes them back."""
        arrays: dict[str, Tensor] = {}
        for kind, own in self.kinds.items():
            arrays |= {f"{kind}.weight": own.weight, f"{kind}.bias": own.bias}
        return arrays

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Tensor], params: Mapping[str, Any]) -> TunedLens:
        """Put a lens together from `to_arrays` and `params`.

        Raises:
            FormatError: an array is missing, unknown, of another shape or not finite.
        """
        present: list[FitKind] = [kind for kind in FIT_KINDS if f"{kind}.weight" in arrays]
        _check(arrays, present)
        kinds: dict[FitKind, Translators] = {
            kind: Translators(arrays[f"{kind}.weight"], arrays[f"{kind}.bias"]) for kind in present
        }
        if params.get("form") not in {"after_norm", "before_norm"}:
            raise FormatError(
                f"a tuned lens of form {params.get('form')!r}: expected after_norm or before_norm"
            )
        counts: dict[FitKind, int] = {
            kind: int(params[f"{kind}_positions"]) for kind in present if f"{kind}_positions" in params
        }
        return cls(kinds=kinds, positions=counts, file=params.get("file"), **{n: params[n] for n in _FACTS})


_FACTS = ("form", "how", "data", "seed", "note")


def _check(arrays: Mapping[str, Tensor], present: Sequence[FitKind]) -> None:
    wanted = {f"{kind}.{part}" for kind in present for part in ("weight", "bias")}
    if set(arrays) != wanted or not wanted:
        raise FormatError(
            f"a tuned lens holds weight and bias of text, patch or answer; found {sorted(arrays)}"
        )
    layers, d_model = arrays[f"{present[0]}.weight"].shape[:2]
    for name, array in arrays.items():
        shape = (layers, d_model, d_model) if name.endswith("weight") else (layers, d_model)
        if tuple(array.shape) != shape or array.dtype != torch.float32 or not torch.isfinite(array).all():
            raise FormatError(
                f"{name} of a tuned lens is {array.dtype} {tuple(array.shape)}: expected {shape}, float32 "
                "and finite"
            )


def after_norm(
    normed: Float[Tensor, "*batch d_model"],
    weight: Float[Tensor, "*layer d_model d_model"],
    bias: Float[Tensor, "*layer d_model"],
) -> Float[Tensor, "*batch d_model"]:
    """Translate states that are normed already: ``A x + b``, in float32; one layer or several at once."""
    return normed.to(weight.dtype) @ weight.mT + bias.unsqueeze(-2)


def translated(
    form: Form,
    resid: Float[Tensor, "*batch d_model"],
    weight: Float[Tensor, "*layer d_model d_model"],
    bias: Float[Tensor, "*layer d_model"],
    unembed: Unembed,
) -> Float[Tensor, "*batch d_model"]:
    """Translate residual states of one layer or several; the final norm is applied, before or after.

    Differentiable in ``weight`` and ``bias``; all arguments on the unembed's device. The translator works in
    float32, the final norm in the model's own type.
    """
    if form == "after_norm":
        return after_norm(unembed.norm(resid), weight, bias)
    resid = resid.to(weight.dtype)
    return unembed.norm(resid + resid @ weight.mT + bias.unsqueeze(-2)).to(weight.dtype)
