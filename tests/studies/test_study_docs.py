"""What the pages about studies show runs as it stands."""

import re
from pathlib import Path

import duckdb
import pytest
from small_study import noise_picture, write_spec

from patchlens.studies.recipe.study import read_study
from patchlens.studies.schema import TABLES
from patchlens.studies.study import run_study

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "study.md").read_text()


def blocks(language):
    found = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    assert found
    return found


@pytest.fixture(scope="module")
def beside(tmp_path_factory):
    """A folder with a study in my-study."""
    folder = tmp_path_factory.mktemp("docs")
    (folder / "broken.png").write_bytes(b"")
    items = [
        {"scenes": "one", "count": 3, "ask": "what", "language": "en", "group": "one", "concepts": "truth"},
        {"image": "broken.png", "prompt": "What is this?", "group": "broken"},
    ]
    spec = write_spec(folder / "spec.json", attention=True, items=items)
    run_study(read_study(spec), folder / "my-study")
    return folder


@pytest.mark.parametrize(
    "query", [q for block in blocks("sql") for q in block.strip().split(";") if q.strip()]
)
def test_the_sql_shown_runs_and_finds_something(query, beside, monkeypatch):
    monkeypatch.chdir(beside)
    assert duckdb.sql(query).fetchall()


def test_the_python_shown_runs(beside, monkeypatch):
    monkeypatch.chdir(beside)
    for block in blocks("python"):
        exec(compile(block, "study.md", "exec"), {})


def test_the_spec_shown_is_one(tmp_path):
    (block,) = blocks("yaml")
    (tmp_path / "study.yaml").write_text(block)
    (tmp_path / "photos").mkdir()
    noise_picture(tmp_path / "photos" / "a.png")
    study = read_study(tmp_path / "study.yaml")
    assert [lens.name for lens in study.lenses] == ["logit", "tuned"]
    assert len(study.items) == 23 and study.items[0].expected == ("cat", "Katze")


def test_the_format_names_every_column_and_no_other():
    page = (DOCS / "format.md").read_text()
    section = page[page.index("# The dataset of a study") :]
    named = set(re.findall(r"`([a-z_]+)`", section))
    for table in TABLES:
        assert set(table.schema.names) <= named, table.name
