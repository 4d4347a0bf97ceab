"""What the documentation shows runs as it stands, and its links lead somewhere."""

import re
from pathlib import Path

import pytest

from patchlens import open_reading
from patchlens.demo import demo_pictures

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize(
    "page",
    [
        ROOT / "README.md",
        ROOT / "docs" / "reading.md",
        ROOT / "docs" / "page.md",
        ROOT / "docs" / "attention.md",
        ROOT / "docs" / "python.md",
        ROOT / "docs" / "your-own-lens.md",
    ],
    ids=lambda p: p.name,
)
def test_the_python_shown_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    picture = next(p for p in demo_pictures() if p.file.stem == "cat")
    (tmp_path / "photo.png").write_bytes(picture.file.read_bytes())
    blocks = re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)
    assert blocks
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, page.name, "exec"), names)
    assert (tmp_path / "photo.html").exists()
    if (tmp_path / "photo.safetensors").exists():
        assert open_reading(tmp_path / "photo.safetensors").targets[0].word == "cat"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_within_the_project_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_the_python_shown_imports_nothing_but_pl(page):
    shown = "\n".join(re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL))
    assert not re.findall(r"from patchlens|import patchlens(?! as pl)", shown)
