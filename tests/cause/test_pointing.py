"""Which patches a lens points at, those around them, blocks of them, and the word it is asked for."""

import numpy as np
import pytest

from patchlens.causal.pointing import Above, Top, around, blocks
from patchlens.cause.answer_word import AnswerWord, answer_word, word_maps
from patchlens.data.words import concept_ids, scene_forms
from patchlens.errors import SelectionError
from patchlens.lens import open_lens
from patchlens.run import load


def grid_of(rows, cols, pictures=1):
    return np.array([(p, r, c) for p in range(pictures) for r in range(rows) for c in range(cols)], np.int64)


def test_above_takes_a_share_of_the_highest_probability_and_top_a_share_of_the_patches():
    scores = np.log([0.4, 0.1, 0.2, 0.05, 0.19])
    assert Above(0.5).chosen(scores).tolist() == [0, 2]
    assert Above(1.0).chosen(scores).tolist() == [0]
    assert Top(0.4).chosen(scores).tolist() == [0, 2]
    assert Top(0.01).chosen(scores).tolist() == [0]
    assert Top(0.5).chosen(np.zeros(4)).tolist() == [0, 1]


@pytest.mark.parametrize("make", [lambda: Above(0.0), lambda: Above(1.1), lambda: Top(0.0), lambda: Top(1.0)])
def test_shares_that_make_no_sense_are_refused(make):
    with pytest.raises(SelectionError, match="a share of"):
        make()


def test_a_ring_is_the_nearest_others_as_many_and_of_the_same_picture_first():
    grid, rng = grid_of(6, 6, pictures=2), np.random.default_rng(0)
    middle = np.array([7, 8, 13, 14])  # a square of 2 x 2 with its corner at row 1, column 1
    ring = around(grid, middle, rng)
    assert len(ring) == 4 and not set(ring) & set(middle)
    steps = np.abs(grid[ring][:, None, 1:] - grid[middle][None, :, 1:]).max(2).min(1)
    assert (steps == 1).all() and (grid[ring][:, 0] == 0).all()
    most = np.arange(30)
    rest = around(grid, most, rng)
    assert len(rest) == 30 and set(range(30, 36)) <= set(rest)
    assert around(grid, np.arange(72), rng).tolist() == []
    assert len(around(grid, np.arange(70), rng)) == 2


def test_blocks_are_around_their_centre_cut_at_the_edges_and_within_one_picture():
    grid = grid_of(4, 5, pictures=2)
    single = blocks(grid, 1)
    assert [(b.centre, b.patches.tolist()) for b in single] == [(n, [n]) for n in range(40)]
    three = {b.centre: b.patches.tolist() for b in blocks(grid, 3)}
    assert three[0] == [0, 1, 5, 6] and three[6] == [0, 1, 2, 5, 6, 7, 10, 11, 12]
    assert three[20] == [20, 21, 25, 26]
    two = {b.centre: b.patches.tolist() for b in blocks(grid, 2, 2)}
    assert list(two) == [6, 8, 16, 18, 26, 28, 36, 38] and two[6] == [6, 7, 11, 12]
    with pytest.raises(SelectionError, match="no block fits"):
        blocks(grid_of(1, 5), 1, 4)
    with pytest.raises(SelectionError, match="1 patch wide or more"):
        blocks(grid, 0)


def test_a_share_of_the_patches_is_rounded_up():
    assert len(Top(0.1).chosen(np.zeros(64))) == 7
    assert len(Top(0.07).chosen(np.zeros(100))) == 7  # 0.07 * 100 is a bit more than 7


@pytest.fixture(scope="module")
def model():
    return load("demo")


def token(model, word):
    return model.tokenizer.encode(word, add_special_tokens=False)[-1]


def test_the_word_of_an_answer_is_a_known_concept_or_its_first_token(model):
    tokenizer = model.tokenizer
    concepts = concept_ids(tokenizer, *scene_forms())
    katze, cat, comma = (token(model, word) for word in (" Katze", " cat", ","))
    word = answer_word(tokenizer, [comma, katze], concepts)
    assert word.name == "every form of cat" and cat in word.ids and katze in word.ids
    assert answer_word(tokenizer, [comma, katze], None).ids == {katze}
    assert answer_word(tokenizer, [comma], concepts).ids == {comma}
    assert cat in answer_word(tokenizer, [comma], concepts, "cat").ids
    with pytest.raises(SelectionError, match="name one"):
        answer_word(tokenizer, [cat], concepts, " ")


NOISE = np.random.default_rng(0).integers(0, 255, (140, 140, 3), np.uint8)


def test_maps_are_in_the_order_of_the_numbers_of_patches_and_add_up_tokens(model):
    cat, dog = token(model, " cat"), token(model, " dog")
    trace = model.trace(NOISE, "What is this?", max_new_tokens=0)
    one, other, both = (
        word_maps(trace, open_lens("logit", model.adapter), AnswerWord(frozenset(ids), "a word"))
        for ids in ([cat], [dog], [cat, dog])
    )
    by_reading = trace.read(targets=[cat]).patch_map(cat, 3)
    np.testing.assert_allclose(one[3], by_reading.ravel(), atol=1e-5)
    assert list(one) == list(range(9))
    for layer in one:
        np.testing.assert_allclose(np.exp(both[layer]), np.exp(one[layer]) + np.exp(other[layer]), rtol=1e-4)


def test_a_lens_without_patches_says_which_one_to_take():
    crossing = load("demo-cross")
    trace = crossing.trace(NOISE, "What is this?", max_new_tokens=0)
    word = AnswerWord(frozenset([5]), "a word")
    with pytest.raises(SelectionError, match="choose --lens cross"):
        word_maps(trace, open_lens("logit", crossing.adapter), word)
    maps = word_maps(trace, open_lens("cross", crossing.adapter), word)
    assert all(len(values) == 100 for values in maps.values())
    assert [layer - 1 for layer in maps] == list(crossing.adapter.cross_blocks)
