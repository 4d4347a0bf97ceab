"""The text of a spec as values: what is written is what is meant, and nothing is there twice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from patchlens.errors import MissingExtraError, StudyError
from patchlens.pictures.open import PICTURE_SUFFIXES


def parse(path: Path) -> dict[str, Any]:
    """Read a .json file as JSON, any other as YAML.

    In YAML only ``true``, ``false``, ``null`` and decimal whole numbers are more than text: ``no``, ``007``,
    ``1.50`` and dates stay as they are written.

    Raises:
        StudyError: it is missing, neither, has a key twice, or is no mapping.
        MissingExtraError: PyYAML is not installed.
    """
    if path.is_dir() or not path.exists():
        raise StudyError(f"there is no file {path}: name a study's spec, a .yaml or .json file")
    if path.suffix.lower() in PICTURE_SUFFIXES:
        raise StudyError(f"{path} is a picture: name a folder of pictures, or a spec")
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise StudyError(f"{path} cannot be read as text: {error}") from error
    content = _json(text, path) if path.suffix == ".json" else _yaml(text, path)
    if not isinstance(content, dict):
        raise StudyError(f"{path}: expected models, lenses and items by name, got {type(content).__name__}")
    return {str(key): value for key, value in content.items()}


def _json(text: str, path: Path) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_once)
    except _TwiceError as error:
        raise StudyError(f"{path}: {error}") from error
    except (ValueError, RecursionError) as error:
        raise StudyError(f"{path} is not JSON: {' '.join(str(error).split())}") from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content: dict[str, Any] = {}
    for key, value in pairs:
        if key in content:
            raise _TwiceError(f"{key!r} is there twice")
        content[key] = value
    return content


class _TwiceError(ValueError):
    pass


def _yaml(text: str, path: Path) -> Any:
    try:
        import yaml
    except ModuleNotFoundError:
        raise MissingExtraError("a study", "pyyaml", "study") from None
    try:
        return yaml.load(text, Loader=_loader())
    except _TwiceError as error:
        raise StudyError(f"{path}: {error}") from error
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        raise StudyError(f"{path} is not YAML: {' '.join(str(error).split())}") from error


def _loader() -> Any:
    import re

    import yaml

    class Loader(yaml.SafeLoader):
        """Without the guesses of YAML 1.1 about what a text means."""

        yaml_implicit_resolvers: Any = {}  # noqa: RUF012 - as its base has it

        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
            """A mapping whose keys are there once."""
            keys = [self.construct_object(key, deep=True) for key, _ in node.value]
            twice = next((key for key in keys if keys.count(key) > 1), None)
            if twice is not None:
                raise _TwiceError(f"{twice!r} is there twice")
            return super().construct_mapping(node, deep)

    add: Any = Loader.add_implicit_resolver
    add("tag:yaml.org,2002:bool", re.compile(r"^(true|false)$"), list("tf"))
    add("tag:yaml.org,2002:int", re.compile(r"^-?(0|[1-9]\d*)$"), list("-0123456789"))
    add("tag:yaml.org,2002:null", re.compile(r"^(null|~|)$"), ["n", "~", ""])
    return Loader
