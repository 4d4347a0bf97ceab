"""Fidelity: whether a lens foretells what the model will say when its state is changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, Final

import torch
from jaxtyping import Float
from torch import Tensor

from patchlens.axes import check_layers
from patchlens.causal import Replace, rerun
from patchlens.cause.cases import Case
from patchlens.cause.fidelity.directions import (
    Axes,
    axes_by_lens,
    positions_of,
    reference_states,
)
from patchlens.cause.fidelity.rows import rows_of, sentence_of
from patchlens.cause.finding import Finding
from patchlens.cause.ledger import Ledger, Record, each, head_of, six_digits
from patchlens.cause.settings import FidelitySettings, Place
from patchlens.errors import LensError
from patchlens.lens import Lens
from patchlens.models.adapter import Adapter
from patchlens.models.inputs import Inputs, prepare
from patchlens.progress import Progress, silent

_LOGITS_AT_ONCE: Final = 4_000_000


def fidelity(
    adapter: Adapter,
    lenses: Mapping[str, Lens],
    cases: Sequence[Case],
    reference: Sequence[Case],
    settings: FidelitySettings | None = None,
    *,
    about: str = "",
    path: Path | None = None,
    tell: Progress | None = None,
) -> Finding:
    """Hold what lenses foretell of many changes against what these changes do.

    At each layer, one direction after another is mean-ablated, ``h <- h - v v^T (h - mean)``. Foretold is how
    the lens's distribution at the changed place moves, ``KL(p_lens(h) || p_lens(h'))``; true is how the
    model's own moves where the answer starts, when the same states stand at that layer in a pass. Both are
    averaged over pictures and compared over directions by Spearman's rank correlation (after Belrose et al.
    2023, arXiv 2303.08112, section 4, who report 0.89). Large steps move every distribution more, so the size
    of the step alone is ranked too: what a lens adds is what goes beyond it.

    Args:
        adapter: the model.
        lenses: by the name they are told under; each must give a distribution at the changed place.
        cases: pictures with their questions.
        reference: other pictures, from which mean and directions are taken.
        settings: what is changed.
        about: of the cases, in words.
        path: file of records, to go on from when stopped.
        tell: told how much is done.

    Raises:
        LensError: a lens gives no distribution.
        SelectionError: a layer does not exist, or patches have no states at every layer.
        DataError: the reference is too small, or the file is of another run.
    """
    own, told = settings or FidelitySettings(), tell or silent
    layers = _layers(adapter, own)
    readers = {name: speaking(name, lens, own.at) for name, lens in lenses.items()}
    parameters = {
        **asdict(own),
        "layers": list(layers),
        "lenses": {name: dict(lens.params()) for name, lens in lenses.items()},
    }
    head = {
        **head_of("fidelity", adapter, cases, parameters),
        "reference": [case.name for case in reference],
    }
    states = reference_states(adapter, reference, layers, own.at, told)
    axes = axes_by_lens(own.basis, own.directions, states, readers, adapter.unembed, own.seed)
    one = partial(_one, adapter, readers, axes, own.at)
    records = list(each(cases, one, Ledger(path, head), told).values())
    rows = rows_of(records, list(lenses), layers, own.basis, own.seed)
    counts = sorted({len(of[layer].directions) for of in axes.values() for layer in layers})
    return Finding(
        "fidelity",
        adapter.name,
        f"{_what(own, counts)} taken out of {own.at} at {_where(layers)} · {about}",
        len(cases),
        rows,
        sentence_of(rows, list(lenses)),
        {**parameters, "reference": len(reference), "weights": head["weights"]},
        _notes(own, cases),
    )


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


def _one(
    adapter: Adapter,
    readers: Mapping[str, Lens],
    axes: Mapping[str, Mapping[int, Axes]],
    at: Place,
    case: Case,
) -> Record:
    inputs = prepare(adapter, case.prompt, case.open())
    positions, runs = positions_of(inputs, at), rerun(adapter, inputs)
    plain = runs.effects([()], tokens=range(adapter.vocab_size)).first[0]
    word = int(plain.argmax())
    found: Record = {name: {} for name in readers}
    known: dict[int, tuple[list[float], list[float]]] = {}
    for name, lens in readers.items():
        for layer, own in axes[name].items():
            resid = runs.recording.resid[layer][list(positions)].float().cpu()
            changed = own.ablated(resid)
            key = id(own)
            if key not in known:
                known[key] = _true(adapter, inputs, runs.effects, changed, positions, layer, plain, word)
            shifted = (layer + adapter.n_layers // 2) % adapter.n_layers
            foretold = _foretold(adapter, lens, resid, changed, layer, word)
            other = _foretold(adapter, lens, resid, changed, shifted, word)
            values = (*foretold, other[0], *known[key], six_digits(own.sizes(resid).tolist()))
            for what, value in zip(
                ("foretold", "word", "shift", "true", "true_word", "size"), values, strict=True
            ):
                found[name].setdefault(what, []).append(value)
    return found


def _true(
    adapter: Adapter,
    inputs: Inputs,
    effects: Callable[..., Any],
    changed: Float[Tensor, "direction place d_model"],
    positions: Sequence[int],
    layer: int,
    plain: Float[Tensor, " vocab"],
    word: int,
) -> tuple[list[float], list[float]]:
    """What the changes do to the model: KL from the plain distribution, and change of its word's log-prob."""
    runs = [Replace(states, positions, layer) for states in changed]
    said = effects(runs, tokens=range(adapter.vocab_size)).first
    kl, moved = _kl(plain[None], said), said[:, word] - plain[word]
    return six_digits(kl.tolist()), six_digits(moved.tolist())


def _foretold(
    adapter: Adapter,
    lens: Lens,
    resid: Float[Tensor, "place d_model"],
    changed: Float[Tensor, "direction place d_model"],
    layer: int,
    word: int,
) -> tuple[list[float], list[float]]:
    """The same two figures of the lens's distribution, the mean over places."""
    unembed = adapter.unembed
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
    return six_digits(torch.cat(kl).tolist()), six_digits(torch.cat(moved).tolist())


def _kl(
    before: Float[Tensor, "*#batch vocab"], after: Float[Tensor, "*#batch vocab"]
) -> Float[Tensor, "*batch"]:
    return (before.exp() * (before - after)).sum(-1).clamp(min=0)


def _layers(adapter: Adapter, settings: FidelitySettings) -> tuple[int, ...]:
    if settings.layers is not None:
        return check_layers(settings.layers, adapter.n_layers)
    return tuple(range(1 if settings.at == "last" else 0, adapter.n_layers))


def _what(settings: FidelitySettings, counts: Sequence[int]) -> str:
    many = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    named = "principal directions" if settings.basis == "principal" else "directions of each lens"
    return f"{many} {named}, one at a time,"


def _where(layers: Sequence[int]) -> str:
    if len(layers) > 1 and list(layers) == list(range(layers[0], layers[-1] + 1)):
        return f"layers {layers[0]} to {layers[-1]}"
    return f"layer{'s' if len(layers) > 1 else ''} {', '.join(map(str, layers))}"


def _notes(settings: FidelitySettings, cases: Sequence[Case]) -> tuple[str, ...]:
    notes = [
        "control: directions shuffled, or what the row says; without a layer: the mean over layers",
        "answer's word: foretold against true change of its log-probability, picture by picture",
    ]
    if len(cases) < 2:
        notes.append("of one picture there is no interval, and its figures are of no other")
    if settings.basis == "lens":
        notes.append("each lens has its own directions here, so lenses are not compared on the same changes")
    return tuple(notes)
