"""Take patches away: put something that shows nothing of them in the place of their states."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from patchlens.axes import POSITION, check_layers
from patchlens.capture import capture
from patchlens.causal.places import Patches, PatchesLike, Stage
from patchlens.causal.protocol import Intervention, States, Step, check_states, edits
from patchlens.causal.swap import put
from patchlens.errors import InterventionError
from patchlens.models.adapter import Adapter
from patchlens.models.inputs import Inputs

PatchStates = Float[Tensor, "patch d_model"]


@dataclass(frozen=True)
class Zero:
    """Nothing: a state of zeros. Far from anything the model has met; say so beside the result."""

    def states(self, numbers: Sequence[int], d_model: int) -> Tensor:
        """One row for all."""
        return torch.zeros(1, d_model)

    def __str__(self) -> str:
        return "zeros"


@dataclass(frozen=True, eq=False)
class Mean:
    """The mean of a reference set of patch states, such as those of other pictures (`patch_states`)."""

    reference: PatchStates = field(repr=False)

    def states(self, numbers: Sequence[int], d_model: int) -> Tensor:
        """One row for all."""
        return _known(self.reference, d_model).mean(0, keepdim=True)

    def __str__(self) -> str:
        return f"the mean of {len(self.reference)} reference states"


@dataclass(frozen=True, eq=False)
class Noise:
    """Gaussian noise with the mean and standard deviation of a reference set, coordinate by coordinate.

    A patch's noise depends on the seed and the patch's number alone, not on what else is ablated.
    """

    reference: PatchStates = field(repr=False)
    seed: int = 0

    def states(self, numbers: Sequence[int], d_model: int) -> Tensor:
        """One row per patch."""
        reference = _known(self.reference, d_model)
        if len(reference) < 2:
            raise InterventionError(
                "noise takes its scale from a reference: give states of 2 patches or more"
            )
        drawn = [np.random.default_rng([self.seed, number]).standard_normal(d_model) for number in numbers]
        rows = torch.from_numpy(np.stack(drawn)).to(reference)
        return reference.mean(0) + reference.std(0) * rows

    def __str__(self) -> str:
        return f"noise with the mean and spread of {len(self.reference)} reference states"


@dataclass(frozen=True, eq=False)
class Other:
    """The states of another picture at the same patches; all of its `patch_states`, in order."""

    picture: PatchStates = field(repr=False)

    def states(self, numbers: Sequence[int], d_model: int) -> Tensor:
        """One row per patch."""
        states = _known(self.picture, d_model)
        if max(numbers) >= len(states):
            raise InterventionError(
                f"the other picture has {len(states)} patches, but patch {max(numbers)} is to be replaced: "
                "take one of the same size"
            )
        return states[list(numbers)]

    def __str__(self) -> str:
        return "the same patches of another picture"


@dataclass(frozen=True)
class OwnMean:
    """The mean of all patches of the prompt itself, as they stand at that layer in that very pass."""

    def __str__(self) -> str:
        return "the mean patch of this prompt"


By = Zero | Mean | Noise | Other | OwnMean


@dataclass(frozen=True)
class Ablate(Intervention):
    """Replace the states of chosen patches, by default as they enter the decoder and by their mean.

    Args:
        patches: numbers of patches (`patch_numbers`), "all", a `Box` in pixels of the picture, or a mask: of
            its pixels, its grid, or all patches.
        by: what stands there instead.
        layer: 0 to ``n_layers``, negative from the end. What a patch told other positions in earlier blocks
            stays. Vision states have no layer but 0.
    """

    patches: PatchesLike = "all"
    by: By = field(default_factory=OwnMean)
    layer: int = 0

    def steps(self, stage: Stage) -> Iterable[Step]:
        """One edit."""
        d_model = stage.adapter.d_model
        numbers = stage.numbers(self.patches)
        layers = check_layers([self.layer], stage.adapter.n_layers)
        if isinstance(self.by, OwnMean):
            return edits(stage.find("patches"), layers, _Averaged(numbers))
        states = self.by.states(numbers, d_model)
        check_states(states, len(numbers), d_model, "states in the place of patches")
        return edits(stage.find(Patches(numbers)), layers, put(states))


@dataclass(frozen=True)
class _Averaged:
    """Sets some patches to the mean of all: an edit of all patches, so that they are there together."""

    numbers: tuple[int, ...]

    def __call__(self, old: States, which: Sequence[int]) -> States:
        row = {number: index for index, number in enumerate(which)}
        new = old.clone()
        new[[row[number] for number in self.numbers]] = old.float().mean(0).to(old)
        return new


def patch_states(adapter: Adapter, pictures: Iterable[Inputs], layer: int = 0) -> PatchStates:
    """States of all patches of some prompts with pictures, one after another, for `Mean`, `Noise`, `Other`.

    Args:
        adapter: the model, run once per prompt.
        pictures: one prepared prompt per picture, or several.
        layer: of the decoder; vision states of cross-attention models have none but 0.

    Raises:
        SelectionError: a prompt has no picture, or there is no such layer.
        InterventionError: no prompt was given.
    """
    found: list[Tensor] = []
    for inputs in pictures:
        stage = Stage(adapter, inputs)
        rows = stage.patches.tolist()
        if stage.over == POSITION:
            found.append(capture(adapter, inputs, layers=[layer], positions=rows).resid[0])
            continue
        if layer != 0:
            raise InterventionError("vision states have no layers: ask for those of layer 0")
        vision = capture(adapter, inputs, layers=[0], positions=[0]).vision
        assert vision is not None
        found.append(vision[rows])
    if not found:
        raise InterventionError("a reference set needs at least one picture")
    return torch.cat(found)


def _known(states: Tensor, d_model: int) -> Tensor:
    if states.ndim != 2 or states.shape[1] != d_model or not len(states):
        raise InterventionError(
            f"a reference: expected states of shape [patches, {d_model}], got {list(states.shape)}"
        )
    return states.float() if states.dtype != torch.float64 else states
