"""Many interventions at once against a whole pass for each."""

import numpy as np
import pytest
import torch
from acting import ANSWER, NOISE, OTHER, acted, assert_untouched, fingerprint, logits

from patchlens.capture import capture
from patchlens.causal import (
    Ablate,
    Add,
    Knockout,
    Mean,
    Noise,
    Patches,
    Project,
    Swap,
    intervening,
    patch_states,
    rerun,
)
from patchlens.errors import InterventionError, NumericsError, PromptError, SelectionError, TargetError
from patchlens.models.generate import generate_greedy
from patchlens.models.load import load_adapter
from tiny import BUILDERS, VISION

EVERY = pytest.mark.parametrize("family", BUILDERS)
SEEING = pytest.mark.parametrize("family", VISION)


def vector(adapter, seed=0, rows=1):
    return 3 * torch.randn(rows, adapter.d_model, generator=torch.Generator().manual_seed(seed))


def many(adapter, inputs, family):
    """Interventions that start at all kinds of layers and positions."""
    last = adapter.n_layers
    texts = [
        (),
        Add(vector(adapter), 1.0, "text", [1, 2]),
        Knockout("answer", "text", [1, 2]),
        Knockout("last", "text"),
        Add(vector(adapter, 1), 1.0, "last", last),
        Add(vector(adapter, 2), 1.0, "answer", [0, last - 1]),
        Knockout([inputs.n_prompt], range(2, inputs.n_prompt), [last - 1]),
        Project(vector(adapter, 3, 2), "all", range(last + 1)),
        Swap(capture(adapter, inputs, layers=[2], positions=[3]), 2) + Add(vector(adapter, 4), 1.0, [4], 1),
        Add(vector(adapter, 5), 1.0, [len(inputs) - 1], 1),
    ]
    if family not in VISION:
        return texts
    states = patch_states(adapter, [acted(family, picture=OTHER)[1]])
    return [
        *texts,
        Ablate(),
        *(Ablate([number], Mean(states)) for number in range(len(states))),
        Ablate([2, 3], Noise(states)) + Knockout("answer", Patches([0, 1]), [2]),
        Knockout("last", "patches", [0, 1, 2]),
        Knockout("text", "patches", [1]),
        Knockout("answer", "image"),
    ]


def one_each(adapter, inputs, interventions, tokens=()):
    answer = inputs.ids[inputs.n_prompt :]
    steps, first = [], []
    for each in interventions:
        said = logits(adapter, inputs, each)[inputs.n_prompt - 1 :].log_softmax(-1)
        steps.append([said[step, token] for step, token in enumerate(answer)])
        first.append(said[0, list(tokens)])
    return torch.tensor(steps).reshape(len(steps), len(answer)), torch.stack(first)


@EVERY
@pytest.mark.parametrize("room", ["one row", "several", "all"])
def test_rerunning_is_one_pass_for_each(family, room):
    adapter, inputs = acted(family)
    interventions = many(adapter, inputs, family)
    runs = rerun(adapter, inputs, memory_mb={"one row": 1, "several": 1, "all": 4000}[room])
    if room == "one row":
        object.__setattr__(runs, "_row_bytes", lambda *_: 10**9)
    got = runs.effects(interventions, [5, 9, 40])
    expected, first = one_each(adapter, inputs, interventions, [5, 9, 40])
    assert got.tokens == (5, 9, 40)
    torch.testing.assert_close(got.logprobs, expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(got.first, first, atol=1e-5, rtol=0)
    torch.testing.assert_close(got.total, expected.sum(1), atol=1e-4, rtol=0)
    plain = got.logprobs[0]
    moved = (got.logprobs - plain).abs().amax(1) > 1e-3
    assert moved.sum() >= len(interventions) - 3  # the plain run, and what nothing after it can feel


@SEEING
def test_without_an_answer_the_first_position_is_still_told(family):
    adapter, inputs = acted(family, answer=())
    interventions = [(), Ablate(), Knockout("last", "patches")]
    got = rerun(adapter, inputs).effects(interventions, [5])
    assert got.logprobs.shape == (3, 0)
    torch.testing.assert_close(got.first, one_each(adapter, inputs, interventions, [5])[1], atol=1e-5, rtol=0)
    assert got.total.eq(0).all()


@SEEING
def test_the_vision_tower_is_not_run_again(family):
    adapter, inputs = acted(family)
    runs = rerun(adapter, inputs)

    def fail(*_):
        raise AssertionError("the vision tower ran")

    tower = getattr(adapter.model.model, "visual", None) or getattr(
        adapter.model.model, "vision_tower", getattr(adapter.model.model, "vision_model", None)
    )
    handle = tower.register_forward_pre_hook(fail)
    runs.effects([Ablate([0]), Knockout("last", "patches")])
    handle.remove()


def test_only_what_can_differ_is_run():
    adapter, inputs = acted("llava")
    runs = rerun(adapter, inputs)
    seen = []
    handles = [
        block.register_forward_pre_hook(lambda module, args, i=i: seen.append((i, tuple(args[0].shape[:2]))))
        for i, block in enumerate(adapter.blocks)
    ]
    runs.effects([Knockout("last", "patches", [2, 3])] * 3)
    assert seen == [(2, (3, 3)), (3, (3, 3))]
    seen.clear()
    runs.effects([()])
    assert not seen
    for handle in handles:
        handle.remove()


def spoken(adapter, inputs, interventions, n):
    """Greedy answer by a whole pass per step."""
    said = []
    for _ in range(n):
        row = logits(adapter, adapter.continued(inputs, said), interventions)[-1]
        row[list(adapter.unspeakable)] = -torch.inf
        token = int(row.argmax())
        if token in adapter.ends:
            break
        said.append(token)
    return tuple(said)


def beyond_answer(interventions):
    """Those that name no position of an answer by its number."""
    return [each for number, each in enumerate(interventions) if number not in (6, 9)]


@EVERY
def test_answers_are_those_of_a_pass_for_each_step(family):
    adapter, inputs = acted(family)
    interventions = beyond_answer(many(adapter, inputs, family))
    got = rerun(adapter, inputs).answers(interventions, 4)
    assert got == tuple(spoken(adapter, inputs, each, 4) for each in interventions)
    assert len(set(got)) > 3


@EVERY
def test_the_plain_answer_is_the_models_own(family):
    adapter, inputs = acted(family, answer=())
    assert rerun(adapter, inputs).answers([()], 6) == (tuple(generate_greedy(adapter, inputs, 6)),)


def test_an_answer_ends_where_the_model_ends_it_row_by_row():
    adapter, inputs = acted("llava")
    interventions = [(), Ablate(), Knockout("answer", "text")]
    free = rerun(adapter, inputs).answers(interventions, 6)
    end = free[1][2]
    adapter.model.generation_config.eos_token_id = [end]
    got = rerun(adapter, inputs).answers(interventions, 6)
    assert got == tuple(row[: row.index(end)] if end in row else row for row in free)
    assert len(got[1]) < 3
    assert rerun(adapter, inputs).answers(interventions, 0) == ((), (), ())


@pytest.mark.parametrize("family", ["llava", "qwen_vl"])
def test_a_picture_placeholder_is_never_said(family):
    adapter, inputs = acted(family, answer=())
    with torch.no_grad():
        state = capture(adapter, inputs).final[-1:]
        adapter.unembed.weight[adapter.image_token_id] = 50 * adapter.unembed.norm(state)[0]
    interventions = [(), Ablate(), Knockout("answer", "patches")]
    said = logits(adapter, inputs)[-1].argmax(), *rerun(adapter, inputs).answers(interventions, 6)
    assert said[0] == adapter.image_token_id
    assert not any(adapter.image_token_id in answer for answer in said[1:])


def test_answers_stop_at_the_context():
    adapter, _ = acted("llama", answer=())
    long = adapter.encode("z" * (adapter.max_positions - 3), [])
    room = adapter.max_positions - len(long)
    (answer,) = rerun(adapter, long).answers([()], 50)
    assert len(answer) <= room
    assert answer == tuple(generate_greedy(adapter, long, 50))
    with pytest.raises(PromptError, match="takes at most"):
        adapter.continued(long, [1] * 50)


@EVERY
def test_another_answer_after_the_same_prompt(family):
    adapter, inputs = acted(family, answer=(7, 8, 9, 10))
    expected = acted(family, answer=ANSWER)[1]
    got = adapter.continued(inputs, ANSWER)
    assert got.tensors.keys() == expected.tensors.keys()
    for name, tensor in expected.tensors.items():
        assert got.tensors[name].equal(tensor), name
    np.testing.assert_array_equal(got.ids, expected.ids)
    np.testing.assert_array_equal(got.places.kind, expected.places.kind)
    assert inputs.tensors["input_ids"][0, -4:].tolist() == [7, 8, 9, 10]


@EVERY
@pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt])
def test_the_model_is_left_as_it_was(family, failure):
    adapter, inputs = acted(family)
    logits(adapter, inputs)
    adapter.model.train()
    interventions = many(adapter, inputs, family)
    runs = rerun(adapter, inputs)
    before = fingerprint(adapter)
    runs.effects(interventions)
    runs.answers(beyond_answer(interventions), 2)
    rerun(adapter, inputs)
    assert_untouched(adapter, before)

    def fail(*_):
        raise failure("half way")

    handle = adapter.blocks[2].register_forward_hook(fail)
    before = fingerprint(adapter)
    for act in (
        lambda: runs.effects(interventions),
        lambda: runs.answers([()], 2),
        lambda: rerun(adapter, inputs),
    ):
        with pytest.raises(failure, match="half way"):
            act()
    assert_untouched(adapter, before)
    handle.remove()


@pytest.mark.parametrize("kind", ["eager", "sdpa"])
@pytest.mark.parametrize("name", ["demo", "demo-cross"])
def test_the_bundled_models_agree(name, kind):
    adapter = load_adapter(name)
    adapter.model.set_attn_implementation({"text_config": kind})
    inputs = adapter.encode("What is this?", [NOISE], answer_ids=ANSWER)
    states = patch_states(adapter, [adapter.encode("What is this?", [OTHER])])
    interventions = [Ablate(range(n, n + 6), Mean(states)) for n in range(0, len(states) - 6, 7)]
    interventions += [Knockout("answer", "patches", range(n, n + 3)) for n in range(adapter.n_layers - 2)]
    interventions += [Knockout("text", "image"), ()]
    got = rerun(adapter, inputs).effects(interventions)
    expected = one_each(adapter, inputs, interventions)[0]
    torch.testing.assert_close(got.logprobs, expected, atol=1e-5, rtol=1e-6)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_runs(dtype):
    adapter, inputs = acted("llava", dtype=dtype)
    states = patch_states(adapter, [inputs])
    interventions = [
        (),
        Ablate([1], Mean(states)),
        Knockout("last", "patches"),
        Project(vector(adapter), "text"),
    ]
    got = rerun(adapter, inputs).effects(interventions)
    assert got.logprobs.dtype == torch.float32
    expected = one_each(adapter, inputs, interventions)[0].float()
    torch.testing.assert_close(got.logprobs, expected, atol=0.1, rtol=0)


def test_mistakes_are_told_before_anything_runs():
    adapter, inputs = acted("llava")
    runs = rerun(adapter, inputs)
    with pytest.raises(TargetError, match="token id 9999 does not exist"):
        runs.effects([()], [9999])
    with pytest.raises(SelectionError, match="patch 9"):
        runs.effects([Ablate([9])])
    with pytest.raises(InterventionError, match="expected states"):
        runs.effects([(), Ablate([1], Mean(torch.zeros(2, 3)))])
    with pytest.raises(NumericsError, match="under an intervention"):
        runs.effects([Add(torch.full((1, adapter.d_model), 3e38), 10.0, "text")])
    assert runs.effects([]).logprobs.shape == (0, 3)


def test_edits_hold_inside_a_capture_of_the_same_prompt():
    """What is captured under interventions is what their effects come from."""
    adapter, inputs = acted("qwen_vl")
    both = Ablate([0, 1]) + Knockout("answer", "patches", [1])
    with intervening(adapter, inputs, both):
        final = capture(adapter, inputs).final[inputs.n_prompt - 1 : -1]
    said = adapter.unembed.logits(final).log_softmax(-1)
    expected = said[torch.arange(3), list(ANSWER)]
    torch.testing.assert_close(
        rerun(adapter, inputs).effects([both]).logprobs[0], expected, atol=1e-5, rtol=0
    )
