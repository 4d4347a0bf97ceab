"""Positions by number, name and word; patches by box and mask."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

import patchlens as pl
from patchlens.axes import check_layers
from patchlens.capture import check_positions
from patchlens.causal.places import patch_numbers
from patchlens.errors import OutputError, SelectionError
from patchlens.files import output_path
from patchlens.models.inputs import prepare
from patchlens.pictures.box import patches_in
from patchlens.reading.where import word_rows
from readings import WORDS, make_reading
from test_account import NOISE
from tiny import tiny_llava, tiny_mllama, tiny_qwen_vl

READING = make_reading(rows=3, cols=4, size=(80, 60), steps=3, targets=("cat",))
TEXT = 1 + 12 + 1


def spelled(pieces: list[str], word: str, prompt: str = "") -> list[tuple[int, ...]]:
    """Rows of a word in a sequence of these pieces, all of them text."""
    reading = make_reading(
        pictures=0, words=pieces, prompt_tokens=range(1, len(pieces)), answer=(1,), targets=(), k=1
    )
    reading = dataclasses.replace(reading, pieces=dict(enumerate(pieces)))
    return word_rows(word, reading.positions, reading.pieces, prompt)


def test_a_word_of_the_prompt_is_a_position() -> None:
    assert READING.position_row("this") == TEXT + 2
    assert READING.position_row("IS this") == TEXT + 2  # where the phrase ends
    assert READING.top(4, "what") == READING.top(4, TEXT)
    np.testing.assert_array_equal(READING.trajectory("cat", "what"), READING.trajectory("cat", TEXT))
    assert READING.final_token("what") == READING.final_token(TEXT)
    assert READING.leads_from("cat", "answer") == READING.leads_from("cat")
    for prompt in ("what is this?", "as the tokenizer does not spell it"):
        with pytest.raises(SelectionError, match="no 'cat'"):  # of the answer, not of the prompt
            dataclasses.replace(READING, prompt=prompt).position_row("cat")


def test_a_word_that_stands_twice_is_asked_back_with_its_positions() -> None:
    twice = make_reading(prompt_tokens=(7, 4, 7, 6), prompt="cat is cat?")
    with pytest.raises(SelectionError, match=r"'cat' stands at positions 14, 16: choose one by its number"):
        twice.top(2, at="cat")
    assert twice.position_row("is") == 15
    with pytest.raises(SelectionError, match="word is empty"):
        twice.position_row(" ")


def test_words_are_read_across_pieces_bytes_and_scripts() -> None:
    assert spelled(["<s>", "▁gira", "ffe", "s", "▁gira", "ffe"], "giraffe") == [(4, 5)]  # a whole word first
    assert spelled(["<s>", "▁con", "cat"], "cat") == [(2,)]
    assert spelled(["<s>", "▁", "<0xE7>", "<0x8C>", "<0xAB>", "▁x"], "猫") == [(2, 3, 4)]
    assert spelled(["<s>", "<0xE7><0x8C>", "<0xAB>", "x"], "猫x") == [(1, 2, 3)]
    assert spelled(["<s>", "USER", ":", "▁the", "▁user", "▁ASSISTANT"], "user", "the user") == [(4,)]
    with pytest.raises(SelectionError, match="no '<s>'"):
        spelled(["<s>", "▁a"], "<s>")


def test_a_group_is_any_of_its_positions() -> None:
    ranks = np.full((5, len(READING.positions), 1), 9, np.int32)
    ranks[2, 5], ranks[1, TEXT] = 0, 0
    made = dataclasses.replace(READING, target_ranks=ranks)
    assert made.emergence(7, at="patches") == made.emergence(7, at="patch") == 2
    assert made.emergence(7, at="text") == made.emergence(7, at="what") == 1
    assert made.emergence(7) is None
    patches = READING.positions.kind == "patch"
    expected = READING.target_logprobs[:, patches, 0].max(1)
    np.testing.assert_array_equal(READING.trajectory(7, "patches"), expected)
    with pytest.raises(SelectionError, match=r"'patches' is 12 positions \(1\.\.12\): choose one by number"):
        READING.top(1, "patches")
    with pytest.raises(SelectionError, match="with the lens cross"):
        make_reading(cross=True).emergence("cat", at="patches")
    with pytest.raises(SelectionError, match=r"no patch position$"):
        make_reading(pictures=0).emergence("cat", at="patches")


def test_a_map_without_a_layer_is_of_all() -> None:
    maps = READING.patch_map("cat")
    assert maps.shape == (5, 3, 4)
    for layer in range(5):
        np.testing.assert_array_equal(maps[layer], READING.patch_map("cat", layer))


@pytest.mark.parametrize("layout", ["squash", "crop", "pad", "tiles"])
def test_patches_in_a_box_are_those_whose_centre_lies_there(layout: str) -> None:
    reading = make_reading(rows=4, cols=6, size=(90, 60), layout=layout, pictures=2)
    patches = np.flatnonzero(reading.positions.kind == "patch")
    box = pl.Box(22, 11, 61, 44, image=1)
    expected = [
        number
        for number, row in enumerate(patches)
        if reading.positions.image[row] == 1
        and 22 <= (reading.positions.box[row, 0] + reading.positions.box[row, 2]) / 2 < 61
        and 11 <= (reading.positions.box[row, 1] + reading.positions.box[row, 3]) / 2 < 44
    ]
    assert expected and min(expected) >= 24
    assert reading.patches_in(box).tolist() == expected
    pixels = np.zeros((60, 90), bool)
    pixels[11:44, 22:61] = True
    assert reading.patches_in(pixels, image=1).tolist() == expected
    grid = np.zeros((4, 6), bool)
    rows = patches[expected]
    grid[reading.positions.row[rows], reading.positions.col[rows]] = True
    assert reading.patches_in(torch.from_numpy(grid), image=1).tolist() == expected


@pytest.mark.parametrize("make", [tiny_llava, tiny_qwen_vl, tiny_mllama])
def test_numbers_are_those_of_interventions(make) -> None:
    inputs = prepare(make(), "a <image> beside a <image>", [NOISE, NOISE.resize((40, 70))])
    for image, grid in enumerate(inputs.grids):
        numbers = patch_numbers(inputs, image)
        found = patches_in(inputs.shown, inputs.grids, pl.Box(0, 0, grid.width, grid.height, image))
        assert found.tolist() == sorted(numbers[numbers >= 0].tolist())
        chosen = np.zeros(numbers.shape, bool)
        row, col = np.argwhere(numbers >= 0)[-1]
        chosen[row, col] = True
        assert patches_in(inputs.shown, inputs.grids, chosen, image).tolist() == [numbers[row, col]]


def test_a_reading_knows_all_its_patches_also_where_they_are_vision_states() -> None:
    for model in (pl.Model(tiny_llava()), pl.Model(tiny_mllama())):
        trace = model.trace(NOISE, "what?", max_new_tokens=1)
        found = trace.read().patches_in(pl.Box(0, 0, *NOISE.size))
        assert len(found) == len(trace.inputs.patches)


@pytest.mark.parametrize(
    ("where", "words"),
    [
        (pl.Box(0, 0, 9, 9, image=3), "no picture 3: 1 were given"),
        (pl.Box(1, 1, 2, 2), "its patches are 20 x 20 pixels of 80 x 60"),
        (np.zeros((60, 80), bool), "has its centre there"),
        (np.ones((5, 5), bool), r"\[60, 80\] \(pixels\) or \[3, 4\] \(patches\), got bool of shape \[5, 5\]"),
        (np.ones((3, 4)), "mask of booleans"),
        ((0, 0, 9, 9), "expected a Box"),
    ],
)
def test_a_part_that_is_none_is_refused(where, words) -> None:
    with pytest.raises(SelectionError, match=words):
        READING.patches_in(where)


def test_boxes_without_area_and_readings_of_some_patches_are_refused() -> None:
    for wrong in ((4, 0, 2, 9), (0, 0, 0, 9), (0, 0, float("nan"), 9)):
        with pytest.raises(SelectionError, match="has no area"):
            pl.Box(*wrong)
    few = pl.Model(tiny_llava()).trace(NOISE, "what?", positions=[5, 6], max_new_tokens=0).read()
    with pytest.raises(SelectionError, match=r"holds 2 of \d+ patches"):
        few.patches_in(pl.Box(0, 0, 80, 52))


def test_single_numbers_count_as_lists_and_others_are_named() -> None:
    assert check_layers(4, 8) == check_layers([np.int64(4)], 8) == (4,)
    assert check_positions(-1, 8) == (7,)
    wrong = {
        "layer '8' is no whole number": lambda: READING.top("8"),  # pyright: ignore
        "layer 1.5": lambda: check_layers([1.5], 8),
        "position 1.5": lambda: READING.trajectory("cat", 1.5),
        "position None": lambda: READING.final_token(None),
        "layer True": lambda: READING.layer_row(True),
        "step 'x'": lambda: READING.step_row("x"),
        "picture '0'": lambda: READING.patch_map("cat", 1, "0"),
        "k 2.0": lambda: READING.emergence("cat", 2.0),
    }
    for words, act in wrong.items():
        with pytest.raises(SelectionError, match=words):
            act()


def test_a_results_name_says_its_format_before_it_is_made(tmp_path) -> None:
    for name in ("foo.npz", "foo", "foo.safetensors.gz"):
        with pytest.raises(OutputError, match=r"expected a name that ends in \.safetensors, such as foo"):
            READING.save(tmp_path / name)
    assert not list(tmp_path.iterdir())
    assert output_path("a.SVG", ".png", ".svg").name == "a.SVG"
    with pytest.raises(OutputError, match=r"ends in \.png or \.svg, such as a\.png"):
        output_path("a.gif", ".png", ".svg")
    with pytest.raises(OutputError, match="no folder"):
        output_path(tmp_path / "none" / "a.html", ".html")
    with pytest.raises(OutputError, match=r"NAME\.safetensors, got NoneType"):
        READING.save(None)


def test_a_word_that_is_no_token_is_said_to_be_none() -> None:
    for k, words in ((len(WORDS), "'zebra' is no token of this model"), (5, "in no top-5 of this reading")):
        with pytest.raises(pl.PatchlensError, match=words):
            make_reading(k=k).tokens("zebra")
