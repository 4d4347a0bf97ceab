"""Every example runs as its README says, in small, and its figures come out."""

import re
import shutil
import sys
from functools import cache
from pathlib import Path

import duckdb
import pytest
import yaml

from patchlens.studies.recipe.study import read_study
from patchlens.studies.study import run_study

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
NAMES = sorted(path.parent.name for path in EXAMPLES.glob("*/study.yaml"))
PAGES = [EXAMPLES / "README.md", *(EXAMPLES / name / "README.md" for name in NAMES)]

sys.path.insert(0, str(EXAMPLES))
from figures import figures  # noqa: E402

FEW = 6


def small(name: str, folder: Path) -> Path:
    """The example's spec with a few scenes per entry, in a copy of the examples beside what they refer to."""
    (folder / "src").symlink_to(ROOT / "src")
    shutil.copytree(EXAMPLES, folder / "examples")
    spec = folder / "examples" / name / "study.yaml"
    content = yaml.safe_load(spec.read_text())
    for entry in content["items"]:
        if "count" in entry:
            entry["count"] = FEW
    spec.write_text(yaml.safe_dump(content))
    return spec


@pytest.fixture(scope="module")
def printed(tmp_path_factory):
    """The figures of an example's small run, by the example's name; each runs once."""

    @cache
    def run(name: str):
        folder = tmp_path_factory.mktemp(name)
        outcome = run_study(read_study(small(name, folder)), folder / "out")
        assert not outcome.failures
        assert not outcome.left_out["demo"]
        return figures(name, folder / "out")

    return run


@pytest.mark.parametrize("name", NAMES)
def test_every_query_gives_rows_and_every_column_values(printed, name):
    tables = printed(name)
    assert tables
    for title, columns, rows in tables:
        assert title, columns
        assert rows, title
        assert not any("nan" in str(value) for row in rows for value in row), title
        for place, column in enumerate(columns):
            assert any(row[place] is not None for row in rows), (title, column)


def column(tables, title: str, wanted: str) -> list[str]:
    """Values of a column of the table whose title begins so, without their intervals."""
    columns, rows = next((c, r) for t, c, r in tables if t.startswith(title))
    return [str(row[columns.index(wanted)]).split()[0] for row in rows]


def test_before_the_first_layer_all_pictures_are_alike(printed):
    tables = printed("text-or-picture")
    assert column(tables, "How alike", "best: text, picture")[0] == "1.00"
    assert column(tables, "How alike", "five: two pictures")[0] == "1.00"
    assert float(column(tables, "How alike", "five: two pictures")[-1]) < 1


def test_a_lens_has_the_items_own_answer_and_not_a_shuffled_one(printed):
    tables = printed("raw-or-tuned")
    layer, own, shuffled = (column(tables, "Null", name) for name in ("layer", "own", "shuffled"))
    assert {own[place] for place, at in enumerate(layer) if at == "0"} == {"0.00"}
    assert {own[place] for place, at in enumerate(layer) if at == "8"} == {"1.00"}
    assert all(float(shuffled[place]) < 0.5 for place in range(len(layer)))


def test_patches_come_before_the_question_in_any_language(printed):
    assert set(column(printed("language"), "Whether the question", "same")) == {"1.0"}


def test_intervals_are_those_of_student_and_wilson():
    with duckdb.connect() as connection:
        shared = (EXAMPLES / "shared.sql").read_text()
        for statement in connection.extract_statements(shared[shared.index("-- Student") :]):
            connection.execute(statement)
        told = connection.execute(
            "select t975(4), t975(9), t975(99), mean95(x), share95(x > 3), share95(x > 0) "
            "from (values (1.0), (2.0), (3.0), (4.0), (5.0)) t(x)"
        ).fetchone()
    assert told is not None
    assert [round(float(t), 1) for t in told[:3]] == [2.7, 2.3, 2.0]
    assert told[3:] == ("3.00 ± 1.93", "0.40 [0.12-0.77]", "1.00 [0.57-1.00]")


@pytest.mark.parametrize("name", NAMES)
def test_one_line_is_the_model(name):
    lines = (EXAMPLES / name / "study.yaml").read_text().splitlines()
    assert [line for line in lines if line.startswith("models: [demo]")]
    study = read_study(EXAMPLES / name / "study.yaml")
    other = read_study(EXAMPLES / name / "study.yaml", models=["demo-cross"])
    assert [model.load for model in other.models] == ["demo-cross"]
    assert other.items == study.items


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.parent.name)
def test_pages_name_what_is_there(page):
    text = page.read_text()
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", text):
        assert "://" in target or (page.parent / target).exists(), target
    for path in re.findall(r"(?<![\w/])examples/[\w./-]+", text):
        assert (ROOT / path).exists(), path
    assert f"examples/{page.parent.name}/study.yaml" in text or page.parent == EXAMPLES


def test_the_table_of_examples_is_whole():
    text = (EXAMPLES / "README.md").read_text()
    assert sorted(re.findall(r"\]\(([\w-]+)/README.md\) \|", text)) == NAMES
