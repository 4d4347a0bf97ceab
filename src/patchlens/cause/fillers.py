"""What stands in the place of patches that are taken away, and from which pictures it is."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, get_args

import numpy as np
import torch

from patchlens.causal import Mean, Noise, Other, Zero
from patchlens.causal.ablate import By, PatchStates
from patchlens.cause.cases import drawn_cases
from patchlens.cause.settings import Filler
from patchlens.data.item import Item
from patchlens.demo import bundled_models
from patchlens.errors import SelectionError
from patchlens.run import Model
from patchlens.scenes.questions import ask
from patchlens.scenes.seeds import REFERENCE_SEEDS

KINDS: Final[tuple[Filler, ...]] = get_args(Filler)
DRAWN, OWN = 32, 16  # pictures of the reference: drawn scenes, or others of your set


@dataclass(frozen=True)
class Fillers:
    """Fillers of one kind for the patches of any case; ``name`` says in words what they are.

    ``reference`` holds patch states by picture as they enter the decoder; a case's own are never used but
    where it is the only picture.
    """

    kind: Filler
    reference: Mapping[str, PatchStates] = field(repr=False)
    name: str = ""
    seed: int = 0

    def by(self, case: Item) -> By:
        """What to put in the place of a case's patches."""
        if self.kind == "zero":
            return Zero()
        others = [states for name, states in self.reference.items() if name != case.name]
        others = others or list(self.reference.values())
        if self.kind == "other":
            return Other(others[int(case_rng(case, self.seed).integers(len(others)))])
        states = torch.cat(others)
        return Mean(states.float().mean(0, keepdim=True)) if self.kind == "mean" else Noise(states, self.seed)


def case_rng(case: Item, seed: int) -> np.random.Generator:
    """Random numbers of a case, the same in whatever order cases are made."""
    digest = hashlib.sha256(case.name.encode("utf-8", "replace")).digest()
    return np.random.default_rng([seed, int.from_bytes(digest[:8], "big")])


def knows_scenes(model: Model, cases: Sequence[Item]) -> bool:
    """Whether drawn scenes tell anything of a model on these cases: it is bundled, or they are drawn."""
    return model.name in bundled_models() or any(case.truth is not None for case in cases)


def make_fillers(model: Model, cases: Sequence[Item], kind: Filler, seed: int = 0) -> Fillers:
    """Gather a reference set.

    It is of drawn scenes of all kinds, that nothing is reported on, for a bundled model and wherever cases
    are drawn; else of the other pictures among the cases, up to 16; with a single picture, of itself.

    Raises:
        SelectionError: there is no such kind, or "other" with a single picture.
    """
    if kind not in KINDS:
        raise SelectionError(f"patches are replaced by one of {', '.join(KINDS)}, not by {kind!r}")
    if kind == "zero":
        return Fillers(kind, {}, "zeros", seed)
    if knows_scenes(model, cases):
        used = drawn_cases(ask, 1, DRAWN, first=REFERENCE_SEEDS)
        whose = f"{DRAWN} other drawn scenes"
    else:
        used = cases[: OWN + 1]
        whose = "the other pictures" if len(cases) > 1 else "the picture itself"
    if kind == "other" and len(used) < 2:
        raise SelectionError("with a single picture there is no other to take patches from: choose --by mean")
    traces = model.trace_many(((case.open(), case.prompt) for case in used), max_new_tokens=0, layers=[0])
    reference = {case.name: trace.patch_states() for case, trace in zip(used, traces, strict=True)}
    name = {
        "mean": f"the mean patch of {whose}",
        "noise": f"noise with the mean and spread of the patches of {whose}",
        "other": f"the same patches of another picture, of {whose}",
    }[kind]
    return Fillers(kind, reference, name, seed)
