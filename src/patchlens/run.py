"""load -> inputs -> capture -> lens -> Reading: the only place that composes the parts."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from importlib import metadata
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from patchlens.attention import CHANNELS as ATTENTION_CHANNELS
from patchlens.attention import Account, SinkRule, account, with_answer_channels
from patchlens.axes import FitKind, PositionKind, fit_kind
from patchlens.capture import Captured, capture
from patchlens.demo import GENERIC_PROMPT, bundled_models
from patchlens.demo.domain import SceneDomain
from patchlens.errors import SelectionError
from patchlens.grid import Places
from patchlens.inputs import OpenedPicture, PictureLike, open_picture, prepare
from patchlens.lens import (
    KindedLens,
    Lens,
    LogitLens,
    ReadingLens,
    Statistics,
    VisionLens,
    read_statistics,
)
from patchlens.lens.contextual import with_contextual_channel
from patchlens.models import load_adapter
from patchlens.models.adapter import Adapter
from patchlens.models.encode import Inputs
from patchlens.models.generate import generate_greedy
from patchlens.reading import Reading
from patchlens.records import Answer, ModelInfo, Picture, Positions, Target
from patchlens.tokens import find_target, piece_table
from patchlens.validate import check

Progress = Callable[[str, int, int], None]
CONTEXTUAL = "contextual"
CHANNELS = (*ATTENTION_CHANNELS, CONTEXTUAL)
"""What `Trace.read` can add to a reading."""
POSITION_GROUPS = ("all", "answer", "text", "patches")
GENERAL_PROMPT = "Write a general description of the image."
"""The generic prompt of relative attention, as Zhang et al. 2025 put it; bundled models know another."""


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
        tell = progress or _silent
        self.adapter.prove()
        pictures = [open_picture(image) for image in _as_list(images)]
        inputs = prepare(self.adapter, prompt, pictures, chat=chat)
        tell("answer", 0, 1)
        answer = generate_greedy(self.adapter, inputs, max_new_tokens)
        tell("answer", 1, 1)
        if steps and len(answer) > 1:
            inputs = prepare(self.adapter, prompt, pictures, answer_ids=answer[:-1], chat=chat)
        tell("capture", 0, 1)
        captured = capture(self.adapter, inputs, layers=layers, positions=select_positions(inputs, positions))
        tell("capture", 1, 1)
        text = str(self.adapter.tokenizer.decode(answer, skip_special_tokens=True)).strip()
        notes = (
            *(note for picture in pictures for note in picture.notes),
            *inputs.notes,
            *_unlike_scenes(self.adapter, inputs, captured),
        )
        return Trace(
            self.adapter, inputs, captured, tuple(pictures), Answer(text, tuple(answer)), notes, chat
        )


@dataclass(frozen=True)
class Trace:
    """Captured states of one forward pass; `read` looks at them through a lens, `attend` at the attention."""

    adapter: Adapter = field(repr=False)
    inputs: Inputs = field(repr=False)
    captured: Captured = field(repr=False)
    pictures: tuple[OpenedPicture, ...] = field(repr=False)
    answer: Answer
    notes: tuple[str, ...] = ()
    chat: bool | None = None

    @property
    def resid(self) -> Float[Tensor, "layer pos d_model"]:
        """Residual states before the final norm, layers 0 (embeddings) to ``n_layers`` as kept."""
        return self.captured.resid

    def read(
        self,
        lens: Lens | KindedLens | ReadingLens | VisionLens | None = None,
        *,
        top_k: int = 10,
        targets: Sequence[str | int] = (),
        channels: Sequence[str] = (),
        progress: Progress | None = None,
    ) -> Reading:
        """Read every kept layer and position through a lens.

        Args:
            lens: a `LogitLens` if left out.
            top_k: how many tokens to keep per cell.
            targets: words or token ids to follow exactly, also where they are not in the top-k.
            channels: some of `CHANNELS`: "contribution" and "attention", what the position before the answer
                takes from where; "contextual", how like the answer's own state each state is.
            progress: called with what is being done, how much is done, and of how much.

        Raises:
            TargetError: a target is empty or unknown.
            SelectionError: ``top_k`` is not within the vocabulary, or the lens or channel not for this model.
            NumericsError: a state is not finite.
        """
        asked: dict[str, Any] = {"top_k": top_k, "targets": targets, "progress": progress}
        if isinstance(lens, VisionLens):
            inputs, captured = lens.lay_out(self.adapter, self.inputs, self.captured)
            notes = (*self.notes, *lens.notes())
            laid_out = replace(self, inputs=inputs, captured=captured, notes=notes)
            return self._with_channels(laid_out.read(lens.reader(), **asked), channels)
        return self._with_channels(self._read(lens or LogitLens(), **asked), channels)

    def attend(
        self,
        query: str = "answer",
        *,
        layers: Iterable[int] | None = None,
        heads: Iterable[int] | None = None,
        rule: SinkRule | None = None,
        relative: bool | str = False,
    ) -> Account:
        """Account for where attention goes, in one more forward pass (`patchlens.attention.account`).

        Args:
            query: whose: "answer" (where it starts), "steps" (of all its tokens; trace with ``steps=True``),
                "last" (the last position), or a word of the prompt.
            layers: outputs of blocks; None for all.
            heads: to average maps over, and to keep apart too; None for all, averaged.
            rule: what counts as a sink; None for `SinkRule()`.
            relative: compare with a generic prompt about the same picture, in a further pass: True for
                `GENERAL_PROMPT` (or what a bundled model was taught), or a prompt of your own.

        Raises:
            SelectionError: a layer, head or word does not exist, or there is nothing to compare.
            NumericsError: weights or states are not finite, or weights do not sum to 1.
            UnsupportedModelError, IdentityCheckError: this model's attention cannot be taken apart.
        """
        generic = None
        if relative:
            known = GENERIC_PROMPT if self.adapter.name in bundled_models() else GENERAL_PROMPT
            asked = relative if isinstance(relative, str) else known
            generic = prepare(self.adapter, asked, self.pictures, chat=self.chat)
        return account(
            self.adapter,
            self.inputs,
            self.answer,
            query,
            layers=layers,
            heads=heads,
            rule=rule,
            generic=generic,
        )

    def _with_channels(self, reading: Reading, names: Sequence[str]) -> Reading:
        unknown = [name for name in names if name not in CHANNELS]
        if unknown:
            raise SelectionError(f"there is no channel {unknown[0]!r}: choose of {', '.join(CHANNELS)}")
        said = self.answer.ids or (int(self.captured.logits.argmax()),)
        of_attention = [name for name in names if name != CONTEXTUAL]
        reading = with_answer_channels(reading, self.adapter, self.inputs, of_attention, said[0])
        if CONTEXTUAL in names:
            told = prepare(
                self.adapter, self.inputs.prompt, self.pictures, answer_ids=self.answer.ids, chat=self.chat
            )
            reading = with_contextual_channel(reading, self.adapter, told)
        check(reading)
        return reading

    def _read(
        self,
        lens: Lens | KindedLens | ReadingLens,
        *,
        top_k: int,
        targets: Sequence[str | int],
        progress: Progress | None,
    ) -> Reading:
        adapter, captured = self.adapter, self.captured
        found = tuple(find_target(adapter.tokenizer, word) for word in targets)
        positions = self._positions()
        statistics = read_statistics(
            captured.resid,
            captured.final,
            lens,
            adapter.unembed,
            self.fit_kinds(),
            layers=captured.layers,
            n_layers=adapter.n_layers,
            top_k=top_k,
            target_ids=[target.token for target in found],
            progress=None if progress is None else lambda done, total: progress("lens", done, total),
        )
        channels, notes = (), ()
        if isinstance(lens, ReadingLens):
            channels, notes = lens.channels(captured.resid, statistics), lens.notes()
        columns = _arrays(statistics)
        ids = {t.token for t in found}.union(
            np.unique(columns["top_ids"]).tolist(), self.answer.ids, positions.token.tolist()
        )
        return Reading(
            model=_model_info(adapter),
            lens=lens.name,
            lens_params=dict(lens.params()),
            prompt=self.inputs.prompt,
            answer=self.answer,
            layers=np.array(captured.layers, np.int32),
            positions=positions,
            pieces=piece_table(adapter.tokenizer, ids),
            targets=found,
            pictures=tuple(
                Picture(picture.name, picture.mime, picture.data, grid)
                for picture, grid in zip(self.pictures, self.inputs.grids, strict=True)
            ),
            vision=self.inputs.vision_places,
            channels=channels,
            notes=(*self.notes, *notes, *(_stand_in(target) for target in found if not target.is_whole)),
            versions=_versions(),
            **columns,
        )

    def fit_kinds(self) -> list[FitKind]:
        """Kind of each kept position, as a lens fitted by kind tells them apart."""
        positions = self._positions()
        return [fit_kind(kind, step) for kind, step in zip(positions.kind, positions.step, strict=True)]

    def _positions(self) -> Positions:
        inputs = self.inputs
        index = np.array(self.captured.positions, np.int32)
        step = index - (inputs.n_prompt - 1)
        columns = {f.name: getattr(inputs.places, f.name)[index] for f in fields(Places)}
        return Positions(
            **columns,
            index=index,
            token=inputs.ids[index].astype(np.int32),
            step=np.where((step >= 0) & (step < max(1, len(self.answer.ids))), step, -1).astype(np.int32),
            generated=index >= inputs.n_prompt,
        )


def _stand_in(target: Target) -> str:
    pieces = " ".join(target.pieces)
    return (
        f"target {target.word!r} is {len(target.pieces)} tokens ({pieces}): the first stands for it, so its "
        "score may belong to another word that starts alike"
    )


def _unlike_scenes(adapter: Adapter, inputs: Inputs, captured: Captured) -> tuple[str, ...]:
    """A warning if a bundled model is shown what it was never trained on."""
    folder = bundled_models().get(adapter.name)
    if folder is None or not inputs.grids:
        return ()
    if inputs.vision_places is not None:
        places, states = inputs.vision_places, captured.vision
    else:
        is_whole = captured.layers[0] == 0 and captured.positions == tuple(range(len(inputs)))
        seen = captured if is_whole else capture(adapter, inputs, layers=[0])
        places, states = inputs.places, seen.resid[0]
    assert states is not None
    patches = np.flatnonzero(places.kind == PositionKind.PATCH)
    if not SceneDomain.load(folder).unlike(states.float().cpu().numpy()[patches]):
        return ()
    return (
        f"this picture is unlike the drawn scenes that {adapter.name} was trained on, and it knows only "
        "those: what it says here means little; for real pictures choose a real model",
    )


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


def _silent(_what: str, _done: int, _total: int) -> None:
    pass


def _as_list(images: PictureLike | Sequence[PictureLike] | None) -> list[PictureLike]:
    if images is None:
        return []
    return [*images] if isinstance(images, (list, tuple)) else [cast("PictureLike", images)]


def _arrays(statistics: Statistics) -> dict[str, Any]:
    integers = {"top_ids", "target_ranks", "target_ranks_upper"}
    return {
        f.name: getattr(statistics, f.name)
        .cpu()
        .numpy()
        .astype(np.int32 if f.name in integers else np.float32)
        for f in fields(statistics)
    }


def _model_info(adapter: Adapter) -> ModelInfo:
    return ModelInfo(
        adapter.name,
        adapter.revision,
        adapter.family,
        str(adapter.dtype).removeprefix("torch."),
        adapter.n_layers,
        adapter.d_model,
        adapter.vocab_size,
    )


def _versions() -> dict[str, str]:
    packages = {name: metadata.version(name) for name in ("patchlens", "torch", "transformers")}
    return packages | {"python": platform.python_version()}
