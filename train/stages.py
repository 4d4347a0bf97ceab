"""What both recipes share: folders, data, tokenizer, and stages that run once."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import nn

from patchlens.scenes.seeds import SMALL_SEEDS, TRAIN_SEEDS
from train.export import MODELS
from train.render import Rendered, render
from train.tokens import train_tokenizer

SCENES = 40_000
SMALL_SCENES = 6_000


@dataclass(frozen=True)
class Workspace:
    """Where stages leave their weights and logs, and where the finished model goes.

    ``factor`` shortens every stage, for a dry run.
    """

    folder: Path
    factor: float
    out: Path

    @property
    def log(self) -> Path:
        """The log of every stage."""
        return self.folder / "log.txt"

    def steps(self, full: int) -> int:
        """Steps of a stage, shortened by the factor."""
        return max(2, int(full * self.factor))

    def data(self) -> Rendered:
        """The training scenes."""
        return render(self.folder, "train", TRAIN_SEEDS, max(1000, int(SCENES * self.factor)))

    def small_data(self) -> Rendered:
        """Scenes of one tile, 70 px."""
        return render(self.folder, "small", SMALL_SEEDS, max(1000, int(SMALL_SCENES * self.factor)), 70)

    def tokenizer(self) -> Tokenizer:
        """The tokenizer, trained when it is not there yet."""
        file = self.folder / "tokenizer.json"
        if not file.exists():
            train_tokenizer().save(str(file))
        return Tokenizer.from_file(str(file))

    def once(self, stage: str, module: nn.Module, run: Callable[[], None]) -> None:
        """Run a stage that trains ``module``, or load what it left behind."""
        file = self.folder / f"{stage}.pt"
        if not file.exists():
            run()
            part = file.with_suffix(f".{os.getpid()}")
            torch.save(module.state_dict(), part)
            part.rename(file)
        module.load_state_dict(torch.load(file, weights_only=True, map_location="cpu"))


def workspace(description: str, stages: tuple[str, ...]) -> tuple[Workspace, tuple[str, ...]]:
    """Read the command line: the workspace, and which stages to run."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--work", type=Path, default=Path("build/train"), help="scratch folder")
    parser.add_argument("--factor", type=float, default=1.0, help="shorten all stages, for a dry run")
    parser.add_argument("--out", type=Path, default=MODELS, help="where the finished model goes")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--only", choices=stages, help="run this stage alone; what it needs must be there")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    arguments.work.mkdir(parents=True, exist_ok=True)
    chosen = (arguments.only,) if arguments.only else stages
    return Workspace(arguments.work, arguments.factor, arguments.out), chosen
