"""Many interventions on one prompt in few passes, exactly as one pass for each would have it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float
from torch import Tensor

from patchlens.causal.plan import Batch, Plan, resolve
from patchlens.causal.protocol import Interventions
from patchlens.errors import NumericsError, TargetError
from patchlens.models.adapter import Adapter, Recording
from patchlens.models.inputs import Inputs

CPU_MB, GPU_MB = 4, 1024  # on a CPU what stays in its caches is faster than what fills its memory
SPARED = 8  # rows go together if that costs none of them more than this share of its positions


@dataclass(frozen=True)
class Logprobs:
    """What the model says under each intervention, in nats, in float32.

    ``logprobs`` are of the answer's tokens, each after those before it (no step where the inputs hold no
    answer); ``first`` those of ``tokens`` where the answer starts.
    """

    logprobs: Float[Tensor, "run step"]
    first: Float[Tensor, "run token"]
    tokens: tuple[int, ...]

    @property
    def total(self) -> Float[Tensor, " run"]:
        """Log-probability of the whole answer."""
        return self.logprobs.sum(1)


@dataclass(frozen=True)
class Rerun:
    """One prompt, run plainly once, to be run again under interventions.

    Only what can differ is computed again: layers and positions from the first that an intervention touches
    on, and never the vision tower. Rows that start at like positions go through the blocks together, as many
    as ``memory_mb`` (10^6 bytes) is estimated to hold beside the model and the plain run: states, masks, keys
    and values, and the logits of the answer's positions. One row is always run.
    """

    adapter: Adapter = field(repr=False)
    inputs: Inputs = field(repr=False)
    recording: Recording = field(repr=False)
    memory_mb: int = CPU_MB

    def effects(self, interventions: Sequence[Interventions], tokens: Sequence[int] = ()) -> Logprobs:
        """Log-probabilities of the answer that ``inputs`` hold, under each intervention.

        Args:
            interventions: one entry per run: an intervention, several together, or ``()`` for the plain run.
            tokens: ids whose log-probability at the answer's first position is wanted.

        Returns:
            One row per entry, in the order given, on the CPU.

        Raises:
            SelectionError, InterventionError: an intervention does not fit the prompt.
            TargetError: a token does not exist.
            NumericsError: an intervention makes the model's logits not finite.
        """
        self._check_tokens(tokens)
        inputs = self.inputs
        plans = [resolve(self.adapter, inputs, each) for each in interventions]
        answer = torch.from_numpy(inputs.ids[inputs.n_prompt :]).long()
        logprobs = torch.empty(len(plans), len(answer))
        first = torch.empty(len(plans), len(tokens))
        end = max(len(inputs) - 1, inputs.n_prompt)
        with torch.inference_mode(), self.adapter.undisturbed():
            for numbers, low in self._chunks(plans, end, len(answer)):
                chunk = Batch([plans[number] for number in numbers], (low, end))
                said = self._logits(self._final(chunk)).log_softmax(-1).cpu()
                logprobs[numbers] = said[:, : len(answer)].gather(
                    2, answer[None, :, None].expand(len(numbers), -1, 1)
                )[..., 0]
                first[numbers] = said[:, 0, list(tokens)]
        return Logprobs(logprobs, first, tuple(tokens))

    def answers(
        self, interventions: Sequence[Interventions], max_new_tokens: int = 20
    ) -> tuple[tuple[int, ...], ...]:
        """Token ids of the greedy answer under each intervention, without the token that ends it.

        Every intervention holds at every step: an edit of patches stays in what later positions see, and
        groups such as "answer" cover new positions. An answer that ``inputs`` hold is left out. Placeholder
        tokens of pictures are never said.

        Args:
            interventions: as for `effects`.
            max_new_tokens: length limit, also bound by the model's context.

        Raises:
            SelectionError, InterventionError: an intervention does not fit the prompt.
        """
        most = self.adapter.max_positions
        room = max_new_tokens if most is None else min(max_new_tokens, most - self.inputs.n_prompt)
        if room < 1:
            return tuple(() for _ in interventions)
        with torch.inference_mode(), self.adapter.undisturbed():
            inputs = self.adapter.continued(self.inputs, [_plain_token(self.adapter)] * room)
            longer = replace(self, inputs=inputs, recording=self.adapter.recorded(inputs))
            plans = [resolve(self.adapter, inputs, each) for each in interventions]
            found: dict[int, tuple[int, ...]] = {}
            for numbers, low in longer._chunks(plans, len(inputs), 1, keep=True):
                chunk = Batch([plans[number] for number in numbers], (low, inputs.n_prompt))
                found |= dict(zip(numbers, longer._spoken(chunk, room), strict=True))
        return tuple(found[number] for number in range(len(plans)))

    def _final(self, batch: Batch) -> Float[Tensor, "run pos d_model"]:
        """States of the last layer from the prompt's last position to the window's end."""
        rows = self.recording.rows(len(batch.plans))
        start = min(plan.start[1] for plan in batch.plans)
        first, end = batch.window
        states = self.recording.resid[start][first:end].expand(len(batch.plans), -1, -1)
        vision = self._vision(batch)
        with self.adapter.masking(batch.masked_blocks, batch.mask):
            states = batch.edited(start, states)
            return rows.run(
                start, states, batch.window, batch, tail=end - self.inputs.n_prompt + 1, vision=vision
            )

    def _spoken(self, batch: Batch, room: int) -> list[tuple[int, ...]]:
        n, adapter, n_prompt = len(batch.plans), self.adapter, self.inputs.n_prompt
        rows = self.recording.rows(n, keep=True)
        start = min(plan.start[1] for plan in batch.plans)
        low, end = batch.window
        ids = torch.from_numpy(self.inputs.ids).long().to(adapter.device).repeat(n, 1)
        states = self.recording.resid[start][low:end].expand(n, -1, -1)
        vision = self._vision(batch)
        ended = torch.zeros(n, dtype=torch.bool, device=adapter.device)
        ends = torch.tensor(adapter.ends, dtype=torch.long, device=adapter.device)
        with adapter.masking(batch.masked_blocks, batch.mask):
            for step in range(room):
                states = batch.edited(start, states)
                final = rows.run(start, states, batch.window, batch, tail=1, vision=vision)
                logits = self._logits(final[:, -1])
                logits[:, list(adapter.unspeakable)] = -torch.inf
                ids[:, n_prompt + step] = logits.argmax(-1).to(ids.device)
                ended |= torch.isin(ids[:, n_prompt + step], ends)
                if ended.all() or step + 1 == room:
                    break
                at, start = n_prompt + step, 0
                batch.moved((at, at + 1))
                states = adapter.embedded(ids)[:, at : at + 1]
        return [_until(row, set(adapter.ends)) for row in ids[:, n_prompt:].tolist()]

    def _vision(self, batch: Batch) -> Tensor | None:
        vision = self.recording.vision
        if vision is None or not any(plan.edits_vision for plan in batch.plans):
            return None
        return batch.edited(None, vision.expand(len(batch.plans), -1, -1))

    def _logits(self, final: Tensor) -> Tensor:
        logits = self.adapter.unembed.logits(final).float()
        if not torch.isfinite(logits).all():
            raise NumericsError(
                f"{self.adapter.name} in {self.adapter.dtype} gives logits that are not finite under an "
                "intervention: weaken it, or load the model in float32"
            )
        return logits

    def _chunks(
        self, plans: Sequence[Plan], end: int, n_logits: int, *, keep: bool = False
    ) -> list[tuple[list[int], int]]:
        """Numbers of plans that run together, and the first position of their window."""
        last = self.inputs.n_prompt - 1
        starts = [min(plan.start[0], last) for plan in plans]
        order = sorted(range(len(plans)), key=lambda number: (starts[number], plans[number].start[1]))
        chunks: list[tuple[list[int], int]] = []
        while order:
            low = starts[order[0]]
            most = max(1, self.memory_mb * 10**6 // self._row_bytes(end - low, end, n_logits, keep))
            near = low + (end - low) // SPARED
            size = sum(starts[number] <= near for number in order[:most])
            chunks.append((order[:size], low))
            order = order[size:]
        return chunks

    def _row_bytes(self, window: int, end: int, n_logits: int, keep: bool) -> int:
        """About what a row takes at once: one block's states, its masks and scores, its keys and values."""
        config, adapter = self.adapter.text_config, self.adapter
        inner = int(getattr(config, "intermediate_size", None) or 4 * adapter.d_model)
        n_states = 0 if self.recording.vision is None else len(self.recording.vision)
        states = window * (6 * adapter.d_model + 3 * inner) + 3 * n_states * adapter.d_model
        scores = window * max(end, n_states) * (int(config.num_attention_heads) + 1)
        held = 2 * end * adapter.d_model * (2 * adapter.n_layers if keep else 1)
        return adapter.dtype.itemsize * (states + scores + held) + 8 * max(n_logits, 1) * adapter.vocab_size

    def _check_tokens(self, tokens: Sequence[int]) -> None:
        for token in tokens:
            if not 0 <= token < self.adapter.vocab_size:
                raise TargetError(
                    f"token id {token} does not exist: this model has ids 0 to {self.adapter.vocab_size - 1}"
                )


def rerun(adapter: Adapter, inputs: Inputs, *, memory_mb: int | None = None) -> Rerun:
    """Run a prompt plainly once and keep what is needed to run it again under interventions.

    Args:
        adapter: the model.
        inputs: what `patchlens.models.inputs.prepare` made, with the answer to be measured if there is one
            (``answer_ids``, or `Adapter.continued`).
        memory_mb: bound on what the rows of one batch take (10^6 bytes); None for 4 on a CPU, whose caches
            hold little more, and 1024 elsewhere. Beside it, the plain run's
            states, keys and values of all layers are held.

    Raises:
        IdentityCheckError: the model's states do not unembed to its logits.
        UnsupportedModelError: its blocks are called in a way patchlens does not know.
    """
    with torch.inference_mode():
        usual = CPU_MB if adapter.device.type == "cpu" else GPU_MB
        return Rerun(adapter, inputs, adapter.recorded(inputs), memory_mb or usual)


def _plain_token(adapter: Adapter) -> int:
    """Any token of text, to stand at positions that are not read."""
    pictures = {adapter.image_token_id, *adapter.unspeakable}
    return next(token for token in range(adapter.vocab_size) if token not in pictures)


def _until(ids: Sequence[int], ends: set[int]) -> tuple[int, ...]:
    stop = next((index for index, token in enumerate(ids) if token in ends), len(ids))
    return tuple(ids[:stop])
