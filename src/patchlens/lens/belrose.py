"""Checkpoints of the tuned-lens package (Belrose et al. 2023), read and written."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from patchlens.axes import FitKind
from patchlens.errors import FormatError, LensError, OutputError
from patchlens.files import write_atomically
from patchlens.lens.open import adapter_of
from patchlens.lens.tuned import Translators, TunedLens
from patchlens.models.unembed import Unembed

CONFIG, PARAMS = "config.json", "params.pt"
_LENS_TYPE = "linear_tuned_lens"


def read_tuned_lens(folder: str | Path, model: object = None, *, kind: FitKind = "text") -> TunedLens:
    """Read a lens that the tuned-lens package saved; it becomes a lens of the form ``before_norm``.

    Translator ``i`` of the package reads layer ``i`` of ours. Only tensors are unpickled.

    Args:
        folder: holds ``config.json`` and ``params.pt``.
        model: that it shall read, or its unembedding; None leaves that unchecked.
        kind: the kind of position it was fitted on; stands in for the others.

    Raises:
        FormatError: a file is missing, damaged or not of this kind.
        LensError: it was fitted for a model with another lm_head. (The package only warns.)
    """
    folder = Path(folder)
    unembed = model if model is None or isinstance(model, Unembed) else adapter_of(model).unembed
    config = _config(folder)
    if unembed is not None and config.get("unembed_hash") not in {None, unembed_hash(unembed)}:
        raise LensError(
            f"{folder} was fitted for {config['base_model_name_or_path']}, whose lm_head is not this model's"
        )
    try:
        n_layers, d_model = int(config["num_hidden_layers"]), int(config["d_model"])
        state = _state(folder)
        weight = torch.stack([state[f"{layer}.weight"] for layer in range(n_layers)]).float()
        no_bias = torch.zeros(d_model)
        bias = torch.stack([state.get(f"{layer}.bias", no_bias) for layer in range(n_layers)]).float()
        known = {f"{layer}.{part}" for layer in range(n_layers) for part in ("weight", "bias")}
        if (
            weight.shape != (n_layers, d_model, d_model)
            or bias.shape != (n_layers, d_model)
            or state.keys() - known
        ):
            raise ValueError(f"translators {tuple(weight.shape)} and {sorted(state.keys() - known)}")
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise FormatError(f"{folder}: {PARAMS} does not hold what {CONFIG} says ({error})") from error
    device = "cpu" if unembed is None else unembed.weight.device
    data = f"as the tuned-lens package saved it for {config['base_model_name_or_path']}"
    lens = TunedLens("before_norm", {kind: Translators(weight, bias)}, how="tuned-lens package", data=data)
    return lens.to(device)


def write_tuned_lens(
    lens: TunedLens,
    folder: str | Path,
    *,
    model: str,
    unembed: Unembed,
    revision: str | None = None,
    kind: FitKind = "text",
) -> Path:
    """Write the translators of one kind of position as the tuned-lens package does; makes the folder.

    Raises:
        LensError: the lens is of the form ``after_norm``, or was not fitted for this kind.
        OutputError: a file cannot be written.
    """
    if lens.form != "before_norm":
        raise LensError(
            "this lens translates after the final norm, which the tuned-lens package cannot do: fit one from "
            "TunedLens.identity, which translates before it, or save it with save_lens"
        )
    if kind not in lens.kinds:
        raise LensError(f"this lens was not fitted for {kind} positions: choose one of {sorted(lens.kinds)}")
    folder, own = Path(folder), lens.kinds[kind]
    config = {
        "base_model_name_or_path": model,
        "d_model": lens.d_model,
        "num_hidden_layers": lens.n_layers,
        "bias": True,
        "base_model_revision": revision,
        "unembed_hash": unembed_hash(unembed),
        "lens_type": _LENS_TYPE,
    }
    state = {f"{layer}.weight": part.cpu().clone() for layer, part in enumerate(own.weight)}
    state |= {f"{layer}.bias": part.cpu().clone() for layer, part in enumerate(own.bias)}
    buffer = io.BytesIO()
    torch.save(state, buffer)
    try:
        folder.mkdir(exist_ok=True, parents=True)
    except OSError as error:
        raise OutputError(f"cannot make the folder {folder}: {error.strerror or error}") from error
    write_atomically(folder / PARAMS, buffer.getvalue())
    write_atomically(folder / CONFIG, json.dumps(config))
    return folder


def unembed_hash(unembed: Unembed) -> str:
    """The tuned-lens package's name of an lm_head: a hash of NumPy's short print of it."""
    values = unembed.weight.detach().cpu().float().numpy()
    with np.printoptions(threshold=1000, edgeitems=3, linewidth=75, suppress=False):
        return hashlib.sha256(np.array_str(values, precision=1).encode()).hexdigest()


def _config(folder: Path) -> Mapping[str, Any]:
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except OSError as error:
        raise FormatError(f"cannot read {folder / CONFIG}: {error.strerror or error}") from error
    except ValueError as error:
        raise FormatError(f"{folder / CONFIG} is not JSON ({error})") from error
    wanted = {"base_model_name_or_path", "d_model", "num_hidden_layers"}
    if not isinstance(config, dict) or not wanted <= config.keys():
        raise FormatError(f"{folder / CONFIG} is not of the tuned-lens package: expected {sorted(wanted)}")
    if config.get("lens_type", _LENS_TYPE) != _LENS_TYPE:
        raise FormatError(f"{folder}: a {config['lens_type']}, expected a {_LENS_TYPE}")
    return cast("dict[str, Any]", config)


def _state(folder: Path) -> Mapping[str, Tensor]:
    try:
        state = torch.load(folder / PARAMS, map_location="cpu", weights_only=True)
    except OSError as error:
        raise FormatError(f"cannot read {folder / PARAMS}: {error.strerror or error}") from error
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise FormatError(f"{folder / PARAMS} is damaged, or holds more than tensors") from error
    if not isinstance(state, dict) or not all(isinstance(part, Tensor) for part in state.values()):
        raise FormatError(f"{folder / PARAMS} does not hold tensors by name")
    return cast("dict[str, Tensor]", state)
