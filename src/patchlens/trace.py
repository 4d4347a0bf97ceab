"""Captured states of one pass and what can be made of them: readings, accounts of attention."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from torch import Tensor

from patchlens.attention import Account, SinkRule, account, with_answer_channels
from patchlens.axes import FitKind, fit_kind
from patchlens.capture import Captured
from patchlens.demo import GENERIC_PROMPT, bundled_models
from patchlens.errors import SelectionError
from patchlens.lens import Lens, LogitLens, Statistics, open_lens
from patchlens.lens.contextual import with_contextual_channel
from patchlens.models.adapter import Adapter
from patchlens.models.encode import Inputs
from patchlens.models.inputs import prepare
from patchlens.models.tokens import find_target, piece_table
from patchlens.pictures.grid import Places
from patchlens.pictures.open import OpenedPicture
from patchlens.progress import Progress
from patchlens.reading.reading import Reading
from patchlens.reading.records import CHANNELS, CONTEXTUAL, Answer, ModelInfo, Picture, Positions, Target
from patchlens.reading.validate import check

GENERAL_PROMPT = "Write a general description of the image."
"""The generic prompt of relative attention, as Zhang et al. 2025 put it; bundled models know another."""


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
        lens: str | Path | Lens | None = None,
        *,
        top_k: int = 10,
        targets: Sequence[str | int] = (),
        channels: Sequence[str] = (),
        progress: Progress | None = None,
    ) -> Reading:
        """Read every kept layer and position through a lens.

        Args:
            lens: a lens, its name or its file (`patchlens.open_lens`); the logit lens if left out.
            top_k: how many tokens to keep per cell.
            targets: words or token ids to follow exactly, also where they are not in the top-k.
            channels: some of `CHANNELS`: "contribution" and "attention", what the position before the answer
                takes from where; "contextual", how like the answer's own state each state is.
            progress: called with what is being done, how much is done, and of how much.

        Raises:
            TargetError: a target is empty or unknown.
            SelectionError: ``top_k`` is not within the vocabulary, or the lens or channel not for this model.
            LensError: what was given is no lens, or one for another model.
            NumericsError: a state is not finite.
        """
        asked: dict[str, Any] = {"top_k": top_k, "targets": targets, "progress": progress}
        own = LogitLens() if lens is None else open_lens(lens, self.adapter)
        inputs, captured = own.lay_out(self.adapter, self.inputs, self.captured)
        laid_out = replace(self, inputs=inputs, captured=captured)
        return self.with_channels(laid_out._read(own, **asked), channels)

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

    def with_channels(self, reading: Reading, names: Sequence[str]) -> Reading:
        """Add channels to a reading of this trace, as `read` does with ``channels``.

        Raises:
            SelectionError: an unknown channel, or one that is not for this model or prompt.
        """
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
        lens: Lens,
        *,
        top_k: int,
        targets: Sequence[str | int],
        progress: Progress | None,
    ) -> Reading:
        adapter, captured = self.adapter, self.captured
        found = tuple(find_target(adapter.tokenizer, word) for word in targets)
        positions = self._positions()
        statistics = lens.read(
            captured.resid,
            captured.final,
            adapter.unembed,
            self.fit_kinds(),
            layers=captured.layers,
            n_layers=adapter.n_layers,
            top_k=top_k,
            target_ids=[target.token for target in found],
            progress=None if progress is None else lambda done, total: progress("lens", done, total),
        )
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
            channels=lens.channels(captured.resid, statistics),
            notes=(*self.notes, *lens.notes(), *(_stand_in(own) for own in found if not own.is_whole)),
            versions=dict(_versions()),
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


@cache
def _versions() -> dict[str, str]:
    packages = {name: metadata.version(name) for name in ("patchlens", "torch", "transformers")}
    return packages | {"python": platform.python_version()}
