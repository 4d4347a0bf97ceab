"""The answer positions of a reading as JSON, for other programs."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np

from patchlens.reading.reading import Reading


def to_json(reading: Reading) -> str:
    """What `print_reading` tells, of every answer position held; log-probabilities in nats, ranks from 0."""
    columns = np.flatnonzero(reading.positions.step >= 0).tolist()
    return json.dumps(
        {
            "model": {
                "name": reading.model.name,
                "revision": reading.model.revision,
                "dtype": reading.model.dtype,
            },
            "lens": reading.lens,
            "prompt": reading.prompt,
            "answer": {"text": reading.answer.text, "ids": list(reading.answer.ids)},
            "pictures": [
                {
                    "name": p.name,
                    "width": p.grid.width,
                    "height": p.grid.height,
                    "rows": p.grid.rows,
                    "cols": p.grid.cols,
                }
                for p in reading.pictures
            ],
            "notes": list(reading.notes),
            "steps": [_step(reading, column) for column in columns],
        },
        ensure_ascii=False,
        allow_nan=False,
        indent=1,
    )


def _step(reading: Reading, column: int) -> dict[str, Any]:
    position = int(reading.positions.index[column])
    return {
        "step": int(reading.positions.step[column]),
        "position": position,
        "layers": [_layer(reading, row, column, position) for row in range(len(reading.layers))],
    }


def _layer(reading: Reading, row: int, column: int, position: int) -> dict[str, Any]:
    layer = int(reading.layers[row])
    return {
        "layer": layer,
        "entropy": _number(reading.entropy[row, column]),
        "kl_to_final": _number(reading.kl_to_final[row, column]),
        "top": [
            {"token": c.token, "piece": c.piece, "logprob": _number(c.logprob)}
            for c in reading.top(layer, position)
        ],
        "targets": [
            {
                "word": target.word,
                "token": target.token,
                "logprob": _number(reading.target_logprobs[row, column, i]),
                "rank": int(reading.target_ranks[row, column, i]),
            }
            for i, target in enumerate(reading.targets)
        ],
    }


def _number(value: float | np.floating[Any]) -> float | None:
    return round(float(value), 6) if math.isfinite(value) else None
