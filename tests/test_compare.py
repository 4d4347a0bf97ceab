"""Two readings beside each other, against counts made by hand."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import patchlens as pl
from patchlens.errors import SelectionError
from readings import WORDS, make_reading

A, B = (make_reading(seed=seed, targets=("cat", "giraffe"), steps=2) for seed in (0, 1))


def test_every_layer_and_position_is_counted() -> None:
    table = pl.compare(A, B)
    assert len(table) == 5 * len(A.positions)
    assert set(table["layer"] - table["layer_b"]) == set(table["position"] - table["position_b"]) == {0}
    for _, cell in table.sample(20, random_state=0).iterrows():
        top, other = (own.top(cell.layer, cell.position) for own in (A, B))
        assert (cell["first"], cell.first_b) == (top[0].piece, other[0].piece)
        assert cell.agrees == (top[0].token == other[0].token)
        assert cell.overlap == len({c.token for c in top} & {c.token for c in other}) / 5
        at = A.layer_row(cell.layer), A.position_row(cell.position)
        assert cell.entropy == B.entropy[at] - A.entropy[at]
        assert cell.kl_to_final == B.kl_to_final[at] - A.kl_to_final[at]
        assert cell.logprob_cat == B.target_logprobs[at][0] - A.target_logprobs[at][0]
    assert "logprob_giraffe" in table


def test_a_reading_agrees_with_itself() -> None:
    table = pl.compare(A, A)
    assert table.agrees.all() and (table.overlap == 1).all() and not table.logprob_cat.any()
    fewer = pl.compare(A, make_reading(k=2, steps=2))
    assert (fewer.overlap == 1).all()


def test_a_picture_against_text_alone_pairs_what_was_asked() -> None:
    text = make_reading(pictures=0, steps=2)
    table = pl.compare(A, text)
    assert set(table.position - table.position_b) == {13} and set(table.kind) == {"text"}
    assert len(table) == 5 * 5  # what was typed, and the second position of the answer
    answer = table[table.position == A.positions.index[A.position_row()]]
    assert answer.position_b.tolist() == [text.position_row()] * 5


def test_pictures_of_other_grids_share_no_patches_and_of_like_grids_all() -> None:
    for cols, expected in ((4, 12), (5, 0)):
        table = pl.compare(A, make_reading(cols=cols, seed=3))
        assert (table[table.layer == 0].kind == "patch").sum() == expected


def test_layers_of_a_deeper_model_go_by_depth() -> None:
    table = pl.compare(A, make_reading(n_layers=12, steps=2))
    assert dict(zip(table.layer, table.layer_b, strict=True)) == {0: 0, 1: 3, 2: 6, 3: 9, 4: 12}


def test_words_of_another_vocabulary_are_the_same_by_their_piece() -> None:
    shift = {i: i + 5 for i in range(len(WORDS))}
    moved = dataclasses.replace(
        B,
        top_ids=B.top_ids + np.int32(5),
        pieces={shift[i]: piece for i, piece in B.pieces.items()},
        positions=dataclasses.replace(B.positions, token=B.positions.token + np.int32(5)),
        targets=tuple(dataclasses.replace(t, token=t.token + 5) for t in B.targets),
        model=dataclasses.replace(B.model, vocab_size=len(WORDS) + 5),
    )
    here, there = pl.compare(A, B), pl.compare(A, moved)
    for name in ("agrees", "overlap", "logprob_cat"):
        np.testing.assert_array_equal(here[name], there[name])
    assert 0 < here.overlap.mean() < 1


def test_what_does_not_go_together_is_refused() -> None:
    with pytest.raises(SelectionError, match=r"they hold 0, 2 of 0\.\.4 and 1, 3 of 0\.\.4"):
        pl.compare(make_reading(layers=(0, 2)), make_reading(layers=(1, 3)))
    other = make_reading(pictures=0, prompt_tokens=(30, 31), words=("<bos>", *WORDS[1:]))
    with pytest.raises(SelectionError, match="no position of the two"):
        pl.compare(A, other)
