"""Everything a user asks of a Trace, held against the passes it stands for."""

import pickle

import numpy as np
import pytest
import torch
from PIL import Image

from patchlens.capture import capture
from patchlens.causal import (
    Ablate,
    Knockout,
    Mean,
    Patches,
    intervening,
    patch_states,
    rerun,
)
from patchlens.errors import PatchlensError, PromptError, SelectionError, UnsupportedModelError
from patchlens.models.inputs import prepare
from patchlens.run import Model, load
from tiny import BUILDERS, VISION

SEEING = pytest.mark.parametrize("family", sorted(VISION))
QUESTION = "what is left of the dog?"


def picture(seed=0, size=(80, 52)):
    pixels = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), np.uint8)
    return Image.fromarray(pixels)


@pytest.fixture(scope="module")
def traces():
    made = {}

    def of(family):
        if family not in made:
            model = Model(BUILDERS[family]())
            made[family] = model, model.trace(picture(), QUESTION, max_new_tokens=3)
        return made[family]

    return of


@SEEING
def test_effects_are_those_of_one_pass_each(traces, family):
    model, trace = traces(family)
    told = model.adapter.continued(trace.inputs, trace.answer.ids)
    runs = [Ablate([0, 1]), Knockout("answer", "patches")]
    found = trace.effects(runs)
    expected = rerun(model.adapter, told).effects([(), *runs]).logprobs.numpy()
    np.testing.assert_allclose(found.plain, expected[0], atol=1e-6)
    np.testing.assert_allclose(found.logprobs, expected[1:], atol=1e-6)
    np.testing.assert_allclose(found.change, (expected[1:] - expected[0]).sum(1), atol=1e-5)
    assert np.abs(found.change).max() > 1e-4
    frame = found.to_pandas()
    assert len(frame) == 3 * len(trace.answer.ids)
    assert frame[frame.run == -1].logprob.tolist() == found.plain.tolist()


@SEEING
def test_an_answer_of_ones_own_is_measured_in_its_place(traces, family):
    _, trace = traces(family)
    own = trace.effects([()], answer="a cat")
    assert own.answer.text.strip() == "a cat"
    assert own.change.tolist() == [0.0]
    with pytest.raises(PromptError, match="has no token"):
        trace.effects([()], answer="  ")


def test_without_an_answer_there_is_nothing_to_change(traces):
    model, _ = traces("llava")
    silent = model.trace(picture(), QUESTION, max_new_tokens=0)
    for ask in (lambda: silent.effects([Ablate([0])]), lambda: silent.ablate([0]), silent.map):
        with pytest.raises(PromptError, match="no answer whose probability"):
            ask()


@SEEING
def test_the_first_words_probabilities_need_no_answer(traces, family):
    model, trace = traces(family)
    found = trace.next_logprobs([(), Ablate()])
    assert found.shape == (2, model.vocab_size)
    np.testing.assert_allclose(np.exp(found).sum(1), 1, atol=1e-4)
    plain = trace.captured.logits.float().log_softmax(-1).numpy()
    np.testing.assert_allclose(found[0], plain, atol=1e-4)
    few = trace.next_logprobs([Ablate()], [5, 3])
    np.testing.assert_allclose(few[0], found[1, [5, 3]], atol=1e-6)


@SEEING
def test_a_trace_under_an_intervention_reads_what_a_changed_pass_holds(traces, family):
    model, trace = traces(family)
    changed = trace.under(Ablate([0, 1, 2]))
    with intervening(model.adapter, changed.inputs, Ablate([0, 1, 2])):
        expected = capture(model.adapter, changed.inputs)
    torch.testing.assert_close(changed.resid, expected.resid)
    assert not torch.allclose(changed.resid[-1, -1], trace.resid[-1, -1])
    assert changed.answer == trace.answers([Ablate([0, 1, 2])])[0]
    reading, plain = (own.read(channels=["attention"]) for own in (changed, trace))
    assert not np.array_equal(reading.channels[0].values, plain.channels[0].values, equal_nan=True)
    np.testing.assert_allclose(reading.top_logprobs[-1, -1], changed.read().top_logprobs[-1, -1])


@SEEING
def test_interventions_on_a_changed_trace_come_on_top_of_its_own(traces, family):
    _, trace = traces(family)
    first, second = Ablate([0, 1, 2], Mean(trace.patch_states())), Knockout("answer", "text")
    changed = trace.under(first)
    found = changed.effects([second], answer=trace.answer.ids)
    expected = trace.effects([first, [first, second]])
    np.testing.assert_allclose(found.plain, expected.logprobs[0], atol=1e-5)
    np.testing.assert_allclose(found.logprobs[0], expected.logprobs[1], atol=1e-5)
    assert changed.under(second).answer == trace.answers([[first, second]])[0]


@SEEING
def test_ablating_tells_effect_answer_and_random_control(traces, family):
    _, trace = traces(family)
    found = trace.ablate([0, 1, 2, 3], draws=5, seed=3)
    assert found.change == pytest.approx(trace.effects([Ablate([0, 1, 2, 3])]).change[0], abs=1e-6)
    assert found.answer == trace.answers([Ablate([0, 1, 2, 3])])[0]
    assert found.control.shape == (5,) and len(set(found.control.tolist())) > 1
    assert 1 / 6 <= found.p <= 1 and "the mean patch of this prompt" in str(found)
    assert len(found.to_pandas()) == 6
    again = trace.ablate([0, 1, 2, 3], draws=5, seed=3)
    assert again.control.tolist() == found.control.tolist()
    everything = trace.ablate(draws=2)
    np.testing.assert_allclose(everything.control, everything.change, atol=1e-5)
    with pytest.raises(SelectionError, match="no control"):
        trace.ablate([0], draws=0)


@SEEING
def test_the_causal_map_holds_the_effect_of_each_block(traces, family):
    _, trace = traces(family)
    grid = trace.inputs.grids[0]
    found = trace.map(block=1)
    assert found.shape == (grid.rows, grid.cols)
    places = trace.inputs.patch_places
    last = len(places) - 1
    expected = trace.effects([Ablate(Patches([last]))]).change[0]
    assert found[places.row[last], places.col[last]] == pytest.approx(expected, abs=1e-5)
    with pytest.raises(SelectionError, match="no picture 1"):
        trace.map(image=1)


@SEEING
def test_states_are_asked_for_by_layer_and_place(traces, family):
    model, trace = traces(family)
    torch.testing.assert_close(trace.resid_at(-1), trace.resid[-1])
    torch.testing.assert_close(trace.resid_at(layer=2, positions=[3, 1]), trace.resid[2, [3, 1]])
    torch.testing.assert_close(trace.resid_at(2, -1), trace.resid[2, [-1]])
    torch.testing.assert_close(trace.resid_at(1, "answer"), trace.resid[1, [trace.inputs.n_prompt - 1]])
    own = patch_states(model.adapter, [trace.inputs])
    torch.testing.assert_close(trace.patch_states(), own)
    few = model.trace(picture(), QUESTION, layers=2, positions="answer", max_new_tokens=0)
    assert few.layers == (2,)
    with pytest.raises(SelectionError, match="was not kept"):
        few.resid_at(1)
    with pytest.raises(SelectionError, match="was not kept"):
        few.resid_at(2, 0)


@SEEING
def test_the_answers_own_probabilities_are_the_same_kept_or_run_again(traces, family):
    model, trace = traces(family)
    kept = model.trace(picture(), QUESTION, max_new_tokens=3, steps=True)
    assert kept.answer == trace.answer and len(trace.answer.ids) > 1
    np.testing.assert_allclose(kept.answer_logprobs, trace.answer_logprobs, atol=1e-5)
    assert kept.predicted == trace.answer.ids


@SEEING
def test_a_given_answer_is_read_like_the_models_own(traces, family):
    model, trace = traces(family)
    own = model.trace(picture(), QUESTION, answer=trace.answer.ids, steps=True)
    free = model.trace(picture(), QUESTION, max_new_tokens=3, steps=True)
    torch.testing.assert_close(own.resid, free.resid)
    other = model.trace(picture(), QUESTION, answer="a cat", steps=True)
    assert other.answer.text.strip() == "a cat"
    assert other.answer_logprobs.sum() == pytest.approx(
        trace.effects([()], answer="a cat").total[0], abs=1e-5
    )


@SEEING
def test_a_beginning_is_taken_as_said(traces, family):
    model, trace = traces(family)
    begun = model.trace(picture(), QUESTION, begun="a cat", max_new_tokens=2)
    assert begun.inputs.n_prompt == len(begun.inputs) > trace.inputs.n_prompt
    with pytest.raises(PromptError, match="has no token"):
        model.trace(picture(), QUESTION, begun=" ")


@SEEING
def test_many_are_traced_in_order_as_each_alone(traces, family):
    model, _ = traces(family)
    questions = [QUESTION, "a cat", "what is left of the cat?", "is there a bird?"]
    pairs = [(picture(number), prompt) for number, prompt in enumerate(questions)]
    for batch in (1, 3, 8):
        many = list(model.trace_many(iter(pairs), batch=batch, max_new_tokens=2))
        for (own, prompt), trace in zip(pairs, many, strict=True):
            alone = model.trace(own, prompt, max_new_tokens=2)
            assert trace.inputs.prompt == prompt and trace.answer == alone.answer
            torch.testing.assert_close(trace.resid, alone.resid)


@SEEING
def test_many_under_an_intervention_are_as_each_alone(traces, family):
    model, _ = traces(family)
    pairs = [(picture(number), QUESTION) for number in range(3)]
    hidden = Knockout("text", "image") + Knockout("answer", "image")
    for (own, prompt), trace in zip(
        pairs, model.trace_many(pairs, under=hidden, answer="a cat", steps=True), strict=True
    ):
        alone = model.trace(own, prompt, under=hidden, answer="a cat", steps=True)
        np.testing.assert_allclose(trace.answer_logprobs, alone.answer_logprobs, atol=1e-5)
    assert not np.allclose(
        alone.answer_logprobs, model.trace(picture(2), QUESTION, answer="a cat", steps=True).answer_logprobs
    )


def test_a_string_is_one_target_and_one_channel(traces):
    _, trace = traces("llava")
    assert [target.word for target in trace.read(targets="cat").targets] == ["cat"]
    assert [target.token for target in trace.read(targets=5).targets] == [5]
    assert [channel.name for channel in trace.read(channels="attention").channels] == ["attention_answer"]


@pytest.mark.parametrize("family", sorted(BUILDERS))
def test_a_model_in_memory_is_read_like_a_loaded_one(family):
    adapter = BUILDERS[family]()

    class Processor:
        tokenizer = adapter.tokenizer
        image_processor = adapter.processing.image_processor
        chat_template = adapter.chat_template

    model = load(adapter.model, processor=Processor(), name="mine")
    shown = picture() if family in VISION else None
    own, expected = (one.trace(shown, QUESTION).read() for one in (model, Model(adapter)))
    assert model.name == "mine" and own.model.name == "mine"
    np.testing.assert_array_equal(own.top_ids, expected.top_ids)
    assert (model.n_layers, model.d_model, model.vocab_size) == (
        adapter.n_layers,
        adapter.d_model,
        adapter.vocab_size,
    )


def test_a_wrapped_model_is_read_as_what_it_holds():
    adapter = BUILDERS["llama"]()

    class Peft:
        def get_base_model(self):
            return adapter.model

    reading = load(Peft(), processor=adapter.tokenizer).trace(prompt=QUESTION).read()
    np.testing.assert_array_equal(reading.top_ids, Model(adapter).trace(prompt=QUESTION).read().top_ids)


def test_what_cannot_be_loaded_from_memory_is_told_in_one_line():
    adapter, seeing = BUILDERS["llama"](), BUILDERS["llava"]()
    for ask, error, says in (
        (lambda: load(adapter.model), UnsupportedModelError, "give its processor"),
        (lambda: load(torch.nn.Linear(2, 2)), UnsupportedModelError, "expected a model of transformers"),
        (lambda: load(seeing.model, processor=seeing.tokenizer), UnsupportedModelError, "image processor"),
        (lambda: load(adapter.model, processor=adapter.tokenizer, dtype="float16"), SelectionError, "stays"),
    ):
        with pytest.raises(error, match=says) as caught:
            ask()
        assert "\n" not in str(caught.value)


def test_a_prompt_that_is_no_text_is_told():
    model = Model(BUILDERS["llama"]())
    with pytest.raises(PromptError, match="a prompt is text, got list"):
        model.trace(prompt=[{"role": "user", "content": "hi"}])


def test_a_trace_is_not_pickled_but_says_what_to_keep(traces):
    _, trace = traces("llava")
    with pytest.raises(PatchlensError, match="holds its model"):
        pickle.dumps(trace)


def test_nothing_is_left_behind(traces):
    model, trace = traces("llava")
    hooks = [(len(m._forward_hooks), len(m._forward_pre_hooks)) for m in model.adapter.model.modules()]
    before = capture(model.adapter, prepare(model.adapter, QUESTION, [picture()])).resid
    trace.under(Ablate([0]) + Knockout("answer", "patches")).attend()
    trace.ablate([1], draws=2)
    after = capture(model.adapter, prepare(model.adapter, QUESTION, [picture()])).resid
    torch.testing.assert_close(before, after, rtol=0, atol=0)
    assert not model.adapter.model.training
    assert hooks == [
        (len(m._forward_hooks), len(m._forward_pre_hooks)) for m in model.adapter.model.modules()
    ]
