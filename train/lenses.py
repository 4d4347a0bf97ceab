"""Fit the lenses that come with a bundled model: ``python -m train.lenses demo`` or ``demo-cross``.

States are kept in a folder beside the lens until it is done, so a stopped run goes on where it was.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import torch

from patchlens.demo import bundled_models
from patchlens.fit import TunedSettings, fit_tuned, read_items
from patchlens.run import load
from train.export import MODELS

LENSES = MODELS.parent / "lenses"
SCENES = 600
TUNED = TunedSettings(strengths=(1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0), method="gradient", patches=40)


def fit(name: str, folder: Path, scenes: int) -> None:
    """Fit the tuned lens of a bundled model and write it with its reports."""
    folder.mkdir(parents=True, exist_ok=True)
    data = f"scenes:{scenes}"
    start = time.monotonic()

    def tell(what: str, done: int, total: int, note: str = "") -> None:
        if note or done == total or done % 100 == 0:
            passed = f"{time.monotonic() - start:6.0f} s"
            print(f"{passed}  {what} {done}/{total} {note}", file=sys.stderr, flush=True)

    out = folder / "tuned.safetensors"
    result = fit_tuned(load(name), read_items(data), TUNED, out=out, data=data, progress=tell)
    print(result.report.control.sentence if result.report.control else "no control")
    print(f"{time.monotonic() - start:.0f} s")


def main() -> None:
    """Fit what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=tuple(bundled_models()))
    parser.add_argument("--scenes", type=int, default=SCENES)
    parser.add_argument("--out", type=Path, default=LENSES)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    fit(arguments.name, arguments.out / arguments.name, arguments.scenes)


if __name__ == "__main__":
    main()
