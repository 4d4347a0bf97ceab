"""Read and write the file format of a reading (docs/format.md): safetensors plus a JSON manifest."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from patchlens.errors import FormatError
from patchlens.files import output_path, write_atomically
from patchlens.pictures.grid import Grid, Places, Tile
from patchlens.reading.reading import Reading
from patchlens.reading.records import Answer, Channel, ModelInfo, Picture, Positions, Target
from patchlens.reading.seal import SUFFIX, Seal
from patchlens.reading.validate import ARRAYS, check

SEAL = Seal("reading", "patchlens", version=1)

P = TypeVar("P", bound=Places)

_PLACE_COLUMNS = {"kind": "U11", "image": "int32", "tile": "int32", "row": "int32", "col": "int32"}
_POSITION_COLUMNS = {"index": "int32", "token": "int32", "step": "int32", "generated": "bool"}


def save_reading(reading: Reading, path: str | Path) -> Path:
    """Write a reading; an interrupted or failed write leaves no file and an old one untouched.

    Raises:
        OutputError: the file cannot be written, or its name does not end in .safetensors.
    """
    return write_atomically(output_path(path, SUFFIX), to_bytes(reading))


def to_bytes(reading: Reading) -> bytes:
    """The file's bytes; the same reading always gives the same bytes."""
    arrays = {name: getattr(reading, name) for name in ARRAYS}
    arrays |= {f"channel.{c.name}": c.values for c in reading.channels}
    arrays |= {
        f"picture.{i}": np.frombuffer(picture.data, np.uint8) for i, picture in enumerate(reading.pictures)
    }
    return SEAL.to_bytes(arrays, _manifest(reading))


def _manifest(reading: Reading) -> dict[str, Any]:
    return {
        "model": dataclasses.asdict(reading.model),
        "lens": {"name": reading.lens, "params": dict(reading.lens_params)},
        "prompt": reading.prompt,
        "answer": {"text": reading.answer.text, "ids": list(reading.answer.ids)},
        "layers": reading.layers.tolist(),
        "positions": _columns(reading.positions, _PLACE_COLUMNS | _POSITION_COLUMNS),
        "vision": None if reading.vision is None else _columns(reading.vision, _PLACE_COLUMNS),
        "tokens": {str(token): piece for token, piece in sorted(reading.pieces.items())},
        "targets": [dataclasses.asdict(target) for target in reading.targets],
        "pictures": [
            {"name": p.name, "mime": p.mime, "grid": dataclasses.asdict(p.grid)} for p in reading.pictures
        ],
        "channels": [
            {"name": c.name, "axes": list(c.axes), "unit": c.unit, "description": c.description}
            for c in reading.channels
        ],
        "notes": list(reading.notes),
        "versions": dict(reading.versions),
    }


def _columns(places: Places, columns: Mapping[str, str]) -> dict[str, Any]:
    table = {name: getattr(places, name).tolist() for name in columns}
    table["box"] = [None if np.isnan(box).any() else box.tolist() for box in places.box]
    return table


def open_reading(path: str | Path) -> Reading:
    """Read a file back, checking its version, hashes, shapes and references first.

    Raises:
        FormatError: missing, truncated, foreign, damaged, newer, or inconsistent with itself.
    """
    path = Path(path)
    arrays, manifest = SEAL.read(path)
    try:
        reading = _reading(arrays, manifest)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError) as error:
        raise FormatError(
            f"{path.name}: the manifest is not as specified ({type(error).__name__}: {error})"
        ) from error
    check(reading, path.name)
    return reading


def _reading(arrays: dict[str, NDArray[Any]], manifest: dict[str, Any]) -> Reading:
    pictures = manifest["pictures"]
    return Reading(
        model=ModelInfo(**manifest["model"]),
        lens=_text(manifest["lens"]["name"]),
        lens_params=manifest["lens"]["params"],
        prompt=_text(manifest["prompt"]),
        answer=Answer(_text(manifest["answer"]["text"]), tuple(map(int, manifest["answer"]["ids"]))),
        layers=np.array(manifest["layers"], np.int32),
        positions=_places(Positions, manifest["positions"], _PLACE_COLUMNS | _POSITION_COLUMNS),
        pieces={int(token): _text(piece) for token, piece in manifest["tokens"].items()},
        **{name: arrays[name] for name in ARRAYS},
        targets=tuple(Target(t["word"], int(t["token"]), tuple(t["pieces"])) for t in manifest["targets"]),
        pictures=tuple(
            Picture(_text(p["name"]), _text(p["mime"]), arrays[f"picture.{i}"].tobytes(), _grid(p["grid"]))
            for i, p in enumerate(pictures)
        ),
        vision=None if manifest["vision"] is None else _places(Places, manifest["vision"], _PLACE_COLUMNS),
        channels=tuple(
            Channel(c["name"], tuple(c["axes"]), arrays[f"channel.{c['name']}"], c["unit"], c["description"])
            for c in manifest["channels"]
        ),
        notes=tuple(map(_text, manifest["notes"])),
        versions=manifest["versions"],
    )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected a string, found {value!r:.40}")
    return value


def _places(make: Callable[..., P], table: dict[str, list[Any]], columns: Mapping[str, str]) -> P:
    boxes = [[np.nan] * 4 if box is None else box for box in table["box"]]
    return make(
        **{name: np.array(table[name], dtype) for name, dtype in columns.items()},
        box=np.array(boxes, np.float32).reshape(len(boxes), 4),
    )


def _grid(value: dict[str, Any]) -> Grid:
    tiles = tuple(Tile(**tile) for tile in value["tiles"])
    return Grid(value["width"], value["height"], value["rows"], value["cols"], tiles)
