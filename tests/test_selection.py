"""Layers and positions as people write them."""

import pytest

from patchlens.errors import SelectionError
from patchlens.selection import parse_numbers, parse_position, parse_positions


def test_numbers_and_ranges():
    assert parse_numbers("0,4-6,-1, 4") == [0, 4, 5, 6, -1]
    for wrong in ("", "a", "1,,2", "3-", "--1", "1.5"):
        with pytest.raises(SelectionError):
            parse_numbers(wrong)


def test_positions_are_numbers_or_a_name():
    assert parse_positions("patches") == "patches"
    assert parse_positions("-1,3") == [-1, 3]
    assert [parse_position(text) for text in ("7", "-2", "answer")] == [7, -2, "answer"]
