"""No scene that something was learnt from or chosen on is ever reported on."""

import re
from itertools import combinations

from patchlens.bench.exam import drawn_exam
from patchlens.scenes import seeds
from patchlens.scenes.seeds import RANGES


def test_what_is_learnt_from_or_chosen_on_is_used_for_nothing_else():
    for (one, (first, end, use)), (other, (begin, last, there)) in combinations(RANGES.items(), 2):
        apart = end <= begin or last <= first
        assert apart or use == there == "report", f"{one} and {other}"


def test_every_first_seed_begins_a_range_and_the_table_tells_it():
    firsts = {
        value for name, value in vars(seeds).items() if name.endswith("_SEEDS") and name != "MOST_SEEDS"
    }
    assert firsts == {first for first, _, _ in RANGES.values()}
    rows = re.findall(r"^(\d[\d ]*?)  +(\d[\d ]*?)  +(learn|choose|report)  ", seeds.__doc__, re.MULTILINE)
    rows_of_docs = {(int(a.replace(" ", "")), int(b.replace(" ", "")), use) for a, b, use in rows}
    assert rows_of_docs == set(RANGES.values())


def test_the_scoreboard_keeps_to_its_ranges():
    exam = drawn_exam(3, 250)
    at = [batch.seed for batch in exam.seeds]
    assert at == [seeds.REPORT_SEEDS + n * seeds.BETWEEN for n in range(3)]
    assert len(exam.validation.pictures) == 500 <= seeds.MOST_VALIDATION_SCENES
