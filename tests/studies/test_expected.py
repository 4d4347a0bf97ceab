import pytest

from patchlens.studies.work.expected import says_expected


@pytest.mark.parametrize(
    ("answer", "expected", "right"),
    [
        ("a cat on grass", ["cat"], True),
        ("A CAT.", ["cat"], True),
        ("cats", ["cat"], False),
        ("concatenate", ["cat"], False),
        ("two red cars", ["red cars"], True),
        ("it is a dog", ["cat", "dog"], True),
        ("", ["cat"], False),
        ("anything", [], None),
        ("这是一只猫", ["猫"], True),
        ("eine Straße", ["STRASSE"], True),
        ("it costs 3.50", ["3.50"], True),
        ("c++ code", ["c++"], True),
    ],
)
def test_an_answer_is_right_if_it_says_what_was_expected(answer, expected, right):
    assert says_expected(answer, expected) is right
