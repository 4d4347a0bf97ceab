"""Options that commands share, and the checks that come before a model loads."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from patchlens.errors import OutputError, PromptError, SelectionError
from patchlens.files import output_path

if TYPE_CHECKING:
    from patchlens.data.item import Item
    from patchlens.pictures.open import OpenedPicture
    from patchlens.run import Model


def checked(check: Callable[[Any], None], **given: Any) -> Parameter:
    """An option whose value is looked at before anything runs, if it is given."""

    def validator(_: Any, value: Any) -> None:
        if value is not None:
            check(value)

    return Parameter(validator=validator, **given)


def check_writable(path: Path, *suffixes: str) -> None:
    """Say what is wrong with an output path.

    Raises:
        OutputError: another suffix, no such folder, or it is a folder.
    """
    if output_path(path, *suffixes).is_dir():
        raise OutputError(f"cannot write {path}: it is a folder")


def writes(*suffixes: str, **given: Any) -> Parameter:
    """A file to write, by the suffixes that it may have."""
    return checked(lambda path: check_writable(path, *suffixes), **given)


def asks(what: str, **given: Any) -> Parameter:
    """Text, or several, with something in it."""

    def check(texts: str | Sequence[str]) -> None:
        if not all(text.strip() for text in ([texts] if isinstance(texts, str) else texts)):
            raise PromptError(f"{what} is empty: write at least a word")

    return checked(check, **given)


def check_lenses(names: str | Sequence[str]) -> None:
    """Look lenses up, as far as that goes without their model.

    Raises:
        SelectionError: there is none of that name.
        FormatError: there is no such file, or it holds no lens.
    """
    from patchlens.lens.files import read_manifest
    from patchlens.lens.open import FITTED, UNFITTED
    from patchlens.reading.seal import SUFFIX

    for name in [names] if isinstance(names, str) else names:
        if name.endswith(SUFFIX):
            read_manifest(Path(name).expanduser())
        elif name not in UNFITTED and name not in FITTED:
            known = ", ".join([*UNFITTED, *FITTED])
            raise SelectionError(
                f"there is no lens {name!r}: choose {known}, or a file that ends in {SUFFIX}"
            )


Prompt = asks("the prompt", alias="-p")
Lens = checked(check_lenses)
Flag = Annotated[bool, Parameter(negative=())]
Json = Annotated[bool, Parameter(negative=(), help="Print JSON instead of a table.")]
Pictures = Annotated[
    Path, Parameter(help="Pictures; none for a text-only prompt.", allow_leading_hyphen=False)
]
PageFile = Annotated[Path | None, writes(".html")]
ReadingOut = Annotated[Path | None, writes(".safetensors", alias="-o")]
ReadingFile = Annotated[Path, Parameter(help="A reading, as written by --out.", allow_leading_hyphen=False)]
Tokens = Annotated[int, Parameter(help="Longest answer; 0 for none.", validator=Number(gte=0))]
Position = Annotated[str, Parameter(help="Index in the sequence (negative from the end), or 'answer'.")]
Step = Annotated[int | None, Parameter(help="Answer token number (0 is the first), instead of a position.")]


@dataclass(frozen=True)
class LoadOptions:
    """How a model is loaded.

    Attributes:
        dtype: Of the weights.
        device_map: Such as auto or cuda; the CPU if left out.
        revision: Branch, tag or commit on the hub.
    """

    dtype: Literal["auto", "float32", "bfloat16", "float16", "float64"] = "auto"
    device_map: str | None = None
    revision: str | None = None


@dataclass(frozen=True)
class ModelOptions(LoadOptions):
    """Which model, and how it is loaded.

    Attributes:
        model: demo, demo-cross, a folder, or a hub model id.
    """

    model: Annotated[str, Parameter(alias="-m")] = "demo"

    def load(self) -> Model:
        """Load it.

        Raises:
            PatchlensError: there is none of that name, or it cannot be read.
        """
        from patchlens.run import load

        return load(self.model, dtype=self.dtype, device_map=self.device_map, revision=self.revision)


def open_pictures(paths: Sequence[Path]) -> list[OpenedPicture]:
    """Open pictures before a model loads.

    Raises:
        ImageError: one is missing, damaged or too large, or an address.
    """
    from patchlens.pictures.open import open_picture

    return [open_picture(re.sub(r"^(https?):/", r"\1://", str(path))) for path in paths]


def check_pictures(items: Sequence[Item]) -> None:
    """Look whether the pictures of items are there, and whether the first one opens.

    Raises:
        ImageError: one is missing, or the first is no picture; says which item it is of.
    """
    from patchlens.data.item import PictureFile

    for item in items:
        paths = [source.path for source in item.sources if isinstance(source, PictureFile)]
        if item is items[0] or not all(path.is_file() for path in paths):
            item.open()
