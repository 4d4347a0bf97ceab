"""Ablating what a lens points at, where it is known which patch matters."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from patchlens.capture import capture
from patchlens.causal import Ablate, intervening, patch_states
from patchlens.causal.places import Stage
from patchlens.causal.pointing import Above
from patchlens.cause import patches as module
from patchlens.cause.answer_word import word_maps
from patchlens.cause.cases import as_cases, drawn_cases
from patchlens.cause.fillers import Fillers
from patchlens.cause.patches import PointedAblation, ablate_pointed, measure, one_thing
from patchlens.cause.patches_choice import settle
from patchlens.cause.settings import ChangeSettings, KnockoutSettings, PatchesSettings
from patchlens.data.item import Item
from patchlens.errors import DataError, SelectionError
from patchlens.lens import Lens, LogitLens
from patchlens.models.inputs import prepare
from patchlens.run import Model, load
from patchlens.trace import Trace
from tiny import BUILDERS

PICTURES = [np.random.default_rng(seed).integers(0, 255, (56, 56, 3), np.uint8) for seed in range(3)]
LAYER = 2


@dataclass(frozen=True)
class LooksFor(Lens):
    """A lens that gives a token all the weight where a state is the one it looks for, and the rest none."""

    state: torch.Tensor
    token: int
    name: str = "looks-for"

    def normed(self, resid_layer, layer, unembed):
        found = (resid_layer - self.state).abs().amax(1, keepdim=True) < 1e-4
        return found * 30 * unembed.weight[self.token]


@dataclass(frozen=True)
class SaysTheSame(Lens):
    name: str = "same"

    def normed(self, resid_layer, layer, unembed):
        return torch.zeros_like(resid_layer)


class Constructed:
    """A tiny model and a picture of which exactly one patch is not as the replacement would have it."""

    def __init__(self, matters: int):
        self.model = Model(BUILDERS["llava"]())
        self.adapter = self.model.adapter
        (self.case,) = as_cases([Item("mine", "what is in the picture?", (PICTURES[0],))])
        self.inputs = prepare(self.adapter, self.case.prompt, self.case.open())
        states = patch_states(self.adapter, [self.inputs]).clone()
        self.n = len(states)
        draw = torch.Generator().manual_seed(3)
        states[matters] += 30 * states.std() * torch.randn(states.shape[1], generator=draw)
        self.fillers = Fillers("other", {"another": states}, "another picture")
        self.resid = capture(self.adapter, self.inputs, layers=[LAYER]).resid[0]
        self.rows = Stage(self.adapter, self.inputs).patches

    def ablation(self, points_at: int) -> PointedAblation:
        (token, *_) = self.model.trace(self.case.open(), self.case.prompt).answer.ids
        return self.with_lens(LooksFor(self.resid[self.rows[points_at]], token))

    def with_lens(self, lens: Lens) -> PointedAblation:
        return PointedAblation(
            self.model, lens, self.fillers, layer=LAYER, pointing=Above(0.5), block=1, step=1, draws=8
        )


def test_where_one_patch_matters_only_ablating_that_one_does_anything():
    made = Constructed(matters=2)
    record = measure(made.ablation(2), made.case)
    assert record["pointed"] == 1 and record["patches"] == made.n
    assert abs(record["falls"]["pointed"]) > 0.1 and record["flips"]["pointed"] == 1
    assert record["falls"]["ring"] == pytest.approx(0, abs=1e-4) and record["flips"]["ring"] == 0
    assert record["falls"]["rest"] == pytest.approx(0, abs=1e-4) and record["flips"]["rest"] == 0
    causal = np.array(record["causal_map"])
    assert np.flatnonzero(np.abs(causal) > 1e-4).tolist() == [2]
    assert np.argmax(record["lens_map"]) == 2
    whole = record["falls"]["pointed"]
    assert record["causal_answer"][2] == pytest.approx(whole, abs=1e-4)
    for part in ("falls", "flips"):
        assert len(record[part]["random"]) == len(record[part]["rest of random"]) == 8


def test_a_lens_that_points_elsewhere_is_found_out():
    made = Constructed(matters=2)
    right = measure(made.ablation(2), made.case)
    wrong = measure(made.ablation(made.n - 1), made.case)
    assert wrong["flips"]["pointed"] == 0 and wrong["falls"]["pointed"] == pytest.approx(0, abs=1e-4)
    assert wrong["falls"]["rest"] == pytest.approx(right["falls"]["pointed"], abs=1e-4)
    assert wrong["flips"]["rest"] == 1 and wrong["peak_pointed"] in (0.0, 1.0)
    fallen = np.array(right["falls"]["random"])
    hit = np.abs(fallen) > 1e-4  # a random draw that hits the patch does as much, any other nothing
    assert fallen[hit] == pytest.approx(right["falls"]["pointed"], abs=1e-4)
    assert np.array(right["flips"]["random"])[~hit].sum() == 0


def test_a_lens_that_points_everywhere_does_what_its_control_does():
    made = Constructed(matters=2)
    found = ablate_pointed(made.with_lens(SaysTheSame()), [made.case], about="one")
    (record,) = found.records.values()
    assert record["pointed"] == made.n
    assert "ring" not in record["flips"] and "rest" not in record["flips"]
    for part in ("falls", "flips"):
        assert record[part]["random"] == pytest.approx([record[part]["pointed"]] * 8, abs=1e-4)
    rows = {row.name: row for row in found.rows}
    assert rows["fall: pointed at | random"].difference.value == pytest.approx(0, abs=1e-4)
    assert not any("ring" in name for name in rows)
    assert "does not show that the answer depends" in found.sentence


def greedy(adapter, inputs, intervention, most):
    """The greedy answer, one pass of the whole model for every token."""
    said: list[int] = []
    while len(said) < most:
        now = adapter.continued(inputs, said) if said else inputs
        with torch.no_grad(), adapter.undisturbed(), intervening(adapter, now, intervention):
            logits = adapter.model(**now.tensors, use_cache=False).logits[0, -1].clone()
        logits[list(adapter.unspeakable)] = -torch.inf
        if int(logits.argmax()) in adapter.ends:
            break
        said.append(int(logits.argmax()))
    return tuple(said)


def logprob(adapter, inputs, answer, intervention):
    """Log-probability of an answer, in one pass of the whole model."""
    told = adapter.continued(inputs, answer)
    with torch.no_grad(), adapter.undisturbed(), intervening(adapter, told, intervention):
        logits = adapter.model(**told.tensors, use_cache=False).logits[0, told.n_prompt - 1 : -1]
    return float(logits.log_softmax(-1)[range(len(answer)), answer].sum())


@pytest.mark.parametrize(("model", "lens", "layer"), [("demo", "logit", 2), ("demo-cross", "cross", 6)])
def test_flips_and_falls_are_those_of_whole_passes_of_the_model(model, lens, layer):
    loaded = load(model)
    adapter = loaded.adapter
    cases = drawn_cases(one_thing, 1, 2, first=9_300_000)
    ablation, _ = settle(loaded, cases, PatchesSettings(layer, above=0.1, draws=1, step=5), lens)
    seen_flips = set()
    for case in cases:
        record = measure(ablation, case)
        trace = ablation.trace(case)
        word = ablation.answer_word(trace.answer.ids)
        chosen = ablation.pointing.chosen(word_maps(trace, ablation.lens, word)[layer])
        rest = np.setdiff1d(np.arange(100), chosen)
        plain = greedy(adapter, trace.inputs, (), module.MAX_NEW_TOKENS)
        for name, numbers in {"pointed": chosen, "rest": rest}.items():
            ablated = Ablate(numbers.tolist(), ablation.fillers.by(case))
            said = greedy(adapter, trace.inputs, ablated, module.MAX_NEW_TOKENS)
            assert record["flips"][name] == float(said != plain)
            before, after = (logprob(adapter, trace.inputs, plain, what) for what in ((), ablated))
            assert record["falls"][name] == pytest.approx(before - after, abs=1e-3)
            seen_flips.add(said != plain)
            if name == "pointed":
                assert record["instead"] == adapter.tokenizer.decode(said).strip()
        assert record["answer"] == adapter.tokenizer.decode(plain).strip()
        assert record["right"] == (record["answer"] == case.known().answer)
        assert 0 < record["thing"] < 1 and record["on_thing"] > record["thing"]
    assert seen_flips == {True, False}


def test_an_answer_of_nothing_is_left_out_and_said(monkeypatch):
    made = Constructed(matters=2)
    monkeypatch.setattr(module, "MAX_NEW_TOKENS", 0)
    found = ablate_pointed(made.with_lens(SaysTheSame()), [made.case], about="one")
    assert found.cases == 0 and "answered nothing" in found.sentence
    assert "1 of 1 cases had no answer" in " ".join(found.notes)


def test_a_stopped_run_goes_on_and_gives_what_a_whole_one_does(tmp_path, monkeypatch):
    model = Model(BUILDERS["llava"]())
    cases = as_cases([Item(f"p{n}", "what is this?", (p,)) for n, p in enumerate(PICTURES)])
    settings = PatchesSettings(LAYER, above=0.5, block=1, step=1, draws=2)
    ablation, _ = settle(model, cases, settings, LogitLens())
    whole = ablate_pointed(ablation, cases, about="three")
    path, original = tmp_path / "a.jsonl", module.measure
    made: list[str] = []

    def stops(ablation, case):
        if case.name == "p1" and not made[1:]:
            made.append("stopped")
            raise KeyboardInterrupt
        made.append(case.name)
        return original(ablation, case)

    monkeypatch.setattr(module, "measure", stops)
    with pytest.raises(KeyboardInterrupt):
        ablate_pointed(ablation, cases, about="three", out=path)
    again = ablate_pointed(ablation, cases, about="three", out=path)
    assert made == ["p0", "stopped", "p1", "p2"]
    assert again == whole and again.records == whole.records
    backwards = ablate_pointed(ablation, cases[::-1], about="three")
    assert backwards.records == whole.records  # what is drawn does not depend on the order
    with pytest.raises(DataError, match="draws was 2, now 3"):
        ablate_pointed(replace(ablation, draws=3), cases, about="three", out=path)


def test_the_passes_of_a_case_are_counted_beforehand(monkeypatch):
    model = load("demo")
    (case,) = drawn_cases(one_thing, 1, 1, first=9_300_000)
    ablation, _ = settle(model, [case], PatchesSettings(2, above=0.1, draws=2, step=5))
    counted = []
    effects, answers = Trace.effects, Trace.answers
    monkeypatch.setattr(
        Trace, "effects", lambda own, runs, *more: counted.append(1 + len(runs)) or effects(own, runs, *more)
    )
    monkeypatch.setattr(
        Trace, "answers", lambda own, runs, *more: counted.append(len(runs)) or answers(own, runs, *more)
    )
    measure(ablation, case)
    assert sum(counted) == ablation.runs(case)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: PatchesSettings(draws=0),
        lambda: PatchesSettings(block=0),
        lambda: PatchesSettings(step=0),
        lambda: PatchesSettings(above=0.1, top=0.1),
        lambda: PatchesSettings(word=" "),
        lambda: KnockoutSettings(width=0),
        lambda: KnockoutSettings(draws=0),
        lambda: KnockoutSettings(max_new_tokens=0),
        ChangeSettings,
        lambda: ChangeSettings(ablate=("1",), draws=0),
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong):
    with pytest.raises(SelectionError):
        wrong()
