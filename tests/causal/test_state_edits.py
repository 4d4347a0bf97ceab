"""Ablation, projection, addition and interchange of states, and that the model is left alone."""

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
    Other,
    Patches,
    Project,
    Replace,
    Swap,
    Together,
    Zero,
    concept_directions,
    intervening,
    patch_numbers,
    patch_states,
)
from patchlens.causal.places import Stage
from patchlens.errors import InterventionError, PatchlensError, SelectionError, TargetError
from tiny import BUILDERS, VISION

SEEING = pytest.mark.parametrize("family", VISION)
EVERY = pytest.mark.parametrize("family", BUILDERS)


def vector(adapter, seed=0, rows=1):
    return torch.randn(rows, adapter.d_model, generator=torch.Generator().manual_seed(seed))


def entering(adapter, inputs, interventions):
    """States of all patches as the decoder gets them."""
    with intervening(adapter, inputs, interventions):
        captured = capture(adapter, inputs)
    rows = Stage(adapter, inputs).patches
    return captured.resid[0, rows] if captured.vision is None else captured.vision[rows]


@EVERY
@pytest.mark.parametrize("nothing", [(), [], Together(), ((), Together())[1:]])
def test_an_empty_intervention_changes_nothing(family, nothing):
    adapter, inputs = acted(family)
    plain = logits(adapter, inputs)
    hooks = fingerprint(adapter)[0][0]
    with intervening(adapter, inputs, nothing):
        assert fingerprint(adapter)[0][0] == hooks
    assert logits(adapter, inputs, nothing).equal(plain)


@SEEING
def test_ablated_patches_hold_what_was_asked_for(family):
    adapter, inputs = acted(family)
    plain = entering(adapter, inputs, ())
    others = patch_states(adapter, [acted(family, picture=OTHER)[1]])
    chosen, rest = [0, 2], [1, *range(3, len(plain))]
    wanted = {
        Zero(): torch.zeros(2, adapter.d_model),
        Mean(others): others.mean(0).expand(2, -1),
        Other(others): others[chosen],
        Noise(others, 3): Noise(others, 3).states(chosen, adapter.d_model),
    }
    for by, expected in wanted.items():
        got = entering(adapter, inputs, Ablate(chosen, by))
        assert got[chosen].equal(expected)
        assert got[rest].equal(plain[rest])
        changed = logits(adapter, inputs, Ablate(chosen, by)) - logits(adapter, inputs)
        assert changed[inputs.n_prompt - 1].abs().max() > 1e-3


@SEEING
def test_all_patches_are_ablated_by_default(family):
    adapter, inputs = acted(family)
    assert entering(adapter, inputs, Ablate(by=Zero())).eq(0).all()
    own = patch_states(adapter, [inputs])
    got = entering(adapter, inputs, Ablate())
    torch.testing.assert_close(got, own.mean(0).expand_as(got))


@SEEING
def test_a_few_patches_get_the_mean_of_all_by_default(family):
    adapter, inputs = acted(family)
    own = patch_states(adapter, [inputs])
    torch.testing.assert_close(
        logits(adapter, inputs, Ablate([1, 3])), logits(adapter, inputs, Ablate([1, 3], Mean(own)))
    )


@SEEING
def test_ablating_with_own_states_changes_nothing(family):
    adapter, inputs = acted(family)
    own = patch_states(adapter, [inputs])
    assert logits(adapter, inputs, Ablate("all", Other(own))).equal(logits(adapter, inputs))


@SEEING
def test_ablating_all_by_another_picture_is_that_picture(family):
    adapter, inputs = acted(family)
    there = acted(family, picture=OTHER)[1]
    others = patch_states(adapter, [there])
    got = logits(adapter, inputs, Ablate("all", Other(others)))
    if family == "mllama":  # which has states of a picture that are no patch
        got = logits(adapter, inputs, Swap(capture(adapter, there), 0, "image"))
    torch.testing.assert_close(got, logits(adapter, there), atol=1e-5, rtol=0)
    assert not torch.allclose(got, logits(adapter, inputs), atol=1e-3)


@pytest.mark.parametrize("layer", [1, 3, -1])
def test_patches_are_ablated_at_a_later_layer(layer):
    adapter, inputs = acted("llava")
    rows = Stage(adapter, inputs).patches[[1, 4]]
    plain = capture(adapter, inputs)
    with intervening(adapter, inputs, Ablate([1, 4], Zero(), layer)):
        got = capture(adapter, inputs)
    row = layer % (adapter.n_layers + 1)
    assert got.resid[row, rows].eq(0).all()
    assert got.resid[:row].equal(plain.resid[:row])
    rest = np.setdiff1d(np.arange(len(inputs)), rows)
    assert got.resid[row, rest].equal(plain.resid[row, rest])


def test_noise_has_the_scale_of_its_reference_and_is_the_same_for_a_patch_whatever_else_is_ablated():
    reference = 3 + 2 * torch.randn(400, 16, generator=torch.Generator().manual_seed(1))
    noise = Noise(reference, 5)
    drawn = noise.states(range(2000), 16)
    torch.testing.assert_close(drawn.mean(0), reference.mean(0), atol=0.2, rtol=0)
    torch.testing.assert_close(drawn.std(0), reference.std(0), atol=0.2, rtol=0)
    assert noise.states([7, 3], 16).equal(drawn[[7, 3]])
    assert not Noise(reference, 6).states([7], 16).equal(drawn[[7]])


@SEEING
def test_a_reference_set_is_the_patches_of_its_pictures(family):
    adapter, inputs = acted(family)
    there = acted(family, picture=OTHER)[1]
    both = patch_states(adapter, [inputs, there])
    n = len(Stage(adapter, inputs).patches)
    assert len(both) == 2 * n
    assert both[n:].equal(patch_states(adapter, [there]))
    assert both[:n].equal(entering(adapter, inputs, ()))


@SEEING
def test_patches_are_numbered_on_the_grid(family):
    adapter, inputs = acted(family)
    numbers = patch_numbers(inputs)
    assert numbers.shape == (inputs.grids[0].rows, inputs.grids[0].cols)
    assert sorted(numbers[numbers >= 0]) == list(range(len(Stage(adapter, inputs).patches)))
    places = inputs.places if inputs.vision_places is None else inputs.vision_places
    row = Stage(adapter, inputs).patches[numbers[1, 2]]
    assert (places.row[row], places.col[row]) == (1, 2)
    with pytest.raises(SelectionError, match="no picture 1"):
        patch_numbers(inputs, 1)


@EVERY
@pytest.mark.parametrize("layer", [0, 2, -1])
def test_swapping_all_states_gives_the_other_runs_logits(family, layer):
    adapter, inputs = acted(family)
    there = acted(family, picture=OTHER, prompt="what is left of the cat?")[1]
    assert len(there) == len(inputs)
    source = capture(adapter, there)
    swap = Swap(source, layer)
    if source.vision is not None:
        swap = swap + Swap(source, 0, "image")
    expected = logits(adapter, there)
    torch.testing.assert_close(logits(adapter, inputs, swap), expected, atol=1e-5, rtol=0)
    assert not torch.allclose(logits(adapter, inputs), expected, atol=1e-2)


def test_some_states_are_swapped():
    adapter, inputs = acted("llava")
    there = acted("llava", picture=OTHER)[1]
    source = capture(adapter, there, layers=[2], positions=[-1, 3, 5])
    with intervening(adapter, inputs, Swap(source, 2, [5])):
        got = capture(adapter, inputs)
    assert got.resid[2, 5].equal(source.resid[0, 2])
    assert got.resid[2, 3].equal(capture(adapter, inputs).resid[2, 3])


@EVERY
def test_a_projected_state_has_nothing_of_the_directions_and_all_of_the_rest(family):
    adapter, inputs = acted(family)
    directions = torch.cat([vector(adapter, rows=2), vector(adapter, rows=2).sum(0, keepdim=True)])
    plain = capture(adapter, inputs)
    with intervening(adapter, inputs, Project(directions, "text", [1, -2])):
        got = capture(adapter, inputs)
    rows = list(Stage(adapter, inputs).find("text").positions)
    before, after = plain.resid[1, rows], got.resid[1, rows]
    torch.testing.assert_close(after @ directions.T, torch.zeros(len(rows), 3), atol=1e-4, rtol=0)
    left = torch.linalg.lstsq(directions[:2].T, (before - after).T).solution
    torch.testing.assert_close(directions[:2].T @ left, (before - after).T, atol=1e-4, rtol=1e-4)
    later = got.resid[adapter.n_layers - 1, rows]
    torch.testing.assert_close(later @ directions.T, torch.zeros(len(rows), 3), atol=1e-4, rtol=0)


def test_taking_a_concept_out_takes_its_logit_from_the_last_layer():
    for family in ("llava", "gpt2"):
        adapter, inputs = acted(family)
        directions = concept_directions(adapter, [31, 47])
        torch.testing.assert_close(directions.norm(dim=1), torch.ones(2))
        zero = adapter.unembed.logits(torch.zeros(1, adapter.d_model))[0, [31, 47]]
        got = logits(adapter, inputs, Project(directions, "last", -1))[inputs.n_prompt - 1, [31, 47]]
        torch.testing.assert_close(got, zero, atol=1e-4, rtol=0)
        assert (logits(adapter, inputs)[inputs.n_prompt - 1, [31, 47]] - zero).abs().min() > 0.05


@SEEING
def test_vectors_are_added(family):
    adapter, inputs = acted(family)
    plain = entering(adapter, inputs, ())
    one, many = vector(adapter), vector(adapter, 1, 2)
    got = entering(adapter, inputs, [Add(one, 2.0, Patches([3])), Add(many, -1.0, Patches([2, 0]))])
    torch.testing.assert_close(got[3], plain[3] + 2 * one[0])
    torch.testing.assert_close(got[[2, 0]], plain[[2, 0]] - many)


def test_edits_of_a_layer_follow_the_order_in_which_they_were_added():
    adapter, inputs = acted("llava")
    add, out = Add(vector(adapter), 1.0, [3], 1), Project(vector(adapter), [3], 1)

    def state(interventions):
        with intervening(adapter, inputs, interventions):
            return capture(adapter, inputs, layers=[1], positions=[3]).resid[0, 0]

    along = vector(adapter)[0]
    assert abs(state(add + out) @ along) < 1e-4
    assert abs(state(out + add) @ along - along @ along) < 1e-4
    assert state([add, out]).equal(state(add + out))
    assert state((Together((add,)) + out) + Ablate([0])).equal(state(add + out + Ablate([0])))
    with intervening(adapter, inputs, add):
        nested = state(out)
    assert nested.equal(state(add + out))


def test_a_skipped_blocks_layer_is_edited_where_the_stream_goes_on():
    adapter, inputs = acted("mllama", picture=None)
    add, out = Add(vector(adapter), 1.0, [3], 1), Project(vector(adapter), [3], 2)
    there = Add(vector(adapter), 1.0, [3], 1) + Project(vector(adapter), [3], 1)
    assert adapter.cross_blocks[0] == 1
    assert logits(adapter, inputs, out + add).equal(logits(adapter, inputs, there))
    assert not logits(adapter, inputs, add).equal(logits(adapter, inputs, there))


def used(family):
    adapter, inputs = acted(family)
    logits(adapter, inputs)
    adapter.model.train()
    adapter.blocks[0].eval()
    return adapter, inputs


def all_at_once(adapter, family):
    everything = Add(vector(adapter), 1.0, "text", [0, 1]) + Knockout("last", "text")
    return everything + Ablate([0]) + Knockout("answer", "patches") if family in VISION else everything


@EVERY
def test_the_model_is_left_as_it_was(family):
    adapter, inputs = used(family)
    before = fingerprint(adapter)
    logits(adapter, inputs, all_at_once(adapter, family))
    assert_untouched(adapter, before)


@EVERY
@pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt])
def test_the_model_is_left_as_it_was_when_a_pass_breaks_off(family, failure):
    adapter, inputs = used(family)

    def fail(*_):
        raise failure("half way")

    handle = adapter.heads(2).output.register_forward_hook(fail)
    before = fingerprint(adapter)
    with pytest.raises(failure, match="half way"):
        logits(adapter, inputs, all_at_once(adapter, family))
    assert_untouched(adapter, before)
    handle.remove()
    with pytest.raises(failure), intervening(adapter, inputs, all_at_once(adapter, family)):
        raise failure
    assert logits(adapter, inputs).isfinite().all()


def test_nothing_is_left_behind_when_one_of_several_cannot_be_set():
    adapter, inputs = used("llava")
    before = fingerprint(adapter)
    adapter.model.config.text_config._attn_implementation = "flex_attention"
    with pytest.raises(PatchlensError), intervening(adapter, inputs, all_at_once(adapter, "llava")):
        pass
    adapter.model.config.text_config._attn_implementation = "sdpa"
    assert_untouched(adapter, before)


def mistakes(adapter, inputs):
    d_model = adapter.d_model
    captured = capture(adapter, inputs, layers=[1], positions=[2])
    return [
        (Ablate([9]), SelectionError, "patch 9 does not exist: this prompt has patches 0 to 8"),
        (Ablate([]), SelectionError, "no patch was chosen"),
        (Ablate([1, 1]), SelectionError, "patch 1 was named twice"),
        (Ablate("dog"), SelectionError, "numbers, a Box, a mask or 'all'"),
        (Ablate([0], layer=5), SelectionError, "layer 5 does not exist"),
        (Ablate([0], Mean(torch.zeros(3, d_model + 1))), InterventionError, "expected states of shape"),
        (Ablate([0], Noise(torch.zeros(1, d_model))), InterventionError, "2 patches or more"),
        (Ablate([8], Other(torch.zeros(3, d_model))), InterventionError, "has 3 patches, but patch 8"),
        (
            Replace(torch.zeros(3, d_model), [1, 2]),
            InterventionError,
            r"\[2, 32\] or \[1, 32\], got \[3, 32\]",
        ),
        (Project(torch.zeros(1, d_model)), InterventionError, "zero"),
        (Project(torch.ones(1, 5)), InterventionError, r"got \[1, 5\]"),
        (Project(torch.full((1, d_model), torch.nan)), InterventionError, "not finite"),
        (Project(torch.ones(1, d_model), "patches", []), SelectionError, "no layer was chosen"),
        (Add(torch.ones(2, d_model), 1.0, [3]), InterventionError, "1, one per place; got 2"),
        (Add(torch.ones(1, d_model), 1.0, [-99]), SelectionError, "position -99 does not exist"),
        (Swap(captured, 2, [2]), InterventionError, "does not hold layer 2"),
        (Swap(captured, 1, [3]), InterventionError, "does not hold position 3"),
    ]


def test_mistakes_are_told_in_one_line():
    adapter, inputs = acted("llava")
    all_of_them = mistakes(adapter, inputs)
    plain = fingerprint(adapter)
    for interventions, error, says in all_of_them:
        with pytest.raises(error, match=says) as caught, intervening(adapter, inputs, interventions):
            pass
        assert "\n" not in str(caught.value)
    assert_untouched(adapter, plain)


def test_mistakes_about_vision_states_are_told_in_one_line():
    adapter, inputs = acted("mllama")
    captured = capture(adapter, acted("mllama", picture=None)[1])
    for interventions, says in (
        (Ablate([0], layer=1), "have no layers"),
        (Swap(captured, 0, "patches"), "holds 0 vision states"),
        (Replace(torch.zeros(1, adapter.d_model), "image"), "name one of them"),
    ):
        with pytest.raises(InterventionError, match=says), intervening(adapter, inputs, interventions):
            pass
    with pytest.raises(InterventionError, match="no layers"):
        patch_states(adapter, [inputs], layer=2)


@pytest.mark.parametrize("family", ["llama", "mllama"])
def test_a_prompt_without_a_picture_has_no_patches(family):
    adapter, inputs = acted(family, picture=None, answer=ANSWER)
    for act in (
        lambda: logits(adapter, inputs, Ablate()),
        lambda: logits(adapter, inputs, Add(vector(adapter))),
        lambda: patch_states(adapter, [inputs]),
    ):
        with pytest.raises(SelectionError, match="no picture"):
            act()
    with pytest.raises(InterventionError, match="at least one picture"):
        patch_states(adapter, [])


def test_tokens_that_do_not_exist_have_no_direction():
    adapter, _ = acted("llama")
    for tokens in ([], [-1], [adapter.vocab_size]):
        with pytest.raises(TargetError):
            concept_directions(adapter, tokens)


def test_a_second_picture_goes_on_counting():
    adapter, _ = acted("llava")
    inputs = adapter.encode("a <image> and <image> b", [NOISE, OTHER])
    first, second = patch_numbers(inputs, 0), patch_numbers(inputs, 1)
    assert second.min() == first.max() + 1
    got = entering(adapter, inputs, Ablate(second.ravel().tolist(), Zero()))
    assert got[9:].eq(0).all()
    assert not got[:9].eq(0).any()
