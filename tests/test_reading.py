"""Selectors against values counted by hand or by a second route through the arrays."""

import dataclasses
import math

import numpy as np
import pytest

from patchlens.errors import MissingExtraError, SelectionError, TargetError
from patchlens.reading.records import Answer
from readings import WORDS, make_reading

READING = make_reading(rows=3, cols=4, k=5, steps=3, targets=("cat", "giraffe"))
ANSWER = 1 + 12 + 1 + 3


def test_top_is_best_first_and_a_distribution():
    top = READING.top(2, 5)
    logprobs = [c.logprob for c in top]
    assert logprobs == sorted(logprobs, reverse=True)
    assert [c.token for c in top] == READING.top_ids[2, 5].tolist()
    assert all(c.piece == WORDS[c.token] and c.prob == pytest.approx(math.exp(c.logprob)) for c in top)
    assert [c.rank for c in top] == [0, 1, 2, 3, 4]
    assert sum(c.prob for c in make_reading(k=len(WORDS)).top(2, 5)) == pytest.approx(1, abs=1e-5)


def test_layers_and_positions_are_addressed_by_number_from_either_end():
    part = make_reading(layers=(0, 2, 4))
    assert part.layer_row(2) == 1
    assert part.layer_row(-1) == part.layer_row(4) == 2
    assert READING.position_row() == READING.position_row("answer") == READING.step_row(0) == ANSWER
    assert READING.position_row(-1) == READING.step_row(2) == ANSWER + 2
    for wrong in (1, 5, -6):
        with pytest.raises(SelectionError, match="is not in this reading: it holds 0, 2, 4"):
            part.layer_row(wrong)
    with pytest.raises(SelectionError, match=r"holds 0..19"):
        READING.position_row(20)
    with pytest.raises(SelectionError):
        READING.position_row(-21)
    with pytest.raises(SelectionError, match="the prompt has no 'end'"):
        READING.position_row("end")
    with pytest.raises(SelectionError, match=r"it holds steps 0..2"):
        READING.step_row(3)


def test_a_word_means_all_its_forms():
    # "▁cat", "cat" and "▁Cat" are ids 7, 8, 9
    every = make_reading(k=len(WORDS))
    assert set(every.tokens("cat")) == set(every.tokens(" CAT")) == {7, 8, 9}
    assert set(every.tokens(["cat", "猫"])) == {7, 8, 9, 12}
    assert every.tokens(12) == (12,)
    assert READING.tokens("giraffe") == (17,)  # the target's first piece stands for it
    for missing in ("zebra", 999):
        with pytest.raises(TargetError):
            READING.tokens(missing)
    with pytest.raises(TargetError, match="concept is empty"):
        READING.tokens([])


def test_concept_probability_is_the_sum_over_its_forms():
    every = make_reading(k=len(WORDS), targets=())
    summed = np.exp(every.logprobs("cat"))
    parts = sum(np.exp(every.logprobs(i)) for i in (7, 8, 9))
    np.testing.assert_allclose(summed, parts, rtol=1e-5)


def test_what_is_not_known_is_nan():
    untargeted = make_reading(k=2, targets=())
    known = (untargeted.top_ids == 7).any(-1)
    assert not known.all()
    np.testing.assert_array_equal(~np.isnan(untargeted.logprobs(7)), known)
    np.testing.assert_array_equal(~np.isnan(untargeted.ranks(7)), known)
    assert not np.isnan(READING.logprobs(7)).any()  # a target is known everywhere


def test_trajectory_and_ranks_follow_a_target_exactly():
    np.testing.assert_array_equal(READING.trajectory(7), READING.target_logprobs[:, ANSWER, 0])
    np.testing.assert_array_equal(READING.trajectory(7, 3), READING.target_logprobs[:, 3, 0])
    np.testing.assert_array_equal(READING.ranks(7), READING.target_ranks[..., 0])


def test_patch_map_puts_each_patch_in_its_cell():
    patch_map = READING.patch_map(7, 3)
    assert patch_map.shape == (3, 4)
    for row in range(3):
        for col in range(4):
            assert patch_map[row, col] == READING.target_logprobs[3, READING.patch_row(row, col), 0]
    two = make_reading(pictures=2, rows=2, cols=4, layout="tiles")
    assert two.patch_row(1, 3, image=1) == 1 + 8 + 1 + 7
    assert two.patch_map("cat", 1, image=1)[1, 3] == two.logprobs("cat")[1, 17]
    with pytest.raises(SelectionError, match="no picture 2"):
        two.patch_map("cat", 1, image=2)
    with pytest.raises(SelectionError, match="no patch at row 9"):
        two.patch_row(9, 0)
    with pytest.raises(SelectionError, match="cross-attention"):
        make_reading(cross=True).patch_map("cat", 1)


def test_emergence_is_the_first_layer_within_k():
    ranks = np.array([[9, 3, 1, 0, 2]]).T
    made = dataclasses.replace(
        make_reading(targets=("cat",)),
        target_ranks=np.broadcast_to(ranks[..., None], (5, 18, 1)).astype(np.int32),
    )
    assert [made.emergence(7, k) for k in (1, 2, 3, 4, 9, 10)] == [3, 2, 2, 1, 1, 0]
    assert dataclasses.replace(made, target_ranks=made.target_ranks + 1).emergence(7) is None
    held = make_reading(k=5, targets=())
    with pytest.raises(SelectionError, match="tells ranks 1 to 5"):
        held.emergence(int(held.top_ids[0, 0, 0]), k=6)


def test_the_final_token_is_the_answers_where_there_is_one_and_else_the_last_layers():
    assert READING.final_token() == READING.answer.ids[0]
    assert READING.final_token(-1) == READING.answer.ids[2]
    assert READING.final_token(2) == READING.top_ids[-1, 2, 0]
    unanswered = dataclasses.replace(READING, answer=Answer("", ()))
    assert unanswered.final_token() == READING.top_ids[-1, ANSWER, 0]
    with pytest.raises(SelectionError):
        READING.final_token(99)


def test_a_word_leads_from_the_layer_after_the_last_at_which_another_was_first():
    made = make_reading(n_layers=8, layers=(0, 2, 4, 6, 8))

    def firsts(*tokens):
        top = made.top_ids.copy()
        top[:, made.position_row(), 0] = tokens
        return dataclasses.replace(made, top_ids=top)

    assert firsts(7, 7, 7, 7, 7).leads_from(7) == 0
    assert firsts(7, 18, 18, 7, 7).leads_from(7) == 6
    assert firsts(18, 7, 18, 8, 9).leads_from("cat") == 6
    assert firsts(18, 7, 18, 8, 7).leads_from(7) == 8
    assert firsts(7, 7, 7, 7, 18).leads_from("cat") is None
    with pytest.raises(TargetError):
        made.leads_from("zebra")


def test_frames_hold_the_same_numbers():
    reading = make_reading(k=3, steps=3)  # as many of nothing else, so that no axis passes for another
    table = reading.to_pandas()
    assert len(table) == reading.top_ids.size
    row = table[(table["layer"] == 3) & (table["position"] == ANSWER) & (table["rank"] == 1)].iloc[0]
    candidate = reading.top(3)[1]
    assert (row["token"], row["piece"], row["logprob"]) == (
        candidate.token,
        candidate.piece,
        np.float32(candidate.logprob),
    )
    assert row["kind"] == "text" and row["step"] == 0
    for name in ("token", "logprob"):
        expected = {"token": reading.top_ids, "logprob": reading.top_logprobs}[name]
        indexed = table.set_index(["layer", "position", "rank"])[name]
        for at in np.ndindex(*expected.shape):
            assert indexed[at] == expected[at]
    patches = table[(table["layer"] == 0) & (table["rank"] == 0)]
    np.testing.assert_array_equal(patches["row"], reading.positions.row)
    np.testing.assert_array_equal(patches["entropy"], reading.entropy[0])
    dataset = reading.to_xarray()
    assert dataset["entropy"].sel(layer=3, pos=ANSWER) == reading.entropy[3, ANSWER]
    np.testing.assert_array_equal(
        dataset["target_logprobs"].sel(target="cat"), reading.target_logprobs[..., 0]
    )


def test_a_missing_extra_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pandas", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'patchlens\[pandas\]'"):
        READING.to_pandas()


def test_repr_says_what_was_read():
    assert repr(READING).startswith("Reading(demo, lens=logit, scene.png, prompt='what is this?'")
