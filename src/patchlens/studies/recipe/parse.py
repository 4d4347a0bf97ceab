"""The text of a spec as values: what is written is what is meant, and nothing is there twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from patchlens.data.values import json_object, text_in
from patchlens.errors import DataError, MissingExtraError, StudyError, naming
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
    with naming(str(path), StudyError):
        text = text_in(path)
        return json_object(text) if path.suffix == ".json" else _yaml(text)


def _yaml(text: str) -> dict[str, Any]:
    try:
        import yaml
    except ModuleNotFoundError:
        raise MissingExtraError("a study", "pyyaml", "study") from None
    try:
        content = yaml.load(text, Loader=_loader())
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        raise DataError(f"this is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise DataError(f"expected models, lenses and items by name, got {type(content).__name__}")
    return {str(key): value for key, value in content.items()}


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
                raise DataError(f"{twice!r} is there twice")
            return super().construct_mapping(node, deep)

    add: Any = Loader.add_implicit_resolver
    add("tag:yaml.org,2002:bool", re.compile(r"^(true|false)$"), list("tf"))
    add("tag:yaml.org,2002:int", re.compile(r"^-?(0|[1-9]\d*)$"), list("-0123456789"))
    add("tag:yaml.org,2002:null", re.compile(r"^(null|~|)$"), ["n", "~", ""])
    return Loader
