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
from patchlens.cause.cases import drawn_cases, own_cases
from patchlens.cause.patches import measure as module
from patchlens.cause.patches.measure import (
    Settings,
    Subject,
    cause_patches,
    measure,
    one_thing,
    subject_of,
)
from patchlens.cause.patches.replacing import Replacing, make_replacing
from patchlens.data.item import Item
from patchlens.errors import DataError, SelectionError
from patchlens.lens import Lens, open_lens
from patchlens.models.inputs import prepare
from patchlens.run import load
from tiny import BUILDERS

PICTURES = [np.random.default_rng(seed).integers(0, 255, (56, 56, 3), np.uint8) for seed in range(3)]
LAYER = 2


def silent(*_):
    pass


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
        self.adapter = BUILDERS["llava"]()
        (self.case,) = own_cases([Item("mine", "what is in the picture?", (PICTURES[0],))])
        self.inputs = prepare(self.adapter, self.case.prompt, self.case.open())
        states = patch_states(self.adapter, [self.inputs]).clone()
        self.n = len(states)
        draw = torch.Generator().manual_seed(3)
        states[matters] += 30 * states.std() * torch.randn(states.shape[1], generator=draw)
        self.replacing = Replacing("other", {"another": states}, "another picture")
        self.resid = capture(self.adapter, self.inputs, layers=[LAYER]).resid[0]
        self.rows = Stage(self.adapter, self.inputs).patches

    def subject(self, points_at: int) -> Subject:
        token = self.answer()[0]
        lens = LooksFor(self.resid[self.rows[points_at]], token)
        return Subject(self.adapter, lens, self.replacing)

    def answer(self):
        return module.rerun(self.adapter, self.inputs).answers([()], module.MAX_NEW_TOKENS)[0]


SETTINGS = Settings(layer=LAYER, pointing=Above(0.5), block=1, step=1, draws=8)


def test_where_one_patch_matters_only_ablating_that_one_does_anything():
    made = Constructed(matters=2)
    record = measure(made.subject(2), made.case, SETTINGS)
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
    right = measure(made.subject(2), made.case, SETTINGS)
    wrong = measure(made.subject(made.n - 1), made.case, SETTINGS)
    assert wrong["flips"]["pointed"] == 0 and wrong["falls"]["pointed"] == pytest.approx(0, abs=1e-4)
    assert wrong["falls"]["rest"] == pytest.approx(right["falls"]["pointed"], abs=1e-4)
    assert wrong["flips"]["rest"] == 1 and wrong["peak_pointed"] in (0.0, 1.0)
    fallen = np.array(right["falls"]["random"])
    hit = np.abs(fallen) > 1e-4  # a random draw that hits the patch does as much, any other nothing
    assert fallen[hit] == pytest.approx(right["falls"]["pointed"], abs=1e-4)
    assert np.array(right["flips"]["random"])[~hit].sum() == 0


def test_a_lens_that_points_everywhere_does_what_its_control_does():
    made = Constructed(matters=2)
    subject = replace(made.subject(2), lens=SaysTheSame())
    outcome = cause_patches(subject, [made.case], SETTINGS, about="one", tell=silent)
    (record,) = outcome.records.values()
    assert record["pointed"] == made.n
    assert "ring" not in record["flips"] and "rest" not in record["flips"]
    for part in ("falls", "flips"):
        assert record[part]["random"] == pytest.approx([record[part]["pointed"]] * 8, abs=1e-4)
    rows = {row.name: row for row in outcome.finding.rows}
    assert rows["fall: pointed at | random"].difference.value == pytest.approx(0, abs=1e-4)
    assert not any("ring" in name for name in rows)
    assert "does not show that the answer depends" in outcome.finding.sentence


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
    adapter = load(model).adapter
    cases = drawn_cases(one_thing, 1, 2, first=9_300_000)
    subject = subject_of(adapter, open_lens(lens, adapter), make_replacing(adapter, cases, "mean"), cases)
    settings = Settings(layer=layer, draws=1, step=5)
    seen_flips = set()
    for case in cases:
        record = measure(subject, case, settings)
        seen = module.answered(subject, case, settings)
        chosen = settings.pointing.chosen(seen.scores)
        rest = np.setdiff1d(np.arange(100), chosen)
        plain = greedy(adapter, seen.inputs, (), module.MAX_NEW_TOKENS)
        for name, numbers in {"pointed": chosen, "rest": rest}.items():
            ablated = Ablate(numbers.tolist(), subject.replacing.by(case))
            said = greedy(adapter, seen.inputs, ablated, module.MAX_NEW_TOKENS)
            assert record["flips"][name] == float(said != plain)
            before, after = (logprob(adapter, seen.inputs, plain, what) for what in ((), ablated))
            assert record["falls"][name] == pytest.approx(before - after, abs=1e-3)
            seen_flips.add(said != plain)
            if name == "pointed":
                assert record["instead"] == adapter.tokenizer.decode(said).strip()
        assert record["answer"] == adapter.tokenizer.decode(plain).strip()
        assert record["right"] == (record["answer"] == case.truth.answer)
        assert 0 < record["thing"] < 1 and record["on_thing"] > record["thing"]
    assert seen_flips == {True, False}


def test_an_answer_of_nothing_is_left_out_and_said(monkeypatch):
    made = Constructed(matters=2)
    monkeypatch.setattr(module, "MAX_NEW_TOKENS", 0)
    outcome = cause_patches(
        Subject(made.adapter, SaysTheSame(), made.replacing), [made.case], SETTINGS, about="one", tell=silent
    )
    assert outcome.finding.cases == 0 and "answered nothing" in outcome.finding.sentence
    assert "1 of 1 cases had no answer" in " ".join(outcome.finding.notes)


def test_a_stopped_run_goes_on_and_gives_what_a_whole_one_does(tmp_path, monkeypatch):
    adapter = BUILDERS["llava"]()
    cases = own_cases([Item(f"p{n}", "what is this?", (p,)) for n, p in enumerate(PICTURES)])
    subject = Subject(adapter, open_lens("logit", adapter), make_replacing(adapter, cases, "mean"))
    settings = replace(SETTINGS, draws=2)
    whole = cause_patches(subject, cases, settings, about="three", tell=silent)
    path, original = tmp_path / "a.jsonl", module.measure
    made: list[str] = []

    def stops(subject, case, settings):
        if case.name == "p1" and not made[1:]:
            made.append("stopped")
            raise KeyboardInterrupt
        made.append(case.name)
        return original(subject, case, settings)

    monkeypatch.setattr(module, "measure", stops)
    with pytest.raises(KeyboardInterrupt):
        cause_patches(subject, cases, settings, about="three", tell=silent, out=path)
    again = cause_patches(subject, cases, settings, about="three", tell=silent, out=path)
    assert made == ["p0", "stopped", "p1", "p2"]
    assert again.records == whole.records and again.finding.rows == whole.finding.rows
    backwards = cause_patches(subject, cases[::-1], settings, about="three", tell=silent)
    assert backwards.records == whole.records  # what is drawn does not depend on the order
    with pytest.raises(DataError, match="draws was 2, now 3"):
        cause_patches(subject, cases, replace(settings, draws=3), about="three", tell=silent, out=path)


@pytest.mark.parametrize("wrong", [{"draws": 0}, {"block": 0}, {"step": 0}])
def test_settings_that_make_no_sense_are_refused(wrong):
    with pytest.raises(SelectionError):
        Settings(**wrong)
