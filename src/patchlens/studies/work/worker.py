"""Reads items with one model through every lens, batch by batch; what fails is told, not raised."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

import pyarrow as pa
import torch

from patchlens.attention import Account
from patchlens.axes import POSITION
from patchlens.concepts.dictionary import Dictionary
from patchlens.concepts.language import language_of
from patchlens.demo import bundled_lenses
from patchlens.errors import LensError, PatchlensError, SelectionError
from patchlens.lens import Lens
from patchlens.lens.open import is_lens, open_lens
from patchlens.models.digest import model_digest
from patchlens.models.tokens import piece_table
from patchlens.reading.reading import Reading
from patchlens.reading.seal import SUFFIX
from patchlens.reading.store import to_bytes
from patchlens.run import Model, Prepared, alike, load, run_together
from patchlens.studies.recipe.study import PROMPT
from patchlens.studies.schema import CELLS, EFFECTS, TARGETS
from patchlens.studies.work.columns import cell_rows, target_rows
from patchlens.studies.work.effects import effect_rows
from patchlens.studies.work.expected import says_expected
from patchlens.studies.work.followed import followed
from patchlens.studies.work.rows import Seen, asked_for, failed_item, gathered
from patchlens.studies.work.task import About, Bench, Done, Job, Task
from patchlens.trace import Request, Trace


class Worker:
    """Holds a model and its lenses.

    Raises:
        ModelNotFoundError, UnsupportedModelError, IdentityCheckError: the model cannot be read.
        SelectionError: there is no such lens, or none is for this model.
        FormatError, DataError: a lens's or the dictionary's file cannot be read.
    """

    def __init__(self, bench: Bench) -> None:
        own = bench.model
        model = load(own.load, dtype=own.dtype, device_map=own.device_map, revision=own.revision)
        model.adapter.prove()
        self._bench = bench
        self._model = model
        self._lenses: dict[str, Lens] = {}
        self._left_out: dict[str, str] = {}
        for lens in bench.lenses:
            try:
                self._lenses[lens.name] = _fitting(open_lens(lens.find, model), model)
            except (SelectionError, LensError) as error:
                if not is_lens(lens.find):
                    raise
                self._left_out[lens.name] = str(error)
        if bench.settings.top_k > model.vocab_size:
            raise SelectionError(
                f"top_k is {bench.settings.top_k}, but {own.name} has {model.vocab_size} tokens"
            )
        if not self._lenses:
            raise SelectionError(f"{own.name} is read through none of these lenses: {_told(self._left_out)}")
        extra = bench.settings.dictionary
        self._dictionary = Dictionary.builtin() if extra is None else Dictionary.open(Path(extra))
        self._languages: dict[str, str | None] = {}

    @cached_property
    def about(self) -> About:
        """What the model and the lenses are, by their content."""
        model = self._model
        return About(
            model={
                "revision": model.revision,
                "family": model.family,
                "dtype": str(model.dtype).removeprefix("torch."),
                "n_layers": model.n_layers,
                "vocab_size": model.vocab_size,
                "weights": model_digest(model.adapter),
            },
            lenses={
                lens.name: _lens_digest(lens.find, model.name)
                for lens in self._bench.lenses
                if lens.name in self._lenses
            },
            left_out=self._left_out,
            dictionary=_dictionary_digest(self._bench.settings.dictionary),
        )

    def run(self, task: Task) -> Done:
        """Read the items of a task; an item that fails has the reason in its row and no others."""
        seen: dict[int, Seen] = {}
        asked: list[tuple[Job, Prepared]] = []
        for job in task.jobs:
            try:
                asked.append((job, self._asked(job)))
            except Exception as error:  # whatever is wrong with one item must not cost the others
                seen[job.number] = failed_item(job, error)
        for numbers in alike([prepared for _, prepared in asked]):
            seen |= self._together([asked[number] for number in numbers])
        kinds = (CELLS, TARGETS, *((EFFECTS,) if self._bench.settings.effects else ()))
        return gathered([seen[job.number] for job in task.jobs], self._lenses, kinds)

    def _asked(self, job: Job) -> Prepared:
        if job.error is not None:
            raise PatchlensError(job.error)
        pictures = tuple(picture.open() for picture in job.pictures)
        prompt = self._bench.model.ask.replace(PROMPT, job.item.prompt)
        return self._model.prepare(pictures, prompt, chat=self._bench.settings.chat)

    def _together(self, group: Sequence[tuple[Job, Prepared]]) -> dict[int, Seen]:
        """Read a group in one pass, or one by one where that fails, say for want of memory."""
        try:
            traces = self._traced([prepared for _, prepared in group])
        except Exception as error:
            _give_memory_back()
            if len(group) == 1:
                return {group[0][0].number: failed_item(group[0][0], error)}
            return {number: one for pair in group for number, one in self._together([pair]).items()}
        seen: dict[int, Seen] = {}
        for (job, _), trace in zip(group, traces, strict=True):
            try:
                seen[job.number] = self._seen(job, trace)
            except Exception as error:
                _give_memory_back()
                seen[job.number] = failed_item(job, error)
        return seen

    def _traced(self, prepared: Sequence[Prepared]) -> list[Trace]:
        own = self._bench.settings
        request = Request(
            max_new_tokens=own.max_new_tokens,
            steps=own.steps,
            layers=own.layers,
            positions=own.positions,
            chat=own.chat,
        )
        return run_together(self._model.adapter, prepared, request)

    def _seen(self, job: Job, trace: Trace) -> Seen:
        own = self._bench.settings
        words = followed(self._model.tokenizer, job.item, trace.answer.ids, self._dictionary)
        targets = tuple(dict.fromkeys([*trace.answer.ids, *(word.target.token for word in words)]))
        account: Account | None = None
        if own.attention:
            account = trace.attend("steps" if own.steps and len(trace.answer.ids) > 1 else "answer")
        tables: dict[str, dict[str, pa.Table]] = {}
        readings: dict[str, bytes] = {}
        read: dict[str, Reading] = {}
        left_out: dict[str, str] = {}
        notes: dict[str, None] = dict.fromkeys(trace.notes)
        for name, lens in self._lenses.items():
            try:
                reading = trace.read(lens, top_k=own.top_k, targets=targets)
            except SelectionError as error:  # a lens for pictures, say, and an item without one
                left_out[name] = str(error)
                continue
            reading, missing = _with_channels(trace, reading, own.channels if trace.inputs.grids else ())
            notes |= dict.fromkeys(f"{name}: {note}" for note in missing)
            first = len(trace.inputs.vision_places or ()) if lens.reads_vision else 0
            tables[name] = {
                CELLS.name: cell_rows(job.item, reading, first, account, self._language),
                TARGETS.name: target_rows(job.item, reading, first, words),
            }
            read[name] = reading
            if own.readings:
                readings[name] = to_bytes(reading)
        if not tables:
            raise SelectionError(f"read through none of the lenses: {_told(left_out)}")
        if own.effects:
            for name, effects in effect_rows(job.item, trace, read, words).items():
                tables[name][EFFECTS.name] = effects
        notes |= dict.fromkeys(f"not read through {name}: {reason}" for name, reason in left_out.items())
        return Seen(self._row(job, trace, list(notes)), tables, readings)

    def _row(self, job: Job, trace: Trace, notes: list[str]) -> dict[str, object]:
        ids, inputs = trace.answer.ids, trace.inputs
        pieces = piece_table(self._model.tokenizer, ids)
        return {
            **asked_for(job),
            "answer": trace.answer.text,
            "answer_ids": list(ids),
            "answer_pieces": [pieces[token] for token in ids],
            "right": says_expected(trace.answer.text, job.item.expected),
            "positions": len(inputs),
            "patches": len(inputs.patches),
            "notes": notes,
        }

    def _language(self, piece: str) -> str | None:
        if piece not in self._languages:
            self._languages[piece] = language_of(piece, self._dictionary)
        return self._languages[piece]


def _fitting(lens: Lens, model: Model) -> Lens:
    if lens.reads_vision and not model.adapter.cross_blocks:
        raise SelectionError(f"the lens {lens.name} is for models that read pictures by cross-attention")
    return lens


def _with_channels(trace: Trace, reading: Reading, names: Sequence[str]) -> tuple[Reading, list[str]]:
    """A reading with the channels that can be had here, and why the others cannot."""
    missing: list[str] = []
    for name in names:
        try:
            reading = trace.with_channels(reading, [name])
        except SelectionError as error:
            missing.append(f"no channel {name}: {error}")
            continue
        if POSITION not in reading.channels[-1].axes:
            missing.append(
                f"the channel {name} has values at the model's vision states alone: read through cross"
            )
    return reading, missing


def _told(left_out: Mapping[str, str]) -> str:
    return "; ".join(f"{name}: {reason}" for name, reason in left_out.items())


def _lens_digest(name: str, model: str) -> str:
    """A file's hash, or the name of a lens that needs no file."""
    path = Path(name).expanduser() if name.endswith(SUFFIX) else bundled_lenses(model).get(name)
    return name if path is None else hashlib.sha256(path.read_bytes()).hexdigest()


def _dictionary_digest(path: str | None) -> str:
    return "built in" if path is None else hashlib.sha256(Path(path).read_bytes()).hexdigest()


def _give_memory_back() -> None:
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
