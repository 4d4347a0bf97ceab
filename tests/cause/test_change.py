"""Interventions as they are written: each does what it says, and stands beside as many at random."""

import json
import sys

import numpy as np
import pytest
import torch

from patchlens import cli
from patchlens.capture import capture
from patchlens.causal import Ablate, Add, Knockout, Patches, Project, Swap, Zero, patch_numbers, rerun
from patchlens.causal.places import Stage
from patchlens.causal.plan import resolve
from patchlens.cause.cases import as_cases
from patchlens.cause.change import cause_change
from patchlens.cause.settings import ChangeSettings
from patchlens.cause.written import ablation, addition, knocking_out, projection, swap
from patchlens.errors import SelectionError
from patchlens.models.inputs import prepare
from patchlens.run import Model, load
from patchlens.scenes.scene import make_scene
from tiny import BUILDERS


@pytest.fixture(scope="module", params=["demo", "demo-cross"])
def stage(request) -> Stage:
    adapter = load(request.param).adapter
    inputs = prepare(adapter, "What is this?", [make_scene(3).image])
    (answer,) = rerun(adapter, inputs).answers([()], 3)
    return Stage(adapter, adapter.continued(inputs, answer))


def rng():
    return np.random.default_rng(0)


def effect(stage, *interventions):
    return rerun(stage.adapter, stage.inputs).effects(list(interventions)).total


def test_patches_are_numbers_a_box_or_all(stage):
    box = ablation("2-3x4-5", stage, Zero())
    numbers = patch_numbers(stage.inputs)[2:4, 4:6].ravel().tolist()
    assert box.own.patches == numbers and not box.is_all
    assert ablation("7", stage, Zero()).own.patches == [7]
    assert ablation("0,4-6", stage, Zero()).own.patches == [0, 4, 5, 6]
    assert ablation("all", stage, Zero()).is_all
    drawn = box.drawn(rng())
    assert len(set(drawn.patches)) == 4 and drawn.by == box.own.by and drawn.layer == 0
    assert torch.equal(*effect(stage, box.own, Ablate(numbers, Zero()))[:, None])


def test_a_knockout_and_as_many_edges_at_random(stage):
    written = knocking_out("answer:patches@3-6", stage)
    own, same, drawn = effect(
        stage, written.own, Knockout("answer", "patches", range(3, 7)), written.drawn(rng())
    )
    assert own == same and own != drawn
    plan = resolve(stage.adapter, stage.inputs, written.drawn(rng()))
    cut = sum(len(cut.queries) for cut in plan.cuts if cut.paired)
    assert cut > 0
    assert set(written.name.split()) >= {"answer", "patches", "3-6"}


def test_words_are_taken_out_and_put_in_along_their_direction(stage):
    layers = "@0" if stage.adapter.cross_blocks else "@2-4"
    taken = projection(f"cat:patches{layers}", stage)
    assert isinstance(taken.own, Project) and isinstance(taken.drawn(rng()), Project)
    added = addition("cat*8:last@2", stage)
    assert isinstance(added.own, Add) and added.own.strength == 8 and added.own.layers == [2]
    assert torch.allclose(added.own.direction, taken.own.directions)
    other = added.drawn(rng())
    assert torch.linalg.vector_norm(other.direction) == pytest.approx(1, abs=1e-5)
    assert effect(stage, added.own)[0] != effect(stage, other)[0]


def test_states_come_from_the_other_picture(stage):
    there = stage.adapter.continued(
        prepare(stage.adapter, "What is this?", [make_scene(5).image]),
        stage.inputs.ids[stage.inputs.n_prompt :].tolist(),
    )
    source = capture(stage.adapter, there)
    whole = swap("patches", stage, source)
    assert whole.is_all
    ((own,), (same,)) = effect(stage, whole.own)[None], effect(stage, Swap(source, 0, "patches"))[None]
    assert own == same
    some = swap("0-9", stage, source)
    assert some.own.at == Patches(range(10)) and len(some.drawn(rng()).at.numbers) == 10
    last = swap("last@3", stage, source)
    assert len(last.drawn(rng()).at) == 1


@pytest.mark.parametrize(
    ("read", "text", "says"),
    [
        (ablation, "cat", "'cat' is neither a number nor a range"),
        (ablation, "0-3x8-12", "it has rows 0-9 and columns 0-9"),
        (ablation, "1@0,2", "name one layer, not 2"),
        (knocking_out, "answer", "expected QUERIES:SOURCES"),
        (knocking_out, "answer:nobody", "'nobody' is none of"),
        (addition, "cat", "expected WORD\\*STRENGTH"),
        (addition, "cat*much", "expected WORD\\*STRENGTH"),
    ],
)
def test_what_cannot_be_read_is_said(stage, read, text, says):
    arguments = (text, stage, Zero()) if read is ablation else (text, stage)
    with pytest.raises(SelectionError, match=says):
        read(*arguments)


@pytest.mark.parametrize("family", ["llava", "mllama"])
def test_states_are_swapped_with_those_of_the_same_question_and_answer(family):
    model = Model(BUILDERS[family]())
    own, other = (np.random.default_rng(seed).integers(0, 255, (56, 56, 3), np.uint8) for seed in (0, 1))
    asked = {"prompt": "what is this?", "other": other}
    settings = ChangeSettings(swap=("patches", "last@2"), draws=2, max_new_tokens=4)
    found = cause_change(model, own, settings, **asked)
    trace = model.trace(own, "what is this?", max_new_tokens=4)
    there = model.trace(other, "what is this?", answer=trace.answer.ids)
    expected = trace.effects([Swap(there, 0, "patches") + Swap(there, 2, "last")]).change[0]
    assert abs(expected) > 1e-4 and found.rows[0].value.value == pytest.approx(-expected, abs=1e-5)
    assert found.parameters["answers"][0] == trace.answer.text and len(found.parameters["falls"]) == 3
    with pytest.raises(SelectionError, match="say with --other which"):
        cause_change(model, own, settings, prompt="what is this?")
    with pytest.raises(SelectionError, match="for one picture, not for 2"):
        cause_change(model, as_cases(own, "what?") * 2, settings, other=other)


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    make_scene(3).image.save(tmp_path / "a.png")
    make_scene(5).image.save(tmp_path / "b.png")
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        draws = [] if "--draws" in arguments else ["--draws", "4"]
        given = ["patchlens", "cause", "change", "a.png", "-p", "What is this?", *draws]
        monkeypatch.setattr(sys, "argv", [*given, *map(str, arguments)])
        try:
            cli.main()
            code = 0
        except SystemExit as exit_:
            code = exit_.code or 0
        return code, *capsys.readouterr()

    return run


@pytest.mark.parametrize("model", ["demo", "demo-cross"])
def test_the_command_tells_the_answer_before_and_after(run, model):
    changes = ("--ablate", "2-7x2-7", "--knockout", "last:text", "--add", "cat*4:last@2")
    code, out, err = run("-m", model, *changes)
    assert code == 0, err
    found = json.loads(run("-m", model, *changes, "--json")[1])
    assert len(found["parameters"]["changes"]) == 3 and len(found["parameters"]["falls"]) == 5
    (fall, _) = found["rows"]
    falls = found["parameters"]["falls"]
    assert fall["value"]["value"] == falls[0]
    assert fall["control"]["value"] == pytest.approx(np.mean(falls[1:]))
    assert found["sentence"] in out and "of 4 random changes" in out


def test_the_command_refuses_what_it_cannot_do(run):
    for arguments, says in (
        ((), "nothing is changed"),
        (("--swap", "patches"), "say with --other which"),
        (("--swap", "patches", "--other", "none.png"), "none.png"),
        (("--ablate", "all", "--draws", "0"), "no control"),
        (("--project", "cat@99"), "layer 99 does not exist"),
        (("--ablate", "1", "--by", "magic"), 'Choose from: "mean"'),
    ):
        code, _, err = run(*arguments)
        assert code == 2 and says in err and "Traceback" not in err, err
