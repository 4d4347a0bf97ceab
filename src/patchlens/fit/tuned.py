"""Fit a tuned lens to a model on pictures or texts, and say how good it is."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from patchlens.axes import FIT_KINDS, FitKind
from patchlens.data.item import Item
from patchlens.data.read import about_items, as_items
from patchlens.errors import FitError
from patchlens.fit.batches import Batches, strangers
from patchlens.fit.closed_form import POSITIONS_PER_DIMENSION, ClosedForm
from patchlens.fit.control import Control, judge
from patchlens.fit.gather import Gathered, gather, working
from patchlens.fit.gradient import before_norm, lowest, mean_kl, refine
from patchlens.fit.guard import LeftOut, Pictures, cross_judged, guarded, judged
from patchlens.fit.measure import KindSums, measure
from patchlens.fit.report import FitReport, kind_report
from patchlens.fit.settings import TunedSettings
from patchlens.fit.split import Side
from patchlens.fit.states import Keep, StateBatch
from patchlens.lens import Lens, LogitLens, save_lens
from patchlens.lens.tuned import TunedLens
from patchlens.models.adapter import Adapter
from patchlens.progress import Tell, silent
from patchlens.run import Model


@dataclass(frozen=True)
class FitResult:
    """A fitted lens and its report."""

    lens: TunedLens
    report: FitReport


def fit_tuned(
    model: Model,
    data: str | Path | Sequence[Item],
    settings: TunedSettings | None = None,
    *,
    prompt: str | None = None,
    out: str | Path | None = None,
    about: str | None = None,
    disk_gb: float = 20.0,
    progress: Tell | None = None,
) -> FitResult:
    """Fit a tuned lens (Belrose et al. 2023) on what a model answers about some items.

    The model answers each item greedily and reads item and answer once more; the kept states go to disk, at
    most ``disk_gb`` of them, and every later pass reads one item at a time. With ``out`` they lie in
    ``LENS.fit`` beside it until all is done, so that a stopped fit goes on where it was and gives the same.

    Args:
        model: whose states are fitted.
        data: prompts with pictures or without, or where `patchlens.read_items` finds them.
        settings: how to fit; the defaults if None.
        prompt: what to ask of each picture that comes without a prompt.
        out: NAME.safetensors to write; NAME.report.json and NAME.report.md come beside it. None writes none.
        about: what the items are, in words, for the report.
        disk_gb: limit of the disk the states may take, in 10^9 bytes.
        progress: called with what is being done, how much is done, of how much, and the loss where there is
            one.

    Raises:
        DataError: too few pictures, or ``LENS.fit`` holds the fit of other arguments, model or data.
        FitError: no or too few positions of a kind.
        SelectionError, ImageError, PromptError, OutputError, NumericsError: as their names say.
    """
    settings, tell = settings or TunedSettings(), progress or silent
    target = None if out is None else Path(out)
    keep = Keep(settings.kinds or FIT_KINDS, settings.patches, settings.seed)
    model.adapter.prove()
    with working(target) as folder:
        gathered = gather(
            model,
            as_items(data, prompt),
            folder,
            keep,
            settings.arguments(),
            needed=settings.kinds or (),
            held_out=settings.held_out,
            validation=settings.chooses,
            max_new_tokens=settings.max_new_tokens,
            disk_gb=disk_gb,
            progress=tell,
        )
        result = _Fit(model.adapter, gathered, settings, tell).run(about or about_items(data))
        if target is not None:
            save_lens(result.lens, target, model, report=json.loads(result.report.to_json()))
            result.report.save(target)
    return result


@dataclass(frozen=True)
class _Fit:
    """Solver, measures and report over gathered states."""

    adapter: Adapter
    gathered: Gathered
    settings: TunedSettings
    tell: Tell

    def run(self, data: str) -> FitResult:
        lens, strengths = self._solve(
            self.gathered.batches("train"), self.gathered.batches("validation"), "lens"
        )
        self._need_kinds(lens)
        lens = replace(lens, data=data)
        held_out, train = (self._measure({"raw": LogitLens(), "tuned": lens}, side) for side in _MEASURED)
        control = self._control(strengths, held_out)
        report = FitReport(
            lens=lens.name,
            model=_model_facts(self.adapter),
            settings=self.settings.arguments(),
            data=data,
            items={side: self.gathered.count(side)[0] for side in _SIDES},
            pictures={side: self.gathered.count(side)[1] for side in _SIDES},
            excluded=self.gathered.store.excluded(range(len(self.gathered.sides))),
            kinds={
                kind: kind_report(
                    held_out[kind],
                    train[kind],
                    fitted=lens.positions[kind],
                    d_model=self.adapter.d_model,
                    strength=strengths[kind],
                )
                for kind in lens.kinds
                if kind in held_out and kind in train
            },
            control=control,
            notes=tuple(note for note in (lens.note, "" if control else _NO_CONTROL) if note),
        )
        return FitResult(lens, report)

    def _solve(
        self, train: Batches, validation: Batches, what: str, strengths: Sequence[float] | None = None
    ) -> tuple[TunedLens, dict[FitKind, float]]:
        """Fit on batches; returns the lens and the ridge strength of each kind."""
        adapter, settings = self.adapter, self.settings
        closed = ClosedForm(adapter.n_layers, adapter.d_model, adapter.unembed, seed=settings.seed)
        for done, batch in enumerate(train):
            self.tell(f"fitting the {what}", done, len(train))
            closed.add(batch.resid, batch.final, batch.kinds)
        self.tell(f"fitting the {what}", len(train), len(train))
        lens, chosen = self._strongest(closed, validation, strengths or settings.strengths)
        lens = self._guarded(lens, train, validation, chosen)
        if settings.method == "gradient":
            lens = self._refined(lens, train, validation, what)
        return lens, chosen

    def _refined(self, lens: TunedLens, train: Batches, validation: Batches, what: str) -> TunedLens:
        """Descend from the closed form and from the logit lens: which is better depends on the layer."""
        adapter, settings = self.adapter, self.settings
        near = before_norm(lens, train, adapter.unembed)
        plain = TunedLens.identity(lens.n_layers, lens.d_model, kinds=tuple(lens.kinds))
        found = [
            refine(
                start,
                lambda: train,
                lambda: validation,
                adapter.unembed,
                seed=settings.seed,
                epochs=settings.epochs,
                rate=settings.rate,
                patience=settings.patience,
                progress=lambda done, total, losses, before=before: self.tell(
                    f"refining the {what}", before + done, 2 * total, _told(losses)
                ),
            )
            for start, before in ((near, 0), (replace(near, kinds=plain.kinds), settings.epochs))
        ]
        return lowest(found, lambda: validation, adapter.unembed)

    def _strongest(
        self, closed: ClosedForm, validation: Iterable[StateBatch], strengths: Sequence[float]
    ) -> tuple[TunedLens, dict[FitKind, float]]:
        """Solve at each strength and give each kind the one with the lowest KL on validation pictures."""
        lenses = {strength: closed.solve(strength) for strength in strengths}
        first = lenses[strengths[0]]
        if len(lenses) == 1:
            return first, dict.fromkeys(first.kinds, strengths[0])
        kl = {s: mean_kl(lens, lambda: validation, self.adapter.unembed) for s, lens in lenses.items()}
        best: dict[FitKind, float] = {
            kind: min(strengths, key=lambda s, kind=kind: float(kl[s][kind].mean()) if kind in kl[s] else 0.0)
            for kind in first.kinds
        }
        return replace(first, kinds={kind: lenses[s].kinds[kind] for kind, s in best.items()}), best

    def _guarded(
        self, lens: TunedLens, train: Batches, validation: Batches, strengths: Mapping[FitKind, float]
    ) -> TunedLens:
        """Let layers stay raw where few positions made a kind's lens worse than none on pictures left out."""
        adapter, found = self.adapter, dict[FitKind, LeftOut | None]()
        for kind in lens.kinds:
            if lens.positions[kind] >= POSITIONS_PER_DIMENSION * adapter.d_model:
                continue
            aside = self._pictures(validation, kind)
            if aside:
                found[kind] = judged(kind, lens, aside, adapter.unembed)
            else:
                fit = partial(self._closed, strengths[kind])
                found[kind] = cross_judged(kind, fit, self._pictures(train, kind), adapter.unembed)
        return guarded(lens, found)

    def _closed(self, strength: float, batches: Iterable[StateBatch]) -> TunedLens:
        adapter = self.adapter
        closed = ClosedForm(adapter.n_layers, adapter.d_model, adapter.unembed, seed=self.settings.seed)
        for batch in batches:
            closed.add(batch.resid, batch.final, batch.kinds)
        return closed.solve(strength)

    def _pictures(self, batches: Batches, kind: FitKind) -> Pictures:
        """Positions of a kind by picture."""
        found: dict[int, list[int]] = {}
        for number, (index, batch) in enumerate(zip(batches.indices, batches, strict=True)):
            if kind in batch.kinds:
                found.setdefault(self.gathered.groups[index], []).append(number)
        return {group: partial(_of_kind, batches, numbers, kind) for group, numbers in found.items()}

    def _need_kinds(self, lens: TunedLens) -> None:
        missing = [kind for kind in self.settings.kinds or () if kind not in lens.kinds]
        if missing:
            raise FitError(
                f"there are no {missing[0]} positions to fit on in this model's sequences: leave it out"
            )

    def _measure(
        self, lenses: Mapping[str, Lens], side: Side, kinds: Sequence[FitKind] = FIT_KINDS
    ) -> dict[FitKind, KindSums]:
        indices = self._measured(side)
        steps = iter(range(1, len(indices) + 1))
        name = f"measuring, {side.replace('_', '-')} pictures"
        return measure(
            lenses,
            self._grouped(indices),
            self.adapter.unembed,
            n_groups=max(self.gathered.groups) + 1,
            n_layers=self.adapter.n_layers,
            kinds=kinds,
            progress=lambda: self.tell(name, next(steps), len(indices)),
        )

    def _measured(self, side: Side) -> tuple[int, ...]:
        """All items of a side, but of train no more than are held out."""
        indices, most = self.gathered.indices(side), len(self.gathered.indices("held_out"))
        order = np.random.default_rng(self.settings.seed).permutation(len(indices))
        return tuple(sorted(indices[number] for number in order[:most]))

    def _grouped(self, indices: Sequence[int]) -> Iterable[tuple[int, StateBatch]]:
        return ((self.gathered.groups[index], self.gathered.store.batch(index)) for index in indices)

    def _control(
        self, strengths: Mapping[FitKind, float], held_out: Mapping[FitKind, KindSums]
    ) -> Control | None:
        """Fit the control as the lens itself was, and hold both against the model's answers."""
        train, validation = self._shuffled("train"), self._shuffled("validation")
        lacking = not train or (self.settings.chooses and not validation)
        if "answer" not in held_out or lacking:
            return None
        control, _ = self._solve(train, validation, "control", [strengths["answer"]])
        sums = self._measure({"control": control}, "held_out", ["answer"])
        return judge(held_out["answer"], sums["answer"])

    def _shuffled(self, side: Side) -> Batches:
        store = self.gathered.store
        having = [i for i in self.gathered.indices(side) if "answer" in store.batch(i).kinds]
        partners = strangers(having, self.gathered.groups, self.settings.seed)
        return Batches(store, tuple(partners), partners)


_NO_CONTROL = "no control could be fitted: it needs answer positions of at least two pictures on each side"
_SIDES: tuple[Side, ...] = ("train", "validation", "held_out")
_MEASURED: tuple[Side, ...] = ("held_out", "train")


def _of_kind(batches: Batches, numbers: Sequence[int], kind: FitKind) -> Iterator[StateBatch]:
    return (batches[number].of_kind(kind) for number in numbers)


def _model_facts(adapter: Adapter) -> dict[str, Any]:
    return {
        "name": adapter.name,
        "revision": adapter.revision,
        "dtype": str(adapter.dtype).removeprefix("torch."),
        "n_layers": adapter.n_layers,
        "d_model": adapter.d_model,
        "vocab": adapter.vocab_size,
    }


def _told(losses: Mapping[FitKind, float]) -> str:
    return ", ".join(f"{kind} {loss:.3f}" for kind, loss in losses.items()) + " nats"
