"""Cases are fresh scenes, seed by seed, or pictures of one's own."""

import numpy as np
import pytest

from patchlens.cause.cases import drawn_cases, own_cases
from patchlens.data.item import Item
from patchlens.errors import DataError, SelectionError
from patchlens.scenes.questions import ask


def about_one(scene, rng):
    return ask(scene, rng, "what", "en") if scene.kind == "one" else None


def test_drawn_cases_come_seed_by_seed_and_are_always_the_same():
    cases = drawn_cases(about_one, 2, 3)
    assert [case.group for case in cases] == [50_000_000] * 3 + [51_000_000] * 3
    assert len({case.name for case in cases}) == 6
    assert all(len(case.truth.things) == 1 and case.truth.answer for case in cases)
    again = drawn_cases(about_one, 2, 3)
    assert [case.name for case in again] == [case.name for case in cases]
    (picture,) = cases[0].open()
    assert np.array_equal(picture.image, cases[0].truth.picture)


@pytest.mark.parametrize(("seeds", "scenes"), [(0, 3), (101, 3), (2, 0), (2, 10**6)])
def test_sizes_that_make_no_sense_are_refused(seeds, scenes):
    with pytest.raises(SelectionError, match="choose 1 to"):
        drawn_cases(about_one, seeds, scenes)


def test_a_question_that_no_scene_allows_is_said_not_searched_for_ever():
    with pytest.raises(DataError, match="only 0 of 1 scenes allow this question"):
        drawn_cases(lambda *_: None, 1, 1)


def test_an_item_without_a_picture_is_refused():
    with pytest.raises(SelectionError, match=r"texts.txt:3 has no picture"):
        own_cases([Item("texts.txt:3", "What is this?")])
