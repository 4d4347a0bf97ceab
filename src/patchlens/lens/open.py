"""Lenses by the name or file that a person gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from inspect import isclass, signature
from pathlib import Path
from typing import Any

from patchlens.demo import bundled_lenses
from patchlens.errors import LensError, SelectionError
from patchlens.lens.cross import CrossLens
from patchlens.lens.embedding import EmbeddingLens
from patchlens.lens.files import read_lens, write_lens
from patchlens.lens.lens import Lens, check_name
from patchlens.lens.logit import LogitLens
from patchlens.models.adapter import Adapter
from patchlens.reading.seal import SUFFIX

LensLike = Lens | str | Path
"""A lens, its name or its file, as `open_lens` takes it."""
UNFITTED: dict[str, Callable[[Adapter], Lens]] = {
    "logit": lambda _: LogitLens(),
    "cross": lambda _: CrossLens(),
    "embedding": EmbeddingLens.of,
}
"""Lenses that need no fit."""
FITTED = ("tuned", "jacobian", "latent")
"""Lenses that ``patchlens fit`` makes; the bundled models come with some."""


def is_lens(name: str) -> bool:
    """Whether some model may have a lens of that name, or it is the name of a file."""
    return name in UNFITTED or name in FITTED or name.endswith(SUFFIX)


def open_lens(lens: object, model: object) -> Lens:
    """Return the lens of a name, or of a file that ``patchlens fit`` or `save_lens` wrote.

    Args:
        lens: ``logit``, ``cross``, ``embedding``; ``tuned``, ``jacobian``, ``latent`` where the model comes
            with one; or a path (text or `Path`) that ends in ``.safetensors``. A lens is returned as it is.
        model: what it shall read: what `patchlens.load` returns, or its adapter.

    Raises:
        SelectionError: there is none of that name for this model.
        FormatError: the file is no lens.
        LensError: it was fitted for another model, or what was given is no lens.
    """
    adapter = adapter_of(model)
    if isinstance(lens, Lens):
        check_name(lens)
        return lens
    if not isinstance(lens, str | Path):
        raise LensError(_no_lens(lens))
    name = str(lens)
    if name in UNFITTED:
        return UNFITTED[name](adapter)
    bundled = bundled_lenses(adapter.name)
    if name in bundled:
        return read_lens(bundled[name], adapter.unembed)
    if name.endswith(SUFFIX):
        return read_lens(Path(name).expanduser(), adapter.unembed)
    if name in FITTED:
        raise SelectionError(
            f"no {name} lens comes with {adapter.name}: fit one with patchlens fit {name} --model "
            f"{adapter.name} --data FOLDER --out LENS{SUFFIX}, then give that file as the lens"
        )
    known = ", ".join([*UNFITTED, *FITTED])
    raise SelectionError(f"there is no lens {name!r}: choose {known}, or a file that ends in {SUFFIX}")


def save_lens(
    lens: Lens, path: str | Path, model: object, *, report: Mapping[str, Any] | None = None
) -> Path:
    """Write a fitted lens; an interrupted or failed write leaves no file and an old one untouched.

    Args:
        lens: a tuned, Jacobian or latent lens; its arrays are held in memory twice meanwhile.
        path: where to, ``.safetensors``.
        model: that it was fitted for, as `open_lens` takes it; the file opens for that one only.
        report: what to keep about the fit, as JSON values.

    Raises:
        OutputError: the file cannot be written.
        LensError: no way is known to open such a lens again.
    """
    adapter = adapter_of(model)
    return write_lens(
        lens, path, model=adapter.name, unembed=adapter.unembed, revision=adapter.revision, report=report
    )


def adapter_of(model: object) -> Adapter:
    """Return the adapter of a loaded model.

    Raises:
        LensError: it is no model.
    """
    adapter = model if isinstance(model, Adapter) else getattr(model, "adapter", None)
    if isinstance(adapter, Adapter):
        return adapter
    raise LensError(f"a lens reads a model, and {_said(model)} is none: give what patchlens.load returns")


def _no_lens(given: object) -> str:
    if isclass(given) and issubclass(given, Lens):
        bare = all(own.default is not own.empty for own in signature(given).parameters.values())
        name = getattr(given, "name", None)
        way = f"open_lens({name!r}, model) opens one" if not bare else f"write {given.__name__}()"
        return f"{given.__name__} is a class, not a lens: {way}"
    if callable(given):
        called = getattr(given, "__name__", type(given).__name__)
        return f"{called} is a function, not a lens: write FunctionLens({called}, name='mine')"
    return (
        f"{_said(given)} is no lens: give the name or file of one, a LogitLens() or other lens, or "
        "FunctionLens(function, name='mine')"
    )


def _said(value: object) -> str:
    return f"{value!r:.60}" if isinstance(value, (str, int, float, type(None))) else type(value).__name__
