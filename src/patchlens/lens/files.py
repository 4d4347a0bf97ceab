"""Lenses as files: arrays under a manifest that names the model, and refused for another one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from patchlens.errors import FormatError, LensError, PatchlensError
from patchlens.files import output_path, write_atomically
from patchlens.lens.jacobian import JacobianLens
from patchlens.lens.latent import LatentLens
from patchlens.lens.lens import Lens
from patchlens.lens.tuned import TunedLens
from patchlens.models.unembed import Unembed
from patchlens.reading.seal import SUFFIX, Seal, sha256

SEAL = Seal("lens", "patchlens.lens", version=1)
_ROWS = 4096

FromArrays = Callable[[Mapping[str, Tensor], Mapping[str, Any]], Lens]
LENSES: dict[str, FromArrays] = {
    "tuned": TunedLens.from_arrays,
    "jacobian": JacobianLens.from_arrays,
    "latent": LatentLens.from_arrays,
}
"""How the lens of each name is put together from its arrays and params; ``params["file"]`` names the file."""


@dataclass(frozen=True)
class LensManifest:
    """What a lens file says beside its arrays.

    Attributes:
        lens: name of its class, such as ``tuned``.
        params: of the lens.
        model: name and revision of the model it was fitted for.
        unembed: `unembed_sha256` of that model.
        report: what the fit measured, as JSON values, or None.
        file: sha256 of the manifest itself, which names the file.
    """

    lens: str
    params: Mapping[str, Any]
    model: Mapping[str, Any]
    unembed: str
    report: Mapping[str, Any] | None
    file: str


def write_lens(
    lens: Lens,
    path: str | Path,
    *,
    model: str,
    unembed: Unembed,
    revision: str | None = None,
    report: Mapping[str, Any] | None = None,
) -> Path:
    """Write a lens; an interrupted or failed write leaves no file and an old one untouched.

    Args:
        lens: which; its arrays are held in memory twice meanwhile.
        path: where to, ``.safetensors``.
        model: name of the model it was fitted for.
        unembed: that model's; the file can only be opened for the same.
        revision: of the model.
        report: what to keep about the fit, as JSON values.

    Raises:
        OutputError: the file cannot be written.
        LensError: no way is known to open such a lens again.
    """
    if lens.name not in LENSES:
        raise LensError(
            f"a lens of the name {lens.name!r} cannot be opened again: save one of {sorted(LENSES)}"
        )
    manifest = {
        "lens": lens.name,
        "params": {**lens.params(), "file": None},
        "model": {"name": model, "revision": revision},
        "unembed": unembed_sha256(unembed),
        "report": None if report is None else dict(report),
    }
    arrays = {name: array.detach().cpu().numpy() for name, array in lens.to_arrays().items()}
    return write_atomically(output_path(path, SUFFIX), SEAL.to_bytes(arrays, manifest))


def read_lens(path: str | Path, unembed: Unembed | None = None) -> Lens:
    """Read a lens back, on the device of the unembed if one is given.

    Args:
        path: what `write_lens` wrote.
        unembed: of the model it shall read; None opens it unchecked.

    Raises:
        FormatError: missing, truncated, foreign, damaged, newer, or of an unknown lens.
        LensError: it was fitted for a model with another unembed.
    """
    arrays, manifest = _read(Path(path))
    name = Path(path).name
    if unembed is not None and manifest.unembed != unembed_sha256(unembed):
        raise LensError(
            f"{name} was fitted for another model ({manifest.model['name']}), whose unembed is not this "
            "one's: fit a lens for this model, or load that one"
        )
    device = "cpu" if unembed is None else unembed.weight.device
    try:
        return LENSES[manifest.lens](
            {key: torch.from_numpy(array).to(device) for key, array in arrays.items()},
            {**manifest.params, "file": manifest.file},
        )
    except PatchlensError as error:
        raise type(error)(f"{name}: {error}") from error
    except (KeyError, TypeError, ValueError) as error:
        raise FormatError(
            f"{name}: the lens is not as specified ({type(error).__name__}: {error})"
        ) from error


def read_manifest(path: str | Path) -> LensManifest:
    """Return what a lens file says of itself, all its hashes checked.

    Raises:
        FormatError: as `read_lens`.
    """
    return _read(Path(path))[1]


def _read(path: Path) -> tuple[dict[str, Any], LensManifest]:
    arrays, manifest = SEAL.read(path)
    try:
        found = LensManifest(
            lens=manifest["lens"],
            params=dict(manifest["params"]),
            model={"name": manifest["model"]["name"], "revision": manifest["model"]["revision"]},
            unembed=manifest["unembed"],
            report=manifest["report"],
            file=sha256(json.dumps(manifest, sort_keys=True).encode()),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise FormatError(
            f"{path.name}: the manifest is not as specified ({type(error).__name__}: {error})"
        ) from error
    if found.lens not in LENSES:
        raise FormatError(
            f"{path.name}: a lens of the name {found.lens!r}, which this patchlens does not know; it reads "
            f"{', '.join(sorted(LENSES))}"
        )
    return arrays, found


def unembed_sha256(unembed: Unembed) -> str:
    """Name an unembedding: lm_head weight and bias, final norm's weights, scale and soft-cap.

    Taken from the values rounded to bfloat16, so that a model keeps its name in float32 and bfloat16. Models
    that share their unembedding, such as one trained on with a frozen head, share the name.
    """
    hasher = hashlib.sha256(f"{unembed.scale} {unembed.softcap}".encode())
    parts = {"weight": unembed.weight, "bias": unembed.bias, **_norm_weights(unembed.final_norm)}
    for name, part in parts.items():
        if part is not None:
            hasher.update(f"{name} {tuple(part.shape)}".encode())
            for data in _rounded(part):
                hasher.update(data)
    return hasher.hexdigest()


def _norm_weights(norm: object) -> dict[str, Tensor]:
    found: Mapping[str, Any] = norm.state_dict() if isinstance(norm, nn.Module) else vars(norm)
    return {f"norm.{key}": part for key, part in sorted(found.items()) if isinstance(part, Tensor)}


def _rounded(part: Tensor) -> Iterator[bytes]:
    for rows in part.detach().reshape(len(part), -1).split(_ROWS):
        yield rows.to(torch.bfloat16).cpu().contiguous().view(torch.int16).numpy().tobytes()
