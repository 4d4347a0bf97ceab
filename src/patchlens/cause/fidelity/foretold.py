"""Fidelity: whether a lens foretells what the model will say when its state is changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Final, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from patchlens.axes import check_layers
from patchlens.causal import Replace
from patchlens.cause.cases import CasesLike, about_cases, as_cases, drawn_cases
from patchlens.cause.fidelity.directions import PLACES, Axes, axes_by_lens, reference_states
from patchlens.cause.fidelity.rows import rows_of, sentence_of
from patchlens.cause.finding import Finding
from patchlens.cause.ledger import Record, six_digits
from patchlens.cause.runner import Experiment
from patchlens.cause.settings import FidelitySettings, Place
from patchlens.data.item import Item
from patchlens.demo import bundled_lenses
from patchlens.errors import LensError, SelectionError
from patchlens.lens import Lens, LensLike, open_lens
from patchlens.models.unembed import Unembed
from patchlens.progress import Progress, silent
from patchlens.run import Model
from patchlens.scenes.questions import ask
from patchlens.scenes.seeds import VALIDATION_SEEDS

REFERENCE: Final = 128
"""Drawn scenes that mean and directions are taken from."""
_LOGITS_AT_ONCE: Final = 4_000_000
_FIELDS: Final = ("foretold", "word", "shift", "true", "true_word", "size")

Figures: TypeAlias = tuple[Float[Tensor, " direction"], Float[Tensor, " direction"]]
"""By direction: KL from the plain distribution, and change of the answer's word's log-probability, nats."""


def cause_fidelity(
    model: Model,
    data: CasesLike,
    settings: FidelitySettings | None = None,
    *,
    prompt: str | None = None,
    lenses: Mapping[str, LensLike] | None = None,
    reference: CasesLike | None = None,
    about: str | None = None,
    out: Path | None = None,
    progress: Progress = silent,
) -> Finding:
    """Hold what each lens foretells of a change against what the change does to the model.

    One direction of a state at a time is set to its mean over the reference pictures. Foretold is the KL from
    the lens's distribution at the changed state to that at the state itself (of patches, the mean over them);
    true is the same of the model's distribution where the answer starts, when the same states stand at that
    layer in a pass. Both are averaged over pictures and compared over directions by Spearman's rank
    correlation (after Belrose et al. 2023, arXiv 2303.08112, section 4, who report 0.89). Large steps move
    every distribution more, so the size of the step alone is ranked too: what a lens adds is what goes beyond
    it.

    Args:
        model: what `patchlens.load` returns.
        data: a folder, a ``.jsonl`` file or ``scenes:N``, items, or cases.
        settings: what is changed.
        prompt: what to ask of each picture of a folder.
        lenses: by the name they go under; each must give a distribution at the changed place. `lenses_of` the
            model if left out.
        reference: other pictures, from which mean and directions are taken; `REFERENCE` kept drawn scenes if
            left out.
        about: what the pictures are, in words.
        out: NAME.jsonl, a line per case; run again, it goes on from there.
        progress: told what is being done, how much is done, and of how much.

    Raises:
        LensError: a lens gives no distribution.
        SelectionError: a layer does not exist, or patches have no states at every layer.
        DataError: the reference is too small, or the file is of another run.
    """
    own, unembed = settings or FidelitySettings(), model.adapter.unembed
    layers, cases = _layers(model, own), as_cases(data, prompt)
    kept = _reference() if reference is None else as_cases(reference, prompt)
    named = lenses_of(model) if lenses is None else lenses
    opened = {name: open_lens(lens, model) for name, lens in named.items()}
    readers = {name: speaking(name, lens, own.at) for name, lens in opened.items()}
    parameters = {
        **asdict(own),
        "layers": list(layers),
        "lenses": {name: dict(lens.params()) for name, lens in opened.items()},
    }
    beside = {"reference": [case.name for case in kept]}
    trial = Experiment("fidelity", model, cases, parameters, out, progress, beside)
    states = reference_states(model, kept, layers, own.at, progress)
    axes = axes_by_lens(own.basis, own.directions, states, readers, unembed, own.seed)
    records = list(trial.records(partial(_record, model, readers, axes, own.at)).values())
    rows = rows_of(records, list(readers), layers, own.basis, own.seed)
    counts = sorted({len(of[layer].directions) for of in axes.values() for layer in layers})
    return trial.finding(
        f"{_what(own, counts)} taken out of {own.at} at {_where(layers)} · {about or about_cases(cases)}",
        rows,
        sentence_of(rows, list(readers)),
        notes=_notes(own, cases),
        settled={"reference": len(kept), "weights": trial.ledger.head["weights"]},
    )


def lenses_of(model: Model, names: Sequence[str] = ()) -> dict[str, Lens]:
    """The logit lens and others by short names: those asked for by name or file, else those of the model.

    Of lenses that come with a model those are left out that give no distribution.

    Raises:
        SelectionError, FormatError, LensError: as `patchlens.open_lens`.
    """
    found: dict[str, Lens] = {}
    for name in dict.fromkeys(["logit", *(names or bundled_lenses(model.name))]):
        short = Path(name).stem
        found[name if short in found else short] = open_lens(name, model)
    return {name: lens for name, lens in found.items() if names or lens.has_distribution}


def _reference() -> tuple[Item, ...]:
    return drawn_cases(ask, 1, REFERENCE, first=VALIDATION_SEEDS)


def speaking(name: str, lens: Lens, at: Place) -> Lens:
    """The lens that gives a distribution at the changed place.

    Raises:
        LensError: it compares states, or lays out pictures: it says nothing of what a state would be said as.
    """
    if not lens.has_distribution:
        raise LensError(
            f"the {name} lens gives no distribution over the next token at a state, so it cannot foretell "
            "what a change does: choose logit, tuned or jacobian"
        )
    return lens.for_kind("answer" if at == "last" else "patch")


def _record(
    model: Model, readers: Mapping[str, Lens], axes: Mapping[str, Mapping[int, Axes]], at: Place, case: Item
) -> Record:
    trace = model.trace(case.open(), case.prompt, max_new_tokens=0, positions=PLACES[at])
    unembed, n_layers = model.adapter.unembed, model.n_layers
    plain = torch.from_numpy(trace.next_logprobs([()]))
    word = int(plain.argmax())
    found: Record = {name: {} for name in readers}
    known: dict[int, Figures] = {}
    for name, lens in readers.items():
        for layer, own in axes[name].items():
            resid = trace.resid_at(layer).float().cpu()
            changed = own.ablated(resid)
            if id(own) not in known:
                runs = [Replace(states, at, layer) for states in changed]
                said = torch.from_numpy(trace.next_logprobs(runs))
                known[id(own)] = _kl(plain, said), said[:, word] - plain[0, word]
            shifted = (layer + n_layers // 2) % n_layers
            foretold, said_word = _foretold(unembed, lens, resid, changed, layer, word)
            other, _ = _foretold(unembed, lens, resid, changed, shifted, word)
            values = (foretold, said_word, other, *known[id(own)], own.sizes(resid))
            for what, value in zip(_FIELDS, values, strict=True):
                found[name].setdefault(what, []).append(six_digits(value.tolist()))
    return found


def _foretold(
    unembed: Unembed,
    lens: Lens,
    resid: Float[Tensor, "place d_model"],
    changed: Float[Tensor, "direction place d_model"],
    layer: int,
    word: int,
) -> Figures:
    """KL from the lens's distribution, and change of a word's log-probability there, the mean over places."""
    kl: list[Tensor] = []
    moved: list[Tensor] = []
    with torch.inference_mode():
        before = unembed.next_log_probs(lens.normed(resid.to(unembed.weight.device), layer, unembed))
        at_once = max(1, _LOGITS_AT_ONCE // (len(resid) * unembed.vocab))
        for part in changed.split(at_once):
            rows = part.flatten(0, 1).to(unembed.weight.device)
            after = unembed.next_log_probs(lens.normed(rows, layer, unembed)).unflatten(0, part.shape[:2])
            kl.append(_kl(before, after).mean(1))
            moved.append((after[..., word] - before[:, word]).mean(1))
    return torch.cat(kl), torch.cat(moved)


def _kl(
    before: Float[Tensor, "*#batch vocab"], after: Float[Tensor, "*#batch vocab"]
) -> Float[Tensor, "*batch"]:
    return (before.exp() * (before - after)).sum(-1).clamp(min=0)


def _layers(model: Model, settings: FidelitySettings) -> tuple[int, ...]:
    """The layers asked for.

    Raises:
        SelectionError: one does not exist, or patches have no states there.
    """
    if settings.at == "patches" and model.adapter.cross_blocks:
        raise SelectionError(
            "no patch has a state at every layer here, as pictures that are read by cross-attention have "
            "none: change the states of the last position"
        )
    if settings.layers is not None:
        return check_layers(settings.layers, model.n_layers)
    return tuple(range(1 if settings.at == "last" else 0, model.n_layers))


def _what(settings: FidelitySettings, counts: Sequence[int]) -> str:
    many = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    named = "principal directions" if settings.basis == "principal" else "directions of each lens"
    return f"{many} {named}, one at a time,"


def _where(layers: Sequence[int]) -> str:
    if len(layers) > 1 and list(layers) == list(range(layers[0], layers[-1] + 1)):
        return f"layers {layers[0]} to {layers[-1]}"
    return f"layer{'s' if len(layers) > 1 else ''} {', '.join(map(str, layers))}"


def _notes(settings: FidelitySettings, cases: Sequence[Item]) -> tuple[str, ...]:
    notes = [
        "control: directions shuffled, or what the row says; without a layer: the mean over layers",
        "answer's word: foretold against true change of its log-probability, picture by picture",
    ]
    if len(cases) < 2:
        notes.append("of one picture there is no interval, and its figures are of no other")
    if settings.basis == "lens":
        notes.append("each lens has its own directions here, so lenses are not compared on the same changes")
    return tuple(notes)
