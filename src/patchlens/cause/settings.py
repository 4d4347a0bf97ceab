"""What each experiment can be told: its options with their defaults, checked before a model loads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from patchlens.errors import SelectionError

Filler = Literal["mean", "zero", "noise", "other"]
"""What ablated patches are replaced by."""
Place = Literal["last", "patches"]
"""Whose states are changed: of the position where the answer starts, or of all patches at once."""
Basis = Literal["principal", "lens"]
"""Directions in which a layer's states differ most, or those along which each lens says most."""


@dataclass(frozen=True)
class PatchesSettings:
    """How patches that a lens points at are ablated.

    Attributes:
        layer: Layer of the lens's map. Chosen on other scenes if left out.
        above: Ablate patches with at least this share of the map's highest probability, such as 0.1.
        top: Ablate this share of the patches instead, such as 0.2.
        by: What patches are replaced by.
        word: Word of the answer to map; taken from it if left out.
        block: Patches across the block around each patch, for the causal map.
        step: Patches from one block to the next. 1 for one picture, else 2, if left out.
        draws: Draws of random patches. 20 for a picture, else 3, if left out.
        seed: Of everything drawn at random.
    """

    layer: int | None = None
    above: float | None = None
    top: float | None = None
    by: Filler = "mean"
    word: str | None = None
    block: int = 5
    step: int | None = None
    draws: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.above is not None and self.top is not None:
            raise SelectionError("--above and --top together: give one of them")
        if self.word is not None and not self.word.strip():
            raise SelectionError("the word is empty: name one, such as --word cat")
        _check_share("the map's maximum", self.above)
        _check_share("the patches", self.top)
        _check_draws(self.draws)
        _check_blocks(self.block, self.step)


@dataclass(frozen=True)
class KnockoutSettings:
    """How attention is knocked out in windows of blocks.

    Attributes:
        width: Blocks of a window. A fifth of the depth, 4 at least, if left out.
        draws: Random draws that a control is the mean of.
        max_new_tokens: Longest answer.
        seed: Of everything drawn at random.
    """

    width: int | None = None
    draws: int = 3
    max_new_tokens: int = 20
    seed: int = 0

    def __post_init__(self) -> None:
        if self.width is not None and self.width < 1:
            raise SelectionError(f"a window of {self.width} blocks has none: choose --width 1 or more")
        _check_draws(self.draws)
        _check_tokens(self.max_new_tokens)

    def runs(self, n_layers: int) -> int:
        """Passes that a case takes at most, the plain one included."""
        return 4 * (n_layers + 1) * (1 + self.draws) + 1


@dataclass(frozen=True)
class GroundingSettings:
    """How pictures are replaced to see whether the answer needs them.

    Attributes:
        begun: The beginning of the answer, as already said; what follows is judged.
        others: Other pictures to show instead.
        max_new_tokens: Longest answer.
        seed: Of everything drawn at random.
    """

    begun: str | None = None
    others: int = 4
    max_new_tokens: int = 20
    seed: int = 0

    def __post_init__(self) -> None:
        if self.others < 1:
            raise SelectionError(f"{self.others} other pictures: choose --others 1 or more")
        _check_tokens(self.max_new_tokens)

    @property
    def runs(self) -> int:
        """Passes that a case takes at most: every picture's, the model seeing it and not, judged and said."""
        return 4 * (6 + self.others)


@dataclass(frozen=True)
class HallucinationSettings:
    """How nouns of captions are scored.

    Attributes:
        max_new_tokens: Longest caption, in tokens.
        edit: Also take nouns out and describe the picture again.
        seed: Of the swapped nouns, those of the control, and resamples.
    """

    max_new_tokens: int = 40
    edit: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        _check_tokens(self.max_new_tokens)


@dataclass(frozen=True)
class FidelitySettings:
    """What is changed to hold a lens's foretelling against, and where.

    Attributes:
        layers: Such as 1,4-8. All below the last in which the changed states differ if left out; at the last
            layer the logit lens is the model.
        at: Whose states are changed: last, where the answer starts, or all patches at once.
        basis: The directions in which a layer's states differ most, or of each lens its own.
        directions: How many of each layer, at most.
        seed: Of everything drawn at random.
    """

    layers: tuple[int, ...] | None = None
    at: Place = "last"
    basis: Basis = "principal"
    directions: int = 64
    seed: int = 0

    def __post_init__(self) -> None:
        if self.at not in ("last", "patches") or self.basis not in ("principal", "lens"):
            raise SelectionError(
                f"{self.at!r}, {self.basis!r}: choose of last, patches and of principal, lens"
            )
        if self.directions < 3:
            raise SelectionError(f"{self.directions} directions cannot be ranked: choose 3 or more")

    def runs(self, n_layers: int, n_lenses: int) -> int:
        """Passes that a case takes at most, the plain one included."""
        layers = n_layers if self.layers is None else len(self.layers)
        return layers * self.directions * (n_lenses if self.basis == "lens" else 1) + 1


@dataclass(frozen=True)
class ChangeSettings:
    """Interventions as they are written (see `patchlens.cause.change.written`); they act together.

    Attributes:
        ablate: PATCHES[@LAYER]: all, 0,4-8, or rows x columns 2-5x3-6. Repeatable.
        by: What ablated patches become.
        knockout: QUERIES:SOURCES[@BLOCKS], such as answer:patches@3-5. Repeatable.
        project: WORD[:WHERE][@LAYERS]: take it out, as cat:patches@0. Repeatable.
        add: WORD*STRENGTH[:WHERE][@LAYERS]: put it in, as cat*8:last@4. Repeatable.
        swap: WHERE[@LAYER]: states of --other, such as patches or last@4. Repeatable.
        draws: Random changes of the same sort, as control.
        max_new_tokens: Longest answer.
        seed: Of everything drawn at random.
    """

    ablate: tuple[str, ...] = ()
    by: Filler = "mean"
    knockout: tuple[str, ...] = ()
    project: tuple[str, ...] = ()
    add: tuple[str, ...] = ()
    swap: tuple[str, ...] = ()
    draws: int = 20
    max_new_tokens: int = 20
    seed: int = 0

    def __post_init__(self) -> None:
        if not any((self.ablate, self.knockout, self.project, self.add, self.swap)):
            raise SelectionError(
                "nothing is changed: say with --ablate, --knockout, --project, --add or --swap what to change"
            )
        _check_draws(self.draws)
        _check_tokens(self.max_new_tokens)

    @property
    def runs(self) -> int:
        """Passes with the answer, and as many that write a new one."""
        return 2 * (2 + self.draws)


def _check_share(of: str, share: float | None) -> None:
    if share is not None and not 0 < share <= 1:
        raise SelectionError(f"a share of {of} is over 0 and at most 1, got {share:g}")


def _check_draws(draws: int | None) -> None:
    if draws is not None and draws < 1:
        raise SelectionError(f"{draws} random draws are no control: take 1 or more")


def _check_blocks(block: int, step: int | None) -> None:
    if block < 1 or (step is not None and step < 1):
        raise SelectionError(f"blocks are 1 patch wide or more, and as far apart: got {block} and {step}")


def _check_tokens(max_new_tokens: int) -> None:
    if max_new_tokens < 1:
        raise SelectionError(f"an answer of {max_new_tokens} tokens says nothing: allow 1 or more")
