"""Verdicts on the bundled models: what is planted is found, and nothing is claimed that cannot be known."""

import numpy as np
import pytest
import torch
from PIL import Image

from patchlens.causal import intervening
from patchlens.cause.cases import as_cases, drawn_cases
from patchlens.cause.grounding import answers as module
from patchlens.cause.grounding import ask_planted, cause_grounding
from patchlens.cause.settings import GroundingSettings
from patchlens.data.item import Item
from patchlens.errors import ImageError, PromptError, SelectionError
from patchlens.run import Model, load
from tiny import BUILDERS, VISION

VALIDATION = 9_000_000
SCENES = drawn_cases(ask_planted, 1, 6, first=VALIDATION + 700_000)


def judged(model, cases=SCENES, out=None, *, planted=False, **asked):
    settings = GroundingSettings(**asked)
    return cause_grounding(model, cases, settings, planted=planted, about="scenes", out=out)


@pytest.fixture(scope="module", params=["demo", "demo-cross"])
def model(request):
    return load(request.param)


@pytest.fixture(scope="module")
def found(model):
    return judged(model, planted=True)


def test_answers_of_a_model_that_cannot_see_are_prior_and_of_one_that_can_are_not(found):
    for one in found.verdicts:
        assert one.blinded.whole.verdict == "prior" and abs(one.blinded.whole.drop) < 1e-3
        assert {token.verdict for token in one.blinded.tokens} == {"prior"}
        assert len({says for _, says in one.blinded.instead}) == 1
    assert sum(one.seen.whole.verdict == "grounded" for one in found.verdicts) >= 5


def test_planted_tokens_are_counted_and_stand_beside_their_control(found):
    rows = {row.name: row for row in found.rows}
    opened = [one for one in found.verdicts if one.planted["open"]]
    row = rows["planted: needs the picture, called grounded"]
    right = [one.seen.tokens[0].verdict == "grounded" for one in opened]
    assert opened and row.value.value == np.mean(right) and row.control.value == 0
    blind = rows["planted: pictures hidden from the model, called prior"]
    assert blind.value.value == 1 and blind.control.value < 0.5
    assert f"right in a share of {rows['planted: verdicts right, the first two'].value}" in found.sentence


def test_an_answer_begun_is_judged_as_in_the_whole_answer(model):
    picture = (Image.open(next(p.file for p in demo() if p.file.stem == "giraffe")),)
    cases = as_cases([Item("giraffe", "Describe the picture.", picture)])
    (whole,) = judged(model, cases).verdicts
    assert whole.seen.pieces[:3] == ("▁a", "▁g", "iraffe")
    assert [token.verdict for token in whole.seen.tokens[1:3]] == ["grounded", "prior"]
    (rest,) = judged(model, cases, begun="a g").verdicts
    assert rest.seen.pieces == whole.seen.pieces[2:]
    np.testing.assert_allclose(rest.seen.own, whole.seen.own[2:], atol=1e-4)
    for own, same in zip(rest.seen.tokens, whole.seen.tokens[2:], strict=True):
        assert own.drop == pytest.approx(same.drop, abs=1e-3) and own.verdict == same.verdict


def demo():
    from patchlens.demo import demo_pictures

    return demo_pictures()


def test_a_blank_picture_is_not_judged_but_said_to_be_blank():
    grey = Image.new("RGB", (140, 140), (90, 90, 90))
    cases = as_cases([Item("blank.png", "What is this?", (grey,))])
    found = judged(load("demo"), [*cases, *SCENES[:1]])
    assert found.verdicts[0].seen is None and found.cases == 1
    assert any("blank.png cannot be judged: the picture is blank already" in note for note in found.notes)
    nothing = judged(load("demo"), cases)
    assert nothing.sentence == "No answer can be judged." and "NaN" not in nothing.to_json()


def test_a_stopped_run_goes_on_and_gives_the_same(tmp_path, monkeypatch):
    model, path, cases = load("demo"), tmp_path / "a.jsonl", SCENES[:3]
    whole, answered = judged(model, cases), module._answered
    made = []

    def stops(model_, prompt, *rest, **more):
        if len(made) == 3:
            raise KeyboardInterrupt
        made.append(prompt)
        return answered(model_, prompt, *rest, **more)

    monkeypatch.setattr(module, "_answered", stops)
    with pytest.raises(KeyboardInterrupt):
        judged(model, cases, path)
    made.clear()
    monkeypatch.setattr(module, "_answered", lambda *a, **k: made.append(a[1]) or answered(*a, **k))
    assert judged(model, cases, path) == whole
    assert made == [case.prompt for case in cases[1:] for _ in range(2)]


def test_other_pictures_are_those_of_other_cases_and_scenes_where_there_are_too_few():
    pictures = {case.known().picture.tobytes(): case.name for case in SCENES}
    others = module._others(SCENES, SCENES[0], GroundingSettings(others=4))
    names = [pictures[picture.tobytes()] for picture in others]
    assert len({*names}) == 4 and SCENES[0].name not in names
    few = module._others(SCENES[:2], SCENES[0], GroundingSettings(others=4))
    assert pictures[few[0].tobytes()] == SCENES[1].name
    assert len({picture.tobytes() for picture in few}) == 4
    assert not {picture.tobytes() for picture in few[1:]} & pictures.keys()


def test_what_makes_no_sense_is_refused(tmp_path):
    model = load("demo")
    with pytest.raises(SelectionError, match="allow 1 or more"):
        judged(model, max_new_tokens=0)
    with pytest.raises(PromptError, match=r"scene \d+: the beginning of an answer '  ' has no token"):
        judged(model, begun="  ")
    missing = as_cases([Item("mine", "What?", (tmp_path / "no.png",))])
    with pytest.raises(ImageError, match="mine"):
        judged(model, missing)


def noise(seed):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (52, 80, 3), np.uint8))


@pytest.mark.parametrize("family", VISION)
@pytest.mark.parametrize("under", [(), module.BLINDED], ids=["plain", "blinded"])
def test_several_pictures_at_once_are_one_pass_for_each(family, under):
    model = Model(BUILDERS[family]())
    adapter, prompt = model.adapter, "is there a cat?"
    pictures = [(noise(seed),) for seed in range(3)]
    instead = [("grey", pictures[1]), ("black", pictures[2])]
    found = module._answered(model, prompt, pictures[0], instead, GroundingSettings(max_new_tokens=5), under)
    ids = found["ids"]
    replies = [(found["own"], None), *((one["logprobs"], one["kept"]) for one in found["under"])]
    for picture, (logprobs, kept) in zip(pictures, replies, strict=True):
        told = adapter.continued(model.prepare(picture, prompt)[1], ids)
        with torch.no_grad(), adapter.undisturbed(), intervening(adapter, told, under):
            logits = adapter.model(**told.tensors, use_cache=False).logits[0, told.n_prompt - 1 : -1]
        expected = logits.log_softmax(-1)[range(len(ids)), ids]
        torch.testing.assert_close(torch.tensor(logprobs), expected, atol=1e-4, rtol=0)
        if kept is not None:
            logits[:, list(adapter.unspeakable)] = -torch.inf
            assert kept == (logits.argmax(-1) == torch.tensor(ids)).tolist()
    differs = abs(np.subtract(found["own"], found["under"][1]["logprobs"])).max()
    assert differs < 1e-5 if under else differs > 1e-4
    for one, picture in zip(found["under"], pictures[1:], strict=True):
        says = model.trace(picture, prompt, max_new_tokens=5, under=under).answer
        assert (one["says"], one["same"]) == (says.text, says.ids == ids)
        assert one["same"] and all(one["kept"]) if under else True
