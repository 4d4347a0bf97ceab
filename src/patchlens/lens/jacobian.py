"""The Jacobian lens: what a state would say if the model passed it on as it does on average."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from patchlens.axes import FIT_KINDS, FitKind
from patchlens.errors import FormatError, SelectionError
from patchlens.lens.lens import JSON, Lens, check_fitted
from patchlens.models.unembed import Unembed

Version = Literal["text", "answer", "image"]
"""Sources and targets of a fit: text to text, patches to answer positions, patches to patches."""

VERSIONS: Final[tuple[Version, ...]] = ("text", "answer", "image")
_OF_TEXT: Final[tuple[Version, ...]] = ("text", "image", "answer")
STAND_INS: Final[Mapping[FitKind, tuple[Version, ...]]] = {
    "text": _OF_TEXT,
    "answer": _OF_TEXT,
    "patch": ("image", "answer", "text"),
}
"""Which version reads a kind of position: the first of these that was fitted."""


@dataclass(frozen=True, eq=False)
class Jacobians:
    """Average Jacobians of one version.

    Attributes:
        matrices: of layers 0 to ``n_layers``; the last is the identity.
        prompts: how many were averaged.
        errors: per layer, how much of the matrix is noise: its standard error over its size, as Frobenius
            norms, 0 to 1. Taken from the difference of two halves of the prompts, so it holds what the choice
            of prompts and of random directions does. None for a single prompt.
    """

    matrices: Float[Tensor, "layer d_model d_model"]
    prompts: int
    errors: Float[Tensor, " layer"] | None = None


@dataclass(frozen=True, eq=False)
class JacobianLayers(Lens):
    """One version of the Jacobian lens; `JacobianLens.for_kind` gives it."""

    name = "jacobian"
    version: Version
    jacobians: Jacobians

    def params(self) -> Mapping[str, JSON]:
        """The version only; the whole lens states the rest."""
        return {"version": self.version}

    def normed(
        self, resid_layer: Float[Tensor, "pos d_model"], layer: int, unembed: Unembed
    ) -> Float[Tensor, "pos d_model"]:
        """Return ``final_norm(J_l h)`` of ``[pos, d_model]`` states; the last layer is only normed.

        Raises:
            SelectionError: the lens has no such layer.
            LensError: it was fitted for a model of another width.
        """
        n_layers = len(self.jacobians.matrices) - 1
        check_fitted(self.name, n_layers, self.jacobians.matrices.shape[-1], layer, resid_layer)
        if layer == n_layers:
            return unembed.norm(resid_layer)
        matrix = self.jacobians.matrices[layer].to(resid_layer.device)
        return unembed.norm(resid_layer.to(matrix.dtype) @ matrix.T)


@dataclass(frozen=True, eq=False)
class JacobianLens(Lens):
    """Jacobian lens (J-lens; Gurnee et al. 2026): ``softmax(unembed(J_l h_l))``, final norm after ``J_l``.

    ``J_l[o, :]`` is the mean over source positions ``t`` of the sum over target positions ``t' >= t`` of
    ``d h_L[t', o] / d h_l[t, :]``, averaged over prompts; ``h_L`` stands before the final norm. As in the
    publication, the sum over ``t'`` is not divided by the number of targets, and nothing is added: a linear
    map, not the affine one of a Taylor series. The final norm takes its scale away again, but within the
    average a prompt with more targets weighs more.

    Where this differs: the publication takes every position of a text but the first 16 and the last as source
    and as target. Here a version names their kinds, special tokens are never among them, the last position
    counts (it starts the answer), and of the early ones `patchlens.fit.vjp.settled` leaves fewer out, since
    prompts about a picture are short. ``J_L`` is the identity in every version; by the formula that of
    "answer" would be 0, since patches do not reach another position after the last block.

    Text and answer positions are read through version "text", patches through "image" or else "answer"; a
    version that was not fitted is stood in for by one that was (`STAND_INS`).

    Attributes:
        versions: what was fitted.
        probes: random directions per prompt, or None for an exact fit.
        seed: of the random directions.
        data: what it was fitted on, in words.
        note: what a reader should know about the fit.
        file: sha256 that names the file it was opened from, or None.
    """

    name = "jacobian"
    versions: Mapping[Version, Jacobians]
    probes: int | None = None
    seed: int | None = None
    data: str = ""
    note: str = ""
    file: str | None = None

    def __post_init__(self) -> None:
        shapes = {tuple(own.matrices.shape) for own in self.versions.values()}
        if len(shapes) != 1:
            raise SelectionError(
                "a Jacobian lens needs at least one version, and matrices of one shape; found "
                f"{sorted(shapes) or 'none'}"
            )

    @property
    def n_layers(self) -> int:
        """Number of the model's last layer."""
        return len(next(iter(self.versions.values())).matrices) - 1

    @property
    def d_model(self) -> int:
        """Width of the residual stream."""
        return next(iter(self.versions.values())).matrices.shape[-1]

    def params(self) -> Mapping[str, JSON]:
        """On what and how it was fitted, and which version reads each kind of position."""
        stated: dict[str, JSON] = {name: getattr(self, name) for name in _FACTS}
        for version, own in self.versions.items():
            stated[f"{version}_prompts"] = own.prompts
            stated[f"{version}_error"] = None if own.errors is None else float(own.errors.max())
        read_by: dict[str, JSON] = {f"{kind}_read_by": self.read_by(kind) for kind in FIT_KINDS}
        return stated | read_by | {"file": self.file}

    def read_by(self, kind: FitKind) -> Version:
        """Name the version that reads a kind of position, by `STAND_INS`."""
        return next(version for version in STAND_INS[kind] if version in self.versions)

    def for_kind(self, kind: FitKind) -> JacobianLayers:
        """Return the lens for one kind of position."""
        version = self.read_by(kind)
        return JacobianLayers(version, self.versions[version])

    def joined(self, other: JacobianLens) -> JacobianLens:
        """Return a lens with the versions of both; where both have one, that of ``other``.

        Raises:
            SelectionError: they are of models of another size, or were fitted by other means.
        """
        if (self.probes, self.seed, self.data) != (other.probes, other.seed, other.data):
            raise SelectionError("lenses can be joined that were fitted on the same data in the same way")
        return replace(self, versions={**self.versions, **other.versions}, file=None)

    def to(self, device: torch.device | str) -> JacobianLens:
        """Return the same lens with its matrices on a device, so that reading there moves nothing."""
        moved = {
            version: replace(own, matrices=own.matrices.to(device)) for version, own in self.versions.items()
        }
        return replace(self, versions=moved)

    def to_arrays(self) -> dict[str, Tensor]:
        """Return the matrices by name, such as ``image.matrices``; `from_arrays` takes them back."""
        arrays: dict[str, Tensor] = {}
        for version, own in self.versions.items():
            arrays[f"{version}.matrices"] = own.matrices
            if own.errors is not None:
                arrays[f"{version}.errors"] = own.errors
        return arrays

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Tensor], params: Mapping[str, Any]) -> JacobianLens:
        """Put a lens together from `to_arrays` and `params`.

        Raises:
            FormatError: an array or parameter is missing, unknown, of another shape or not finite.
        """
        present: list[Version] = [version for version in VERSIONS if f"{version}.matrices" in arrays]
        _check(arrays, present)
        missing = {*_FACTS, *(f"{version}_prompts" for version in present)} - set(params)
        if missing:
            raise FormatError(f"a Jacobian lens states {sorted(missing)}: the file does not")
        versions: dict[Version, Jacobians] = {
            version: Jacobians(
                arrays[f"{version}.matrices"],
                int(params[f"{version}_prompts"]),
                arrays.get(f"{version}.errors"),
            )
            for version in present
        }
        return cls(versions, file=params.get("file"), **{name: params[name] for name in _FACTS})


_FACTS = ("probes", "seed", "data", "note")


def _check(arrays: Mapping[str, Tensor], present: list[Version]) -> None:
    known = {f"{version}.{part}" for version in present for part in ("matrices", "errors")}
    if not present or not set(arrays) <= known:
        raise FormatError(
            f"a Jacobian lens holds matrices, and perhaps errors, of {', '.join(VERSIONS)}; found "
            f"{sorted(arrays) or 'nothing'}"
        )
    layers, d_model = arrays[f"{present[0]}.matrices"].shape[0], arrays[f"{present[0]}.matrices"].shape[-1]
    for name, array in arrays.items():
        shape = (layers, d_model, d_model) if name.endswith("matrices") else (layers,)
        if tuple(array.shape) != shape or not array.is_floating_point() or not torch.isfinite(array).all():
            raise FormatError(
                f"{name} of a Jacobian lens is {array.dtype} {tuple(array.shape)}: expected finite {shape}"
            )
