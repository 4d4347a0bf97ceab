"""Fit the lenses that come with a bundled model: ``python -m train.lenses demo`` or ``demo-cross``.

States for the tuned lens are kept in a folder beside it until it is done, so a stopped run goes on where it
was. How many scenes, captions and states per word were chosen on validation scenes, from seed 9 000 000 on.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

from patchlens.demo import bundled_models
from patchlens.fit.jacobian import fit_jacobian
from patchlens.fit.latent import fit_latent
from patchlens.fit.settings import TunedSettings
from patchlens.fit.tuned import fit_tuned
from patchlens.progress import Tell
from patchlens.run import Model, load
from train.export import MODELS

LENSES = MODELS.parent / "lenses"
TUNED = TunedSettings(strengths=(1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0), method="gradient", patches=40)
SCENES = {"tuned": 3000, "jacobian": 100, "latent": 500}

Fit = Callable[[Model, str, Path, Tell], None]


def tuned(model: Model, data: str, out: Path, tell: Tell) -> None:
    """Fit a tuned lens on scenes, questions and the model's answers; its reports come beside it."""
    result = fit_tuned(model, data, TUNED, out=out, progress=tell)
    print(result.report.control.sentence if result.report.control else "no control")


def jacobian(model: Model, data: str, out: Path, tell: Tell) -> None:
    """Fit every version of the Jacobian lens that the model's positions allow, exactly."""
    fit_jacobian(model, data, out=out, progress=tell)


def latent(model: Model, data: str, out: Path, tell: Tell) -> None:
    """Make a bank of states of words in captions of scenes, in all languages."""
    fit_latent(model, data, out=out, progress=tell)


FITS: dict[str, Fit] = {"tuned": tuned, "jacobian": jacobian, "latent": latent}
OF_MODEL = {"demo": ("tuned", "jacobian", "latent"), "demo-cross": ("tuned", "jacobian")}
"""A latent lens reads patches, and ``demo-cross`` has none among its positions."""


def main() -> None:
    """Fit what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=tuple(bundled_models()))
    parser.add_argument("--lens", action="append", choices=tuple(FITS), help="all of the model's if left out")
    parser.add_argument("--scenes", type=int, help="instead of the usual number")
    parser.add_argument("--out", type=Path, default=LENSES)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    model, folder = load(arguments.name), arguments.out / arguments.name
    folder.mkdir(parents=True, exist_ok=True)
    for lens in arguments.lens or OF_MODEL[arguments.name]:
        start = time.monotonic()

        def tell(what: str, done: int, total: int, note: str = "", start: float = start) -> None:
            if note or done == total or done % 100 == 0:
                passed = f"{time.monotonic() - start:6.0f} s"
                print(f"{passed}  {what} {done}/{total} {note}", file=sys.stderr, flush=True)

        scenes = f"scenes:{arguments.scenes or SCENES[lens]}"
        FITS[lens](model, scenes, folder / f"{lens}.safetensors", tell)
        print(f"{lens} of {arguments.name}, {scenes}: {time.monotonic() - start:.0f} s")


if __name__ == "__main__":
    main()
