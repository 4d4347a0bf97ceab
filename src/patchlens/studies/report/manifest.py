"""What a study says of itself in its folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from patchlens.errors import FormatError
from patchlens.studies.layout import FORMAT_VERSION, MANIFEST

_NAMES = {str: "text", int: "a number", list: "a list", dict: "an object"}


@dataclass(frozen=True)
class Manifest:
    """Name, models, lenses, number of items, and versions of packages of a study.

    ``left_out`` says why a model was not read through a lens; ``vocab_sizes`` holds models whose vocabulary
    is known.
    """

    name: str
    models: tuple[str, ...]
    lenses: tuple[str, ...]
    items: int
    versions: Mapping[str, str]
    left_out: Mapping[tuple[str, str], str]
    vocab_sizes: Mapping[str, int]


def read_manifest(folder: Path) -> Manifest:
    """Read what a study says of itself.

    Raises:
        FormatError: the folder holds no study, or none that this version can read; says what is wrong.
    """
    path = folder / MANIFEST
    told = _Part(_content(path), str(path))
    version = told.get("format_version", int)
    if version != FORMAT_VERSION:
        raise FormatError(
            f"{path} is of format {version}, this version of patchlens reads {FORMAT_VERSION}; "
            "use the version that wrote it"
        )
    about = {model: told.part("about").part(model) for model in told.part("about").content}
    sizes = {model: own.part("model").content.get("vocab_size") for model, own in about.items()}
    return Manifest(
        told.get("name", str),
        tuple(one.get("name", str) for one in told.parts("models")),
        tuple(one.get("name", str) for one in told.parts("lenses")),
        len(told.get("items", list)),
        {name: str(version) for name, version in told.part("versions").content.items()},
        {
            (model, lens): str(reason)
            for model, own in about.items()
            for lens, reason in own.part("left_out").content.items()
        },
        {model: size for model, size in sizes.items() if type(size) is int and size > 1},
    )


def _content(path: Path) -> Any:
    try:
        return json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise FormatError(
            f"{path.parent} holds no study: there is no {MANIFEST}; "
            "name the folder that patchlens study wrote"
        ) from None
    except NotADirectoryError:
        raise FormatError(f"{path.parent} is a file; name the folder that patchlens study wrote") from None
    except OSError as error:
        raise FormatError(f"cannot read {path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise FormatError(f"{path} is not the description of a study: it is not UTF-8 text") from error
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{path} is not the description of a study: it is not JSON ({error})") from error


@dataclass(frozen=True)
class _Part:
    """An object within the description, and where it stands, for errors."""

    content: Any
    where: str

    def __post_init__(self) -> None:
        _expect(self.content, dict, self.where)

    def get(self, key: str, kind: type[Any]) -> Any:
        if key not in self.content:
            raise FormatError(f"{self.where} is not the description of a study: it has no {key!r}")
        _expect(self.content[key], kind, f"{self.where}, {key}")
        return self.content[key]

    def part(self, key: str) -> _Part:
        """An object that may be missing: an empty one then."""
        return _Part(self.content.get(key, {}), f"{self.where}, {key}")

    def parts(self, key: str) -> list[_Part]:
        return [_Part(one, f"{self.where}, {key} {i}") for i, one in enumerate(self.get(key, list), 1)]


def _expect(value: object, kind: type[Any], where: str) -> None:
    if not isinstance(value, kind) or isinstance(value, bool):
        raise FormatError(f"{where}: expected {_NAMES[kind]}, found {json.dumps(value):.40}")
