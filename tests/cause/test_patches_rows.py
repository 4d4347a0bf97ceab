"""Records of ablated patches as figures beside their controls, and a sentence no stronger than they are."""

import pytest

from patchlens.cause.patches_rows import patches_finding
from patchlens.cause.runner import Experiment
from patchlens.run import Model
from tiny import BUILDERS

MODEL = Model(BUILDERS["llava"]())


def record(pointed=1.0, random=(0.0, 0.0), ring=0.0, fall=5.0, random_falls=(0.1, 0.2), **more):
    flips = {
        "pointed": pointed,
        "random": list(random),
        "ring": ring,
        "rest": 0.0,
        "rest of random": [1.0, 0.0],
    }
    falls = {
        "pointed": fall,
        "random": list(random_falls),
        "ring": 0.1,
        "rest": 0.0,
        "rest of random": [3.0, 4.0],
    }
    return {
        "answer": "cat",
        "right": None,
        "word": "every form of cat",
        "pointed": 10,
        "patches": 100,
        "instead": "dog",
        "flips": flips,
        "falls": falls,
        "on_thing": None,
        "thing": None,
        "lens_map": [0.1, 0.2, 0.3, 0.4],
        "causal_map": [1.0, 2.0, 3.0, 4.0],
        "causal_answer": [1.0, 2.0, 3.0, 4.0],
        "peak_pointed": 1.0,
        **more,
    }


def found(records):
    by_case = {f"{number}": record for number, record in enumerate(records)}
    trial = Experiment("patches", MODEL, [], {"seed": 0})
    return patches_finding(trial, by_case, lens="logit", layer=2, about="some")


def rows(finding):
    return {row.name: row for row in finding.rows}


def test_each_figure_stands_beside_its_own_control():
    made = rows(found([record() for _ in range(8)] + [record(pointed=0.0, random=(1.0, 0.0), ring=1.0)] * 2))
    flips = made["flips: pointed at | random"]
    assert (flips.value.value, flips.control.value) == (0.8, 0.1)
    assert flips.difference.value == pytest.approx(0.7)
    assert made["flips: pointed at | ring"].control.value == 0.2
    assert made["flips: all but these | all but random"].control.value == 0.5
    assert made["fall: pointed at | random"].control.value == pytest.approx(0.15)
    assert made["fall: all but these | all but random"].control.value == 3.5
    assert "shows the thing: pointed at | any patch" not in made
    with_truth = rows(found([record(on_thing=0.9, thing=0.2, right=True)] * 6))
    assert with_truth["shows the thing: pointed at | any patch"].control.value == pytest.approx(0.2)


def test_maps_are_held_against_those_of_another_picture_of_as_many_blocks():
    upside_down = [4.0, 3.0, 2.0, 1.0]
    records = [record(), record(lens_map=[0.1, 0.2]), record(lens_map=upside_down)]
    records[1]["causal_map"] = [1.0, 2.0]
    row = rows(found(records))["lens map, causal map | another's"]
    # the middle one has no partner, and two blocks have no ranks to speak of
    assert row.value.value == 0.0  # +1 of the first, -1 of the last
    assert row.control.value == 0.0  # the first's causal map against the last's lens map, and the other way


def test_what_stands_out_is_said_and_by_how_much():
    sentence = found([record()] * 20).sentence
    assert "changed the answer in 100% (84% to 100%) of 20 cases, as many random ones in 0%" in sentence
    assert "10% of the picture" in sentence and "layer 2" in sentence
    assert sentence.endswith("more than on patches at random, and more than on those around them.")


def test_a_ring_that_does_as_much_is_said():
    sentence = found([record(ring=1.0)] * 20).sentence
    assert "the ring around them changed it in 100%" in sentence
    assert sentence.endswith("but not shown to be more than on those around them.")


@pytest.mark.parametrize("random", [(1.0, 1.0), (1.0, 0.9)])
def test_what_random_patches_do_too_is_no_evidence(random):
    records = [record(pointed=float(n % 10 > 0), random=random) for n in range(20)]
    sentence = found(records).sentence
    assert sentence.endswith("this does not show that the answer depends on them more than on other patches.")


def test_a_difference_that_could_be_chance_is_no_evidence():
    records = [record(pointed=float(n < 11), random=[float(n % 2)] * 2) for n in range(20)]
    finding = found(records)
    row = rows(finding)["flips: pointed at | random"]
    assert row.difference.value == pytest.approx(0.05) and not row.stands_out
    assert "does not show" in finding.sentence


def test_few_cases_say_nothing_of_others():
    assert found([record()] * 3).sentence == "3 cases are too few to say anything of others like them."


def test_one_picture_is_told_by_its_draws():
    many = [0.1] * 20
    sure = found([record(random=[0.0] * 19 + [1.0], random_falls=many)])
    assert "falls by 5.00 nats and it becomes “dog”" in sure.sentence
    assert "of 20 draws of as many random patches, 20 cost less and 1 changed it" in sure.sentence
    assert sure.sentence.endswith("this answer depends on them more than on patches at random.")
    assert "one case has no interval" in sure.notes
    assert all(row.value.low is None for row in sure.rows)
    beaten = found([record(random=[0.0] * 20, random_falls=[*many[1:], 6.0])])
    few = found([record()])
    for finding in (beaten, few):
        assert "does not show" in finding.sentence
    kept = found([record(pointed=0.0, fall=-0.5, random=[0.0] * 20, random_falls=[0.1] * 20)])
    assert "rises by 0.50 nats and it stays the greedy answer" in kept.sentence


def test_notes_count_the_right_answers_and_the_words_of_one_token():
    records = [record(right=True), record(right=False, word="the token ▁x"), {"answer": None}]
    notes = " ".join(found(records).notes)
    assert "1 of 2 answers were right" in notes and "1 of 3 cases had no answer" in notes
    assert "first token alone in 1 of 2 cases" in notes
