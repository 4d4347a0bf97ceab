"""Scores of nouns against direct computation, choices made where they should be, and edits that take out."""

import json
from functools import partial

import numpy as np
import pytest
import torch

from patchlens.attention import account
from patchlens.cause.cases import as_cases, drawn_cases
from patchlens.cause.hallucination import calibrated, caption_question, cause_hallucination, described
from patchlens.cause.hallucination.edit_out import WINDOWS, edited, without
from patchlens.cause.hallucination.noun_scores import noun_scores, whole_caption
from patchlens.cause.hallucination.nouns import Noun, known_nouns, noun_ids
from patchlens.cause.hallucination.rows import choose, rows_of, scored, sentence_of
from patchlens.cause.settings import HallucinationSettings
from patchlens.data.item import Item
from patchlens.errors import DataError, SelectionError
from patchlens.lens import CrossLens, LogitLens
from patchlens.models.tokens import content_ids
from patchlens.reading.records import Answer
from patchlens.run import Model, load
from patchlens.scenes.seeds import VALIDATION_SEEDS
from patchlens.scenes.vocabulary import names
from tiny import tiny_llava, tiny_mllama

PICTURE = np.random.default_rng(0).integers(0, 255, (40, 60, 3), np.uint8)


def said_words(caption):
    return caption.replace(",", "").split()


@pytest.fixture(scope="module")
def demo():
    return load("demo")


def test_scores_are_what_they_say():
    model = Model(tiny_llava())
    adapter = model.adapter
    caption = content_ids(adapter.tokenizer, " a cat and a dog")
    nouns = (Noun("cat", (1,)), Noun("dog", (4,)))
    asked = [PICTURE], "what is in the picture?"
    found = noun_scores(whole_caption(model, *asked, caption), LogitLens(), nouns)
    inputs = model.prepare(*asked)[1]
    told = adapter.continued(inputs, caption)
    resid = states(adapter, told)
    patches = np.flatnonzero(told.places.kind == "patch")
    said = adapter.unembed.logits(resid[2, patches]).log_softmax(-1).detach()
    ids = sorted(noun_ids(adapter.tokenizer, "dog"))
    assert found["lens"]["2"][1] == pytest.approx(float(said[:, ids].logsumexp(-1).max()), abs=1e-4)
    at = inputs.n_prompt + 4
    cosine = torch.nn.functional.cosine_similarity(resid[1, at], resid[3, patches], dim=-1)
    by_layer = [values[1] for layer, values in found["lens"].items() if layer != "mean"]
    assert len(by_layer) == 5 and found["lens"]["mean"][1] == pytest.approx(np.mean(by_layer), abs=1e-4)
    assert found["contextual"]["1-3"][1] == pytest.approx(float(cosine.max()), abs=1e-4)
    own = adapter.unembed.logits(resid[-1, at - 1]).log_softmax(-1)[caption[4]].detach()
    assert found["own probability"][""][1] == pytest.approx(float(own), abs=1e-4)
    looked = account(adapter, adapter.continued(inputs, caption[:4]), Answer("", ()), "last")
    share = float(looked.share("patch")[looked.layers.index(2)].mean())
    assert found["attention"]["2"][1] == pytest.approx(share, abs=1e-4)
    assert set(found["attention"]) == {"1", "2", "3", "4"}
    assert all(0 < share < 1 for row in found["attention"].values() for share in row)


def states(adapter, inputs):
    """Residual states of all layers, the last before the final norm, from the model's own blocks."""
    kept = []
    hooks = [adapter.blocks[0].register_forward_pre_hook(lambda _, args: kept.append(args[0][0]))]
    for block in adapter.blocks:
        hooks.append(block.register_forward_hook(lambda _, __, out: kept.append(as_state(out))))
    with torch.no_grad(), adapter.undisturbed():
        adapter.model(**inputs.tensors, use_cache=False)
    for hook in hooks:
        hook.remove()
    return torch.stack(kept)


def as_state(output):
    return (output[0] if isinstance(output, tuple) else output)[0]


def test_patches_without_states_have_no_contextual_score():
    model = Model(tiny_mllama())
    caption = content_ids(model.tokenizer, " a cat")
    trace = whole_caption(model, [PICTURE], "what is in the picture?", caption)
    found = noun_scores(trace, CrossLens(), [Noun("cat", (1,))])
    assert "contextual" not in found and set(found["lens"]) == {"2", "5", "mean"}
    assert all(0 < share[0] <= 1 + 1e-5 for share in found["attention"].values())
    with pytest.raises(SelectionError, match="shows no patch"):
        noun_scores(trace, LogitLens(), [Noun("cat", (1,))])


def records(rng, count, at):
    """Captions of five nouns whose ``lens`` score tells what is made up at one layer only."""
    made = []
    for number in range(count):
        made_up = [number % 2 == 0, False, False, False, False]
        noise = {layer: rng.normal(size=5).tolist() for layer in ("0", "1", "2")}
        noise[at] = [-9.0 + value if up else value for value, up in zip(noise[at], made_up, strict=True)]
        told = {
            "made_up": made_up,
            "scores": {"lens": noise, "own probability": {"": rng.normal(size=5).tolist()}},
        }
        edits = [
            {
                "window": window,
                "made_up": up,
                "gone": gone,
                "gone_control": 0.0,
                "lost": lost,
                "lost_control": 0.0,
            }
            for window, gone, lost in (("entry", 1.0, 1.0), ("all", 1.0, 0.1), ("upper half", 0.0, 0.0))
            for up in (True, False)
        ]
        made.append({"own": told, "planted": told, "edits": edits})
    return made


def test_what_tells_is_chosen_and_reported():
    rng = np.random.default_rng(0)
    chosen = choose(records(rng, 20, "1"), edit=True)
    assert chosen.layers["lens"] == "1" and chosen.window == "all" and chosen.validation_made_up == 10
    assert -9 < chosen.thresholds["own"]["lens"] < -2
    fresh = records(rng, 30, "1")
    rows = {row.name: row for row in rows_of(fresh, chosen, 0)}
    assert rows["made up by the model: AUROC of lens"].value.value == 1
    assert rows["made up by the model: F1 of lens"].value.value == 1
    assert rows["planted: lens against own probability"].stands_out
    assert rows["made up by the model: AUROC of own probability"].value.value < 0.75
    assert "beats the model's own probability" in sentence_of(tuple(rows.values()))
    # chosen in vain: on other pictures that layer tells nothing
    other = {row.name: row for row in rows_of(records(rng, 30, "2"), chosen, 0)}
    assert not other["made up by the model: AUROC of lens"].stands_out
    assert "does not beat" in sentence_of(tuple(other.values()))
    assert scored(fresh, "own", "lens", "1").made_up.sum() == 15


def test_an_edit_takes_the_words_directions_out_of_the_patches(demo):
    (case,) = drawn_cases(caption_question, 1, 1, first=VALIDATION_SEEDS)
    trace = demo.trace(case.open(), case.prompt, max_new_tokens=40)
    caption = trace.answer.ids
    nouns = known_nouns(demo.tokenizer, caption)
    key, unembed = nouns[0].key, demo.adapter.unembed
    ids = sorted(noun_ids(demo.tokenizer, key))
    directions = torch.nn.functional.normalize(unembed.weight[ids]).detach()
    plain = trace.resid_at(0, "patches")
    changed = trace.under(without(demo.adapter, key, "entry")).resid_at(0, "patches")
    gamma = demo.adapter.final_norm.weight.detach()
    assert float(((plain * gamma) @ directions.T).abs().max()) > 0.1
    assert float((changed @ (directions * gamma).T).abs().max()) < 1e-3
    found = edited(trace, nouns, 0, "key", WINDOWS, len(caption) + 6)
    assert [one["window"] for one in found] == list(WINDOWS)
    assert found[0]["gone"] == 1 and all(one["lost"] is None or 0 <= one["lost"] <= 1 for one in found)


@pytest.fixture(scope="module")
def scenes():
    return drawn_cases(caption_question, 1, 6, first=VALIDATION_SEEDS)


def test_a_whole_run_goes_on_and_ends_the_same(demo, scenes, tmp_path):
    path = tmp_path / "a.jsonl"
    asked = partial(cause_hallucination, demo, scenes[:3], lens="logit", validation=scenes[3:])
    settings = HallucinationSettings(edit=False)
    whole = asked(settings)

    def stop(what, done, total):
        if what == "cases" and done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        asked(settings, out=path, progress=stop)
    assert len(path.read_text().splitlines()) == 3
    again = asked(settings, out=path)
    assert again.rows == whole.rows and again.parameters["chosen"] == whole.parameters["chosen"]
    assert json.loads(again.to_json())["cases"] == 3
    with pytest.raises(DataError, match="max_new_tokens"):
        asked(HallucinationSettings(30, edit=False), out=path)


def test_pictures_of_ones_own_are_scored_and_flagged_only_where_that_is_known(demo, scenes):
    (picture,) = scenes[0].open()
    own = as_cases([Item("mine", "Describe the picture.", (picture,))])
    chosen = calibrated(demo, scenes, LogitLens())
    found = described(demo, own, chosen, lens=LogitLens())
    assert found.nouns and all(noun.flagged in (True, False) for noun in found.nouns)
    assert all(set(names(noun.noun)) & set(said_words(noun.caption)) for noun in found.nouns)
    unknown = described(demo, own)
    assert all(noun.flagged is None for noun in unknown.nouns)
    assert {noun.noun for noun in unknown.nouns} <= set(said_words(unknown.nouns[0].caption)) - {"a", "on"}
    assert len(unknown.nouns) >= len(found.nouns)
    with pytest.raises(SelectionError, match="nothing is known"):
        cause_hallucination(demo, own, validation=scenes)
