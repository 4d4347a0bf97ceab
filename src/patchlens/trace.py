"""Captured states of one pass and all that can be asked of them: readings, attention, interventions."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import NoReturn

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from patchlens.attention import Account, SinkRule, account, with_answer_channels
from patchlens.axes import check_layers
from patchlens.causal import Ablate, Interventions, Patches, Rerun, intervening, rerun, together
from patchlens.causal.ablate import By, OwnMean
from patchlens.causal.effects import Ablation, Effects
from patchlens.causal.places import PatchesLike, Stage
from patchlens.causal.pointing import blocks, patch_grid
from patchlens.demo import GENERIC_PROMPT, bundled_models
from patchlens.errors import PatchlensError, PromptError, SelectionError
from patchlens.lens import Lens, LogitLens, open_lens
from patchlens.lens.contextual import with_contextual_channel
from patchlens.lens.read import Pass, read_pass
from patchlens.models.adapter import Adapter
from patchlens.models.inputs import Inputs, prepare
from patchlens.models.positions import select_positions
from patchlens.models.tokens import answer_text, following_ids, piece_table
from patchlens.progress import Progress
from patchlens.reading.reading import Reading
from patchlens.reading.records import CHANNELS, CONTEXTUAL, Answer
from patchlens.reading.validate import check

GENERAL_PROMPT = "Write a general description of the image."
"""The generic prompt of relative attention, as Zhang et al. 2025 put it; bundled models know another."""


@dataclass(frozen=True)
class Request:
    """How prompts are run: the arguments of `patchlens.Model.trace` beside prompt and pictures."""

    answer: str | Sequence[int] | None = None
    begun: str | None = None
    under: Interventions = ()
    max_new_tokens: int = 20
    steps: bool = False
    layers: int | Iterable[int] | None = None
    positions: str | int | Iterable[int] | None = None
    chat: bool | None = None


@dataclass(frozen=True)
class Trace(Pass):
    """Captured states of one forward pass; everything that can be asked of a model's answer is asked of it.

    `read` looks at the states through a lens, `attend` at the attention; `under` runs the same question again
    under interventions; `effects`, `answers`, `map` and `ablate` tell what interventions do to the answer.
    Interventions that the trace was itself run under hold in all of them.
    """

    request: Request = field(default_factory=Request, repr=False)

    def __repr__(self) -> str:
        """Say what was run, in one line."""
        n_layers, n_positions = self.resid.shape[:2]
        return (
            f"Trace({self.adapter.name}, {len(self.pictures)} pictures, prompt={self.inputs.prompt!r}, "
            f"answer={self.answer.text!r}, {n_layers} layers x {n_positions} positions)"
        )

    def __reduce__(self) -> NoReturn:
        raise PatchlensError(
            "a trace holds its model, so it is not pickled: keep trace.read(..).save(..), or make it anew"
        )

    @property
    def resid(self) -> Float[Tensor, "layer pos d_model"]:
        """Residual states before the final norm, one row per kept layer (`layers`) and kept position."""
        return self.captured.resid

    @property
    def layers(self) -> tuple[int, ...]:
        """Numbers of the kept layers, 0 (embeddings) to ``n_layers``."""
        return self.captured.layers

    def resid_at(
        self, layer: int, positions: str | int | Iterable[int] | None = None
    ) -> Float[Tensor, "pos d_model"]:
        """Residual states of one layer, before the final norm.

        Args:
            layer: 0 (embeddings) to ``n_layers``, negative from the end.
            positions: as `patchlens.Model.trace` takes them; None for all that were kept.

        Raises:
            SelectionError: the layer or a position was not kept or does not exist.
        """
        (number,) = check_layers([layer], self.adapter.n_layers)
        if number not in self.layers:
            raise SelectionError(f"layer {number} was not kept: this trace holds {list(self.layers)}")
        states = self.resid[self.layers.index(number)]
        wanted = select_positions(self.adapter, self.inputs, positions)
        if wanted is None:
            return states
        row = {position: index for index, position in enumerate(self.captured.positions)}
        missing = [position for position in wanted if position not in row]
        if missing:
            raise SelectionError(f"position {missing[0]} was not kept: trace with positions that hold it")
        return states[[row[position] for position in wanted]]

    def normed_at(
        self, layer: int, positions: str | int | Iterable[int] | None = None
    ) -> Float[Tensor, "pos d_model"]:
        """`resid_at` after the model's final norm: what the logit lens unembeds."""
        with torch.inference_mode():
            return self.adapter.unembed.norm(self.resid_at(layer, positions)).clone()

    # -- what it says --------------------------------------------------------------------------------

    def read(
        self,
        lens: str | Path | Lens | None = None,
        *,
        top_k: int = 10,
        targets: str | int | Sequence[str | int] = (),
        channels: str | Sequence[str] = (),
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
            LensError, FormatError: what was given is no lens, or one for another model.
            NumericsError: a state is not finite.
        """
        own = LogitLens() if lens is None else open_lens(lens, self.adapter)
        inputs, captured = own.lay_out(self.adapter, self.inputs, self.captured)
        ran = replace(self, inputs=inputs, captured=captured)
        wanted = [targets] if isinstance(targets, (str, int)) else targets
        reading = read_pass(ran, own, top_k=top_k, targets=wanted, progress=progress)
        return self.with_channels(reading, [channels] if isinstance(channels, str) else channels)

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
        with self._interventions(self.inputs):
            reading = with_answer_channels(reading, self.adapter, self.inputs, of_attention, said[0])
        if CONTEXTUAL in names:
            with self._interventions(self.told):
                reading = with_contextual_channel(reading, self.adapter, self.told)
        check(reading)
        return reading

    def attend(
        self,
        query: int | str = "answer",
        *,
        layers: Iterable[int] | None = None,
        heads: Iterable[int] | None = None,
        rule: SinkRule | None = None,
        relative: bool | str = False,
    ) -> Account:
        """Account for where attention goes, in one more forward pass (`patchlens.attention.account`).

        Args:
            query: whose: "answer" (where it starts), "steps" (of all its tokens; trace with ``steps=True``),
                "last" (the last position), a position by its number, or a word of the prompt.
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
            if self.request.under != ():
                raise SelectionError("attention under interventions is not compared with a generic prompt")
            known = GENERIC_PROMPT if self.adapter.name in bundled_models() else GENERAL_PROMPT
            asked = relative if isinstance(relative, str) else known
            generic = prepare(self.adapter, asked, self.pictures, chat=self.request.chat)
        with self._interventions(self.inputs):
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

    # -- what the answer rests on --------------------------------------------------------------------

    @cached_property
    def told(self) -> Inputs:
        """The prompt with the whole answer after it."""
        return self.adapter.continued(self.inputs, self.answer.ids)

    @cached_property
    def answer_logprobs(self) -> Float[NDArray[np.float32], " step"]:
        """Log-probability of each token of the answer after those before it, in nats.

        Of the states that were kept, or of one more pass where they were not.
        """
        rows = self._steps
        if not self.answer.ids or len(rows) < len(self.answer.ids):
            return self._said().effects([self.request.under]).logprobs[0].numpy()
        wanted = torch.tensor(self.answer.ids)
        return self._logits(rows).log_softmax(-1).gather(1, wanted[:, None])[:, 0].numpy()

    @cached_property
    def predicted(self) -> tuple[int, ...]:
        """What the model itself would say at each step that was kept: ids, placeholders of pictures apart."""
        never = torch.tensor(self.adapter.unspeakable, dtype=torch.long)
        return tuple(self._logits(self._steps).index_fill(1, never, -torch.inf).argmax(-1).tolist())

    def under(self, interventions: Interventions) -> Trace:
        """The same question, run again under interventions that hold for the pass and for the answer.

        Positions and layers are kept as they were asked for; the answer is told anew, unless it was given.

        Raises:
            SelectionError, InterventionError: an intervention does not fit the prompt.
        """
        from patchlens.run import run_together

        both = together([together(self.request.under), together(interventions)])
        prompt = self.adapter.continued(self.inputs, ())
        return run_together(self.adapter, [(self.pictures, prompt)], replace(self.request, under=both))[0]

    def effects(
        self, interventions: Sequence[Interventions], answer: str | Sequence[int] | None = None
    ) -> Effects:
        """What becomes of an answer's log-probability under each of some interventions, in few passes.

        Args:
            interventions: one entry per run: an intervention, or several to be done together.
            answer: text or token ids; None for the answer of this trace.

        Raises:
            PromptError: the answer is empty, so there is nothing to speak of.
            SelectionError, InterventionError: an intervention does not fit the prompt.
            NumericsError: an intervention makes the model's logits not finite.
        """
        runs = self._runs(interventions)
        spoken = self.answer if answer is None else given_answer(self.adapter, self.inputs, answer)
        found = self._said(spoken).effects([self.request.under, *runs]).logprobs.numpy()
        pieces = piece_table(self.adapter.tokenizer, spoken.ids)
        return Effects(
            spoken,
            tuple(pieces[token] for token in spoken.ids),
            tuple(str(one) for one in interventions),
            found[0],
            found[1:],
        )

    def next_logprobs(
        self, interventions: Sequence[Interventions], tokens: Sequence[int] | None = None
    ) -> Float[NDArray[np.float32], "run token"]:
        """Log-probabilities of tokens where the answer starts, under each of some interventions, in nats.

        Args:
            interventions: one entry per run; ``()`` for the plain run.
            tokens: ids; None for the whole vocabulary.

        Raises:
            SelectionError, InterventionError, TargetError, NumericsError: as `effects`.
        """
        wanted = range(self.adapter.vocab_size) if tokens is None else tokens
        return self._prompt.effects(self._runs(interventions), wanted).first.numpy()

    def answers(
        self, interventions: Sequence[Interventions], max_new_tokens: int | None = None
    ) -> tuple[Answer, ...]:
        """The greedy answer under each of some interventions, which hold at every step.

        Args:
            interventions: one entry per run; ``()`` for the plain run.
            max_new_tokens: length limit; None for that of the trace.

        Raises:
            SelectionError, InterventionError: an intervention does not fit the prompt.
        """
        most = self.request.max_new_tokens if max_new_tokens is None else max_new_tokens
        found = self._prompt.answers(self._runs(interventions), most)
        return tuple(Answer(answer_text(self.adapter.tokenizer, ids), tuple(ids)) for ids in found)

    def ablate(
        self,
        patches: PatchesLike = "all",
        *,
        by: By | None = None,
        layer: int = 0,
        draws: int = 20,
        seed: int = 0,
    ) -> Ablation:
        """Replace some patches: what the answer loses and becomes, beside as many random patches.

        Args:
            patches: numbers, a `Box` in pixels, a mask of pixels, grid or patches, or "all".
            by: what stands there instead; None for the mean patch of the prompt.
            layer: as `patchlens.Ablate` takes it.
            draws: how many random sets, drawn from all patches.
            seed: of the draws.

        Raises:
            SelectionError: no patch is meant, one does not exist, or fewer than one draw.
            PromptError: the model answers nothing.
            InterventionError: the replacement does not fit, or vision states are meant at a later layer.
        """
        if draws < 1:
            raise SelectionError(f"{draws} random draws are no control: take 1 or more")
        stage, fill = Stage(self.adapter, self.inputs), by or OwnMean()
        numbers, total = stage.numbers(patches), len(stage.patches)
        rng = np.random.default_rng(seed)
        drawn = [rng.choice(total, len(numbers), replace=False).tolist() for _ in range(draws)]
        runs = [Ablate(Patches(each), fill, layer) for each in (numbers, *drawn)]
        change = self.effects(runs).change
        answers = self.answers(runs)
        return Ablation(
            patches=numbers,
            n_patches=total,
            layer=layer,
            fill=str(fill),
            plain=self.answer,
            answer=answers[0],
            change=float(change[0]),
            control=change[1:],
            control_answers=answers[1:],
        )

    def map(
        self, *, block: int = 3, step: int = 1, by: By | None = None, image: int = 0
    ) -> Float[NDArray[np.float64], "row col"]:
        """How much the answer loses where patches around each patch are replaced: a causal map.

        Occlusion by overlapping blocks (after Zeiler & Fergus 2014) of states as they enter the decoder.

        Args:
            block: patches across a block.
            step: patches from one block's centre to the next.
            by: what stands there instead; None for the mean patch of the prompt.
            image: which picture.

        Returns:
            Change of the answer's log-probability in nats, negative where it loses; NaN where no block is
            centred.

        Raises:
            SelectionError: no such picture, or a block or step under 1.
            PromptError: the model answers nothing.
        """
        if not 0 <= image < len(self.inputs.grids):
            raise SelectionError(f"there is no picture {image}: this prompt has {len(self.inputs.grids)}")
        grid = patch_grid(self.inputs.patch_places)
        parts = [part for part in blocks(grid, block, step) if grid[part.centre, 0] == image]
        runs = [Ablate(part.patches.tolist(), by or OwnMean()) for part in parts]
        values = np.full((self.inputs.grids[image].rows, self.inputs.grids[image].cols), np.nan)
        centres = grid[[part.centre for part in parts]]
        values[centres[:, 1], centres[:, 2]] = self.effects(runs).change
        return values

    def patch_states(self, layer: int = 0) -> Float[Tensor, "patch d_model"]:
        """States of all patches, before the final norm; vision states of a cross-attention model.

        Raises:
            SelectionError: there is no picture, or the layer or a patch was not kept.
        """
        stage = Stage(self.adapter, self.inputs)
        rows = stage.patches.tolist()
        vision = self.captured.vision
        if self.inputs.vision_places is None:
            return self.resid_at(layer, rows)
        if layer != 0 or vision is None:
            raise SelectionError("vision states have no layers: ask for those of layer 0")
        return vision[rows]

    # -- inside --------------------------------------------------------------------------------------

    @contextmanager
    def _interventions(self, inputs: Inputs) -> Generator[None]:
        """The interventions of this trace hold for every pass over these inputs inside."""
        with intervening(self.adapter, inputs, self.request.under):
            yield

    @property
    def _steps(self) -> list[int]:
        """Rows of the kept positions that predict a token of the answer, in order."""
        return np.flatnonzero(self.positions.step >= 0).tolist()

    def _logits(self, rows: Sequence[int]) -> Float[Tensor, "pos vocab"]:
        """The model's own logits at some kept positions, float32, on the CPU."""
        with torch.inference_mode():
            return self.adapter.unembed.logits(self.captured.final[list(rows)]).float().cpu()

    def _runs(self, interventions: Sequence[Interventions]) -> list[Interventions]:
        own = together(self.request.under)
        return [together([own, together(each)]) for each in interventions]

    @cached_property
    def _prompt(self) -> Rerun:
        return rerun(self.adapter, self.adapter.continued(self.inputs, ()))

    @cached_property
    def _reruns(self) -> dict[tuple[int, ...], Rerun]:
        return {}

    def _said(self, answer: Answer | None = None) -> Rerun:
        """The prompt with an answer, run plainly; the last one is kept."""
        ids = (self.answer if answer is None else answer).ids
        if not ids:
            raise PromptError(
                "there is no answer whose probability could change: trace with max_new_tokens of 1 or more, "
                "or give answer="
            )
        if ids not in self._reruns:
            self._reruns.clear()
            self._reruns[ids] = rerun(self.adapter, self.adapter.continued(self.inputs, ids))
        return self._reruns[ids]


def given_answer(adapter: Adapter, inputs: Inputs, answer: str | Sequence[int]) -> Answer:
    """An answer to a prompt that is given as text or ids, as the model's tokens.

    Raises:
        PromptError: it holds no token.
    """
    ids = following_ids(adapter.tokenizer, inputs.text, answer) if isinstance(answer, str) else answer
    if not len(ids):
        raise PromptError(f"the answer {answer!r} has no token: give a word")
    return Answer(answer_text(adapter.tokenizer, ids), tuple(int(token) for token in ids))
