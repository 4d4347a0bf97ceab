"""What a study is: models, lenses and items, read from a small YAML or JSON file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final, TypeVar, cast

from patchlens.data.item import Item
from patchlens.data.values import check_keys
from patchlens.errors import StudyError, naming
from patchlens.reading.seal import SUFFIX
from patchlens.studies.recipe.parse import parse
from patchlens.studies.recipe.settings import SETTINGS, Settings, read_settings
from patchlens.studies.recipe.sources import read_sources

MODEL_KEYS: Final = ("name", "load", "dtype", "device_map", "revision", "ask")
PROMPT: Final = "{prompt}"
LENS_KEYS: Final = ("name", "file")
DEFAULTS: Final = {"models": ["demo"], "lenses": ["logit"]}
T = TypeVar("T", "ModelSpec", "LensSpec")


@dataclass(frozen=True)
class ModelSpec:
    """A model to read: ``name`` is what the result calls it, ``load`` what `patchlens.load` is given.

    ``ask`` is a frame for its prompts, with `PROMPT` in it.
    """

    name: str
    load: str
    dtype: str = "auto"
    device_map: Any = None
    revision: str | None = None
    ask: str = PROMPT


@dataclass(frozen=True)
class LensSpec:
    """A lens to read through: ``name`` is what the result calls it, ``find`` its name or file."""

    name: str
    find: str


@dataclass(frozen=True)
class Study:
    """Every model x lens x item once."""

    name: str
    models: tuple[ModelSpec, ...]
    lenses: tuple[LensSpec, ...]
    items: tuple[Item, ...]
    settings: Settings
    base: Path = Path()

    def asked(self) -> dict[str, Any]:
        """All that changes the result, as JSON values, except what is in the files it names.

        Paths below ``base``, the spec's folder, are told from there, so that it can be moved.
        """
        settings = {**asdict(self.settings), "dictionary": self._told(self.settings.dictionary)}
        return {
            "name": self.name,
            "models": [{**asdict(model), "load": self._told(model.load)} for model in self.models],
            "lenses": [{**asdict(lens), "find": self._told(lens.find)} for lens in self.lenses],
            "settings": json.loads(json.dumps(settings)),
            "items": [
                {
                    "name": item.name,
                    "prompt": item.prompt,
                    "pictures": [source.key for source in item.sources],
                    "expected": list(item.expected),
                    "concepts": list(item.concepts),
                    "group": item.group,
                }
                for item in self.items
            ],
        }

    def _told(self, name: str | None) -> str | None:
        if name is None or not Path(name).is_relative_to(self.base):
            return name
        return Path(name).relative_to(self.base).as_posix()


def read_study(
    path: str | Path, *, models: Sequence[str] = (), lenses: Sequence[str] = (), prompt: str | None = None
) -> Study:
    """Read a spec; paths in it are relative to it. A path of items alone is a spec too (`read_sources`).

    Args:
        path: a .yaml or .json file, or items: a folder, a .jsonl file, mapping.json, annotations.
        models: in place of the spec's; the model demo if neither has any.
        lenses: in place of the spec's; the lens logit if neither has any.
        prompt: what to ask of each picture, where the path is of items alone.

    Raises:
        StudyError, DataError: it is missing, no YAML or JSON, or a part of it is wrong; says which and why.
    """
    path = Path(path).expanduser()
    content = {} if path.is_dir() or path.suffix == ".jsonl" else parse(path)
    if not content.keys() & {"models", "lenses", "items"} or isinstance(content.get("images"), list):
        source = {"data": path.name, **({} if prompt is None else {"prompt": prompt})}
        content = {"name": path.stem, "items": [source]}
    elif prompt is not None:
        raise StudyError(f"{path} has prompts of its own: leave --prompt out")
    with naming(str(path), StudyError):
        check_keys(content, ("name", "models", "lenses", "items", *SETTINGS))
    settings = read_settings(content, path)
    if settings.dictionary is not None:
        settings = replace(settings, dictionary=str(path.parent / settings.dictionary))
    named = [{"name": name, "load": name} for name in models]
    found = [{"name": Path(name).stem, "file": name} if name.endswith(SUFFIX) else name for name in lenses]
    return Study(
        name=_text(content.get("name", path.stem), f'{path}: "name"'),
        models=_unique("model", [_model(one, path) for one in named or _listed(content, "models")], path),
        lenses=_unique("lens", [_lens(one, path) for one in found or _listed(content, "lenses")], path),
        items=read_sources(content.get("items"), path),
        settings=settings,
        base=path.parent,
    )


def _model(value: Any, path: Path) -> ModelSpec:
    if isinstance(value, str):
        value = {"name": value}
    entry = _entry(value, MODEL_KEYS, f"{path}: a model")
    load = _text(entry.get("load", entry.get("name")), f"{path}: what a model is loaded from")
    if (path.parent / load).is_dir():
        load = str(path.parent / load)
    name = _text(entry.get("name", entry.get("load")), f"{path}: the name of a model")
    if PROMPT not in _text(entry.get("ask", PROMPT), f'{path}: "ask" of model {name}'):
        raise StudyError(f'{path}: "ask" of model {name} has no {PROMPT} in it, where the prompt goes')
    for key in ("dtype", "revision"):
        if key in entry:
            _text(entry[key], f'{path}: "{key}" of model {name}')
    return ModelSpec(name, load, **{key: entry[key] for key in MODEL_KEYS[2:] if key in entry})


def _lens(value: Any, path: Path) -> LensSpec:
    if isinstance(value, str):
        value = {"name": Path(value).stem, "file": value} if value.endswith(SUFFIX) else {"name": value}
    entry = _entry(value, LENS_KEYS, f"{path}: a lens")
    find = _text(entry.get("file", entry.get("name")), f"{path}: a lens")
    name = _text(entry.get("name", Path(find).stem), f"{path}: the name of a lens")
    if "file" in entry and not find.endswith(SUFFIX):
        raise StudyError(
            f'{path}: "file" of lens {name} is {find!r}, but a lens is a file that ends in {SUFFIX}'
        )
    return LensSpec(name, str(path.parent / find) if "file" in entry else find)


def _entry(value: Any, keys: tuple[str, ...], where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise StudyError(f"{where}: expected a name or a mapping with {', '.join(keys)}, got {value!r:.60}")
    entry = cast("dict[str, Any]", value)
    with naming(where, StudyError):
        check_keys(entry, keys)
    return entry


def _listed(content: Mapping[str, Any], name: str) -> list[Any]:
    value = content.get(name) or DEFAULTS[name]
    return cast("list[Any]", value if isinstance(value, list) else [value])


def _unique(what: str, entries: list[T], path: Path) -> tuple[T, ...]:
    names = [entry.name for entry in entries]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise StudyError(f"{path}: {what} {twice!r} is there twice: give each a name of its own")
    return tuple(entries)


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise StudyError(f"{where}: expected text, got {value!r:.60}")
    return value
