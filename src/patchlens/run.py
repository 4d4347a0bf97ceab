"""load -> inputs -> capture: a model that can be run. With `trace` the only place that composes the parts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from patchlens.axes import PositionKind
from patchlens.capture import Captured, capture_together, joint_tensors
from patchlens.demo import bundled_models
from patchlens.demo.domain import SceneDomain
from patchlens.errors import SelectionError
from patchlens.models.adapter import Adapter
from patchlens.models.encode import Inputs
from patchlens.models.generate import generate_together
from patchlens.models.inputs import prepare
from patchlens.models.load import load_adapter
from patchlens.models.tokens import answer_text
from patchlens.pictures.open import OpenedPicture, PictureLike, open_picture
from patchlens.progress import Progress, silent
from patchlens.reading.records import Answer
from patchlens.selection import POSITION_GROUPS
from patchlens.trace import Trace


def load(
    name_or_path: str,
    *,
    dtype: str | torch.dtype = "auto",
    device_map: str | Mapping[str, Any] | None = None,
    revision: str | None = None,
    trust_remote_code: bool = False,
    allow_pickle: bool = False,
) -> Model:
    """Load a model: ``demo``, ``demo-cross``, a folder, or a hub id.

    Args:
        name_or_path: only a hub id reaches the network.
        dtype: a torch dtype or its name; "auto" follows the checkpoint (the bundled models: float32).
        device_map: as in transformers; None puts the model on the CPU.
        revision: branch, tag or commit of a hub model.
        trust_remote_code: run code that the model's repository ships.
        allow_pickle: read weights that are pickled, which can run code.

    Raises:
        ModelNotFoundError: no such model, or the hub could not be reached.
        UnsupportedModelError: an architecture that no adapter states facts about.
    """
    return Model(
        load_adapter(
            name_or_path,
            dtype=dtype,
            device_map=device_map,
            revision=revision,
            trust_remote_code=trust_remote_code,
            allow_pickle=allow_pickle,
        )
    )


@dataclass(frozen=True)
class Model:
    """A loaded model; `trace` runs it."""

    adapter: Adapter

    def trace(
        self,
        images: PictureLike | Sequence[PictureLike] | None = None,
        prompt: str = "",
        *,
        max_new_tokens: int = 20,
        steps: bool = False,
        layers: Iterable[int] | None = None,
        positions: str | Iterable[int] | None = None,
        chat: bool | None = None,
        progress: Progress | None = None,
    ) -> Trace:
        """Run the model on a prompt and keep its residual stream.

        Args:
            images: a path, a PIL picture, an array, or several of them; None for text only.
            prompt: the question; image markers in it say where the pictures stand, else they come first.
            max_new_tokens: length limit of the greedy answer; 0 for none.
            steps: also keep the positions that predict each further token of the answer.
            layers: which layers to keep, 0 (embeddings) to ``n_layers``; negative from the end; None for all.
            positions: which to keep: indices of the sequence (negative from the end), or a group: "all",
                "answer" (those that predict the answer), "text" or "patches"; None for all.
            chat: wrap the prompt in the model's chat template; None does so if there is one.
            progress: called with what is being done, how much is done, and of how much.

        Raises:
            IdentityCheckError: on first use, if the adapter's facts do not reproduce the model's logits.
            ImageError, PromptError, SelectionError: what was asked cannot be done.
        """
        self.adapter.prove()
        pictures = tuple(open_picture(image) for image in _as_list(images))
        asked = Asked(pictures, prepare(self.adapter, prompt, pictures, chat=chat))
        return trace_together(
            self.adapter,
            [asked],
            max_new_tokens=max_new_tokens,
            steps=steps,
            layers=layers,
            positions=positions,
            chat=chat,
            progress=progress,
        )[0]


@dataclass(frozen=True)
class Asked:
    """A prompt with its pictures, prepared for a model."""

    pictures: tuple[OpenedPicture, ...]
    inputs: Inputs


def trace_together(
    adapter: Adapter,
    batch: Sequence[Asked],
    *,
    max_new_tokens: int = 20,
    steps: bool = False,
    layers: Iterable[int] | None = None,
    positions: str | Iterable[int] | None = None,
    chat: bool | None = None,
    progress: Progress | None = None,
) -> list[Trace]:
    """What `Model.trace` does, for several prompts in one pass; arguments as there.

    Their inputs must be alike (`patchlens.models.encode.likeness`). In a batch numbers differ by rounding
    from those of a prompt alone.

    Raises:
        IdentityCheckError, SelectionError, NumericsError: as `Model.trace`.
    """
    tell = progress or silent
    tell("answer", 0, 1)
    tensors = joint_tensors(adapter, [asked.inputs for asked in batch])
    answers = generate_together(adapter, tensors, len(batch[0].inputs), max_new_tokens)
    tell("answer", 1, 1)
    inputs = [
        adapter.continued(asked.inputs, answer[:-1]) if steps and len(answer) > 1 else asked.inputs
        for asked, answer in zip(batch, answers, strict=True)
    ]
    tell("capture", 0, 1)
    kept = [select_positions(own, positions) for own in inputs]
    captured = capture_together(adapter, inputs, layers=layers, positions=kept)
    tell("capture", 1, 1)
    strange = _unlike_scenes(adapter, inputs, captured)
    return [
        Trace(
            adapter,
            own,
            states,
            asked.pictures,
            Answer(answer_text(adapter.tokenizer, answer), tuple(answer)),
            (*(note for picture in asked.pictures for note in picture.notes), *own.notes, *notes),
            chat,
        )
        for asked, own, states, answer, notes in zip(batch, inputs, captured, answers, strange, strict=True)
    ]


def _unlike_scenes(
    adapter: Adapter, batch: Sequence[Inputs], captured: Sequence[Captured]
) -> list[tuple[str, ...]]:
    """A warning for each prompt in which a bundled model is shown what it was never trained on."""
    folder = bundled_models().get(adapter.name)
    if folder is None or not batch[0].grids:
        return [()] * len(batch)
    note = (
        f"this picture is unlike the drawn scenes that {adapter.name} was trained on, and it knows only "
        "those: what it says here means little; for real pictures choose a real model",
    )
    domain = _scene_domain(folder)
    entering = zip(batch, _entering(adapter, batch, captured), strict=True)
    return [
        note if domain.unlike(states.float().cpu().numpy()[own.patches]) else () for own, states in entering
    ]


def _entering(adapter: Adapter, batch: Sequence[Inputs], captured: Sequence[Captured]) -> list[Tensor]:
    """The states among which the patches enter the decoder; in one more pass, where they were not kept."""
    vision = [own.vision for own in captured if own.vision is not None]
    if vision:
        return vision
    is_whole = all(
        own.layers[0] == 0 and own.positions == tuple(range(len(inputs)))
        for own, inputs in zip(captured, batch, strict=True)
    )
    seen = captured if is_whole else capture_together(adapter, batch, layers=[0])
    return [own.resid[0] for own in seen]


@cache
def _scene_domain(folder: Path) -> SceneDomain:
    return SceneDomain.load(folder)


def select_positions(inputs: Inputs, wanted: str | Iterable[int] | None) -> list[int] | None:
    """Indices of the sequence that a group's name means; numbers pass through.

    Raises:
        SelectionError: an unknown group, or one that is empty here.
    """
    if wanted is None or wanted == "all":
        return None
    if not isinstance(wanted, str):
        return list(wanted)
    kind = inputs.places.kind
    if wanted == "answer":
        return list(range(inputs.n_prompt - 1, len(inputs)))
    if wanted not in POSITION_GROUPS:
        raise SelectionError(f"positions {wanted!r} is none of {', '.join(POSITION_GROUPS)} and no number")
    chosen = np.flatnonzero(kind == (PositionKind.PATCH if wanted == "patches" else PositionKind.TEXT))
    if not chosen.size:
        raise SelectionError(f"there is no position of the group {wanted!r} in this prompt")
    return chosen.tolist()


def _as_list(images: PictureLike | Sequence[PictureLike] | None) -> list[PictureLike]:
    if images is None:
        return []
    return [*images] if isinstance(images, (list, tuple)) else [cast("PictureLike", images)]
