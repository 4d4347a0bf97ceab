"""The bundled models, the pictures to try them on, and how far they can be trusted."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from patchlens.errors import ImageError

_HERE = Path(__file__).parent
GENERIC_PROMPT = "Describe the picture."
"""A prompt about any picture that the bundled models were taught."""


@dataclass(frozen=True)
class DemoPicture:
    """A bundled picture with a prompt worth asking of it.

    ``kind`` is the kind of its scene, from plain texture to collage; ``targets`` are words whose
    course through the layers is worth watching; ``answer`` is the right answer and ``given`` what each
    bundled model answers, right or wrong.
    """

    file: Path
    title: str
    prompt: str
    kind: str
    targets: tuple[str, ...]
    answer: str
    given: dict[str, str]


def bundled_models() -> dict[str, Path]:
    """Folders of the bundled models, by name: ``demo`` and ``demo-cross``."""
    return {name: _HERE / "models" / name for name in ("demo", "demo-cross")}


def bundled_lenses(model: str) -> dict[str, Path]:
    """Files of the lenses that were fitted for a bundled model, by name; none for any other model."""
    if model not in bundled_models():
        return {}
    return {path.stem: path for path in sorted((_HERE / "lenses" / model).glob("*.safetensors"))}


def demo_pictures() -> tuple[DemoPicture, ...]:
    """The bundled pictures, simplest first."""
    folder = _HERE / "pictures"
    entries: list[dict[str, Any]] = json.loads((folder / "pictures.json").read_text(encoding="utf-8"))
    return tuple(
        DemoPicture(
            folder / entry["file"],
            entry["title"],
            entry["prompt"],
            entry["kind"],
            tuple(entry["targets"]),
            entry["answer"],
            dict(entry["given"]),
        )
        for entry in entries
    )


def demo_picture(name: str) -> Path:
    """File of a bundled picture, by its name such as ``cat``.

    Raises:
        ImageError: there is none of that name.
    """
    file = _HERE / "pictures" / f"{name}.png"
    if not file.is_file():
        known = ", ".join(picture.file.stem for picture in demo_pictures())
        raise ImageError(f"there is no bundled picture {name!r}: choose of {known}")
    return file
