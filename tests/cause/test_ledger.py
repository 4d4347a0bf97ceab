"""What was done stays done: each case once, whatever stops the run."""

import json

import pytest

from patchlens.cause.cases import Case
from patchlens.cause.ledger import Ledger, each, six_digits
from patchlens.data.item import Item
from patchlens.errors import DataError, ImageError, OutputError

HEAD = {"experiment": "test", "model": "demo"}
CASES = tuple(Case(f"case {n}", "What?", Item(f"case {n}", "What?")) for n in range(5))


def silent(*_):
    pass


def test_a_stopped_run_goes_on_where_it_was_and_gives_the_same(tmp_path):
    made: list[str] = []

    def stops_at(last):
        def one(case):
            if case.name == last:
                raise KeyboardInterrupt
            made.append(case.name)
            return {"value": int(case.name[-1]) / 3, "unknown": float("nan")}

        return one

    ledger = Ledger(tmp_path / "a.jsonl", HEAD)
    with pytest.raises(KeyboardInterrupt):
        each(CASES, stops_at("case 3"), ledger, silent)
    assert made == ["case 0", "case 1", "case 2"]
    records = each(CASES, stops_at(None), ledger, silent)
    assert made == [case.name for case in CASES]
    assert list(records) == made
    assert records == each(CASES, stops_at("case 0"), ledger, silent)
    assert records["case 1"] == {"value": 1 / 3, "unknown": None}


@pytest.mark.parametrize("cut", [1, 5, 20])
def test_a_line_cut_in_the_middle_is_made_again(tmp_path, cut):
    path = tmp_path / "a.jsonl"
    whole = each(CASES, lambda case: {"name": case.name}, Ledger(path, HEAD), silent)
    before = path.read_bytes()
    path.write_bytes(before[:-cut])
    made: list[str] = []

    def one(case):
        made.append(case.name)
        return {"name": case.name}

    assert each(CASES, one, Ledger(path, HEAD), silent) == whole
    assert made == ["case 4"]
    assert path.read_bytes() == before


def test_other_arguments_are_not_mixed_in(tmp_path):
    path = tmp_path / "a.jsonl"
    each(CASES, lambda _: {}, Ledger(path, HEAD), silent)
    with pytest.raises(DataError, match=r"must not be mixed with .model was 'demo', now 'other'"):
        each(CASES, lambda _: {}, Ledger(path, {**HEAD, "model": "other"}), silent)
    assert len(path.read_text().splitlines()) == 6


@pytest.mark.parametrize("content", ["", "no json\n", "[1]\n[2]\n", '{"a": 1}\n{"no": "case"}\n'])
def test_a_foreign_file_is_refused_and_left_alone(tmp_path, content):
    path = tmp_path / "a.jsonl"
    path.write_text(content)
    with pytest.raises(DataError):
        Ledger(path, HEAD).read()
    assert path.read_text() == content


def test_errors_say_which_case_and_keep_the_others(tmp_path):
    path = tmp_path / "a.jsonl"

    def one(case):
        if case.name == "case 2":
            raise ImageError("broken")
        return {}

    with pytest.raises(ImageError, match="case 2: broken"):
        each(CASES, one, Ledger(path, HEAD), silent)
    assert [json.loads(line).get("case") for line in path.read_text().splitlines()] == [
        None,
        "case 0",
        "case 1",
    ]
    with pytest.raises(OutputError, match="cannot write"):
        Ledger(tmp_path / "missing" / "a.jsonl", HEAD).read()


def test_values_keep_six_digits():
    assert six_digits([1234.56789, -1 / 3, 2e-20]) == [1234.57, -0.333333, 2e-20]


def test_progress_counts_to_the_end():
    told: list[tuple[int, int]] = []
    each(CASES, lambda _: {}, Ledger(None, HEAD), lambda _, done, total: told.append((done, total)))
    assert told == [(n, 5) for n in range(6)]
