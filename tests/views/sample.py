"""A packed reading and its numbers, for the viewer's own tests: cd tests && python -m views.sample."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchlens.reading.reading import Reading
from patchlens.reading.records import Channel
from patchlens.views.payload import KINDS, pack
from readings import make_reading
from views import unpacked

PATH = Path(__file__).parents[2] / "viewer" / "test" / "sample.json"


def sample() -> Reading:
    """Vision states, 300 tokens and more, channels of both codes with a missing value."""
    reading = make_reading(
        cross=True, layout="tiles", rows=2, cols=4, steps=2, k=20, words=[f"w{i}" for i in range(700)],
        targets=(), prompt_tokens=(3, 699),
    )  # fmt: skip
    effect = np.random.default_rng(1).normal(0, 2, reading.entropy.shape)
    effect[1, 2], effect[0, 0] = np.nan, 0
    share = np.linspace(0, 1, 16, dtype=np.float32).reshape(2, 8)
    channels = (
        Channel("causal_effect", ("layer", "pos"), effect, "nats", "What ablating does."),
        Channel("attention", ("head", "vision"), share, "share", "Where it looks."),
    )
    return dataclasses.replace(reading, channels=channels)


def contents(reading: Reading) -> dict[str, Any]:
    """The packed reading; beside it what it must unpack to, coded numbers as the code holds them."""
    packed = pack(reading)
    header, body = unpacked.split(packed)
    arrays = header["arrays"]
    return {
        "packed": packed,
        "top_ids": reading.top_ids.tolist(),
        "top_logprobs": _listed(np.moveaxis(-unpacked.reals(body, arrays["top_logprobs"]), 0, 2)),
        "entropy": _listed(unpacked.reals(body, arrays["entropy"])),
        "kl": _listed(unpacked.reals(body, arrays["kl_to_final"])),
        "positions": _columns(reading.positions),
        "vision": _columns(reading.vision),
        "channels": [
            {
                "name": spec["name"],
                "axes": spec["axes"],
                "unit": spec["unit"],
                "description": spec["description"],
                "shape": spec["array"]["shape"],
                "signed": spec["array"]["code"] == "signed",
                "values": _listed(unpacked.reals(body, spec["array"]).ravel()),
            }
            for spec in header["channels"]
        ],
    }


def _columns(places: Any) -> dict[str, Any]:
    columns = {field.name: getattr(places, field.name) for field in dataclasses.fields(places)}
    kind = [KINDS.index(str(kind)) for kind in columns.pop("kind")]
    return {"kind": kind, **{name: _listed(values.ravel()) for name, values in columns.items()}}


def _listed(values: NDArray[Any]) -> list[Any]:
    """Nested lists, None for NaN and numbers for truth values."""
    if values.dtype.kind != "f":
        return values.astype(int).tolist()
    return np.where(np.isfinite(values), values.astype(object), None).tolist()


if __name__ == "__main__":
    PATH.write_text(json.dumps(contents(sample()), separators=(",", ":")) + "\n", "utf-8")
