"""The same picture is never on both sides."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from patchlens.errors import DataError
from patchlens.fit.batches import strangers
from patchlens.fit.split import groups_of, split

PICTURES = st.lists(
    st.lists(st.sampled_from("abcdefghijkl"), min_size=1, max_size=3), min_size=1, max_size=20
)


@settings(max_examples=60, deadline=None)
@given(PICTURES, st.integers(0, 5), st.booleans(), st.floats(0.01, 0.99))
def test_no_picture_is_on_two_sides(keys, seed, validation, held_out):
    groups = groups_of(keys)
    if len(set(groups)) < 2 + validation:
        with pytest.raises(DataError, match="different pictures"):
            split(groups, held_out, seed, validation=validation)
        return
    sides = split(groups, held_out, seed, validation=validation)
    for picture in "abcdefghijkl":
        assert len({side for side, own in zip(sides, keys, strict=True) if picture in own}) <= 1
    assert set(sides) == {"train", "held_out"} | ({"validation"} if validation else set())


def test_items_are_together_through_others():
    assert groups_of([["b", "c"], ["a"], ["c", "d"], ["e", "a"], ["f"]]) == ["b", "a", "b", "a", "f"]


def test_the_split_is_stable_and_follows_the_seed():
    groups = [f"picture {i}" for i in range(40)]
    sides = dict(zip(groups, split(groups, 0.25, 3, validation=False), strict=True))
    assert list(sides.values()).count("held_out") == 10
    turned = dict(zip(groups[::-1], split(groups[::-1], 0.25, 3, validation=False), strict=True))
    assert turned == sides
    assert dict(zip(groups, split(groups, 0.25, 4, validation=False), strict=True)) != sides
    twice = split([*groups, *groups], 0.25, 3, validation=False)
    assert twice == [*sides.values()] * 2


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, 2.0, float("nan")])
def test_a_share_out_of_range_is_refused(share):
    with pytest.raises(DataError, match="held-out share"):
        split(["a", "b", "c"], share, 0, validation=False)


def test_strangers_are_of_other_pictures():
    groups = (0, 0, 1, 2, 2, 2, 3, 9)
    partners = strangers([0, 1, 2, 3, 4, 5, 6], groups, seed=1)
    assert sorted(partners) == [0, 1, 2, 3, 4, 5, 6]
    assert all(groups[own] != groups[other] for own, other in partners.items())
    assert 7 not in partners.values()
    assert strangers([0, 1], groups, seed=1) == {}
