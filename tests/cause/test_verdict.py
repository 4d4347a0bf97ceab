"""The rule of verdicts, on numbers made up for it."""

import math

import pytest

from patchlens.cause.grounding.replaced import CONTROL, KINDS, SCRAMBLED
from patchlens.cause.grounding.verdict import FLOOR, THRESHOLD, Under, verdict, weigh

ALWAYS = dict.fromkeys(KINDS, 1.0)
ONCE_NOT = {**ALWAYS, "other picture": 0.75}
JUST_UNDER = math.nextafter(THRESHOLD, 0)


@pytest.mark.parametrize(
    ("drop", "kept", "expected"),
    [
        (THRESHOLD, ONCE_NOT, "grounded"),
        (JUST_UNDER, ONCE_NOT, "unclear"),
        (THRESHOLD, ALWAYS, "unclear"),
        (JUST_UNDER, ALWAYS, "prior"),
        (-JUST_UNDER, ALWAYS, "prior"),
        (-THRESHOLD, ALWAYS, "inverted"),
        (-THRESHOLD, ONCE_NOT, "inverted"),
        (-JUST_UNDER, ONCE_NOT, "unclear"),
        (0.0, {**ALWAYS, SCRAMBLED: 0.0}, "unclear"),
        (0.0, {**ALWAYS, CONTROL: 0.0}, "prior"),
    ],
)
def test_verdicts_at_the_boundaries(drop, kept, expected):
    assert verdict(drop, kept) == expected


def under(kind, *logprobs, kept=True):
    return Under(kind, logprobs, [kept] * len(logprobs), kept, "")


def test_kinds_count_alike_however_many_pictures_each_has():
    others = [under("other picture", -1.0), under("other picture", -3.0, kept=False)]
    found = weigh([0.0], [under(CONTROL, -9.0), under(SCRAMBLED, -9.0), under("grey", 0.0), *others], 0)
    assert found.drops == {CONTROL: -FLOOR, SCRAMBLED: -FLOOR, "grey": 0.0, "other picture": 2.0}
    assert found.drop == 1.0 and found.kept["other picture"] == 0.5
    assert found.verdict == "grounded"


def test_how_unlikely_the_unlikely_is_does_not_matter():
    hardly = weigh([math.log(0.02)], [under("grey", -50.0, kept=False)], 0)
    assert hardly.drop == pytest.approx(math.log(2))
    never = weigh([-20.0], [under("grey", -50.0, kept=False)], 0)
    assert never.drop == 0 and never.verdict == "unclear"
    more = weigh([-20.0], [under("grey", -0.1)], 0)
    assert more.drop == pytest.approx(-0.1 * -1 + FLOOR) and more.verdict == "inverted"


def test_a_whole_answer_adds_its_tokens_up_and_is_kept_only_as_a_whole():
    part = Under("grey", [-0.1, -3.0, -4.0], [True, False, True], False, "a dog")
    assert weigh([-0.1, -0.2, -0.3], [part], 0).verdict == "prior"
    assert weigh([-0.1, -0.2, -0.3], [part], 1).drop == pytest.approx(2.8)
    whole = weigh([-0.1, -0.2, -0.3], [part])
    assert whole.drop == -FLOOR and whole.kept == {"grey": 0.0}
