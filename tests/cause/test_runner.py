"""An experiment proves its model, keeps its records, and tells what it was made with."""

import json

import numpy as np
import pytest

from patchlens.cause.cases import as_cases
from patchlens.cause.runner import Experiment
from patchlens.data.item import Item
from patchlens.errors import DataError, MissingExtraError, SelectionError, naming
from patchlens.run import Model
from tiny import BUILDERS

PICTURE = np.zeros((56, 56, 3), np.uint8)
CASES = as_cases([Item(f"p{n}", "what is this?", (PICTURE,)) for n in range(4)])


@pytest.fixture(scope="module")
def model():
    return Model(BUILDERS["llava"]())


def test_parts_of_the_cases_share_a_file_and_nothing_is_made_twice(model, tmp_path):
    made = []

    def measure(case):
        made.append(case.name)
        return {"n": len(made)}

    asked = {"name": "trial", "model": model, "cases": CASES, "parameters": {"seed": 0}}
    first = Experiment(**asked, out=tmp_path / "a.jsonl")
    kept = first.records(measure, CASES[:1])
    assert first.records(measure) == {**kept, "p1": {"n": 2}, "p2": {"n": 3}, "p3": {"n": 4}}
    Experiment(**asked, out=tmp_path / "a.jsonl").records(measure)
    assert made == ["p0", "p1", "p2", "p3"]
    head = json.loads((tmp_path / "a.jsonl").read_text().splitlines()[0])
    assert head["experiment"] == "trial" and head["seed"] == 0 and len(head["weights"]) == 64


@pytest.mark.parametrize(
    ("other", "says"),
    [
        ({"parameters": {"seed": 1}}, "seed was 0, now 1"),
        ({"name": "another"}, "experiment was 'trial', now 'another'"),
        ({"cases": CASES[:2]}, r"cases was \w{8}\.\., now \w{8}\.\."),
        ({"beside": {"reference": ["a"]}}, "reference was None, now 1 of them"),
        ({"model": Model(BUILDERS["mllama"]())}, "weights was"),
    ],
)
def test_what_changes_the_records_is_not_mixed(model, tmp_path, other, says):
    asked = {"name": "trial", "model": model, "cases": CASES, "parameters": {"seed": 0}}
    asked["out"] = tmp_path / "a.jsonl"
    Experiment(**asked).records(lambda _: {})
    with pytest.raises(DataError, match=says):
        Experiment(**{**asked, **other}).records(lambda _: {})


def test_a_finding_holds_the_parameters_and_what_was_settled(model):
    trial = Experiment("trial", model, CASES, {"seed": 0})
    found = trial.finding("four pictures", [], "Nothing.", notes=["a note"], settled={"layer": 3})
    assert (found.experiment, found.model, found.cases) == ("trial", model.name, 4)
    assert found.parameters == {"seed": 0, "layer": 3} and found.notes == ("a note",)
    assert trial.finding("", [], "", cases=2).cases == 2


def test_a_model_proves_itself_before_anything_is_measured(model, monkeypatch):
    def fails(_):
        raise SelectionError("not proven")

    monkeypatch.setattr(type(model.adapter), "prove", fails)
    with pytest.raises(SelectionError, match="not proven"):
        Experiment("trial", model, CASES, {})


def test_cases_come_from_files_items_or_as_they_are(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"image": "a.png", "prompt": "What?"}\n')
    (read,) = as_cases(tmp_path / "a.jsonl")
    assert read.prompt == "What?" and as_cases(str(tmp_path / "a.jsonl")) == (read,)
    assert as_cases(CASES) == CASES
    assert as_cases([Item("p", "what?", (PICTURE,))])[0].name == "p"
    for picture, name in ((tmp_path / "a.png", "a.png"), ("a.PNG", "a.PNG"), (PICTURE, "the picture")):
        (case,) = as_cases(picture, "what?")
        assert (case.name, case.prompt) == (name, "what?")
    for wrong, says in ((PICTURE, "what to ask of the picture"), ((), "no cases")):
        with pytest.raises(SelectionError, match=says):
            as_cases(wrong)


def test_every_kind_of_error_says_which_item_it_is_about():
    with pytest.raises(MissingExtraError, match="the third: plots needs matplotlib"), naming("the third"):
        raise MissingExtraError("plots", "matplotlib", "charts")
