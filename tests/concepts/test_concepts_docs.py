"""What the page about words and languages shows runs as it stands."""

import re
import shlex
import sys
from pathlib import Path

import pytest

from patchlens import cli
from patchlens.demo import demo_pictures

PAGE = Path(__file__).parents[2] / "docs" / "concepts.md"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    picture = next(p for p in demo_pictures() if p.file.stem == "cat")
    (tmp_path / "photo.png").write_bytes(picture.file.read_bytes())
    return tmp_path


def test_the_python_shown_runs(folder):
    names: dict[str, object] = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL):
        exec(compile(block, PAGE.name, "exec"), names)
    assert names["speech"].total == (names["reading"].positions.kind == "patch").sum()


def test_the_commands_shown_run(folder, monkeypatch, capsys):
    text = PAGE.read_text()
    table = re.search(r"    (key\tsort.*?\n)\n", text, re.DOTALL)
    (folder / "words.tsv").write_text(table[1].replace("\n    ", "\n"))
    commands = re.findall(r"(?:^    |`)(patchlens [^`\n]+)", text, re.MULTILINE)
    assert len(commands) == 5
    for command in commands:
        monkeypatch.setattr(sys, "argv", shlex.split(command))
        cli.main()
        out, err = capsys.readouterr()
        assert "error" not in err
        if command.startswith("patchlens words"):
            assert "languages of the 5 best" in out
    assert "gatto: " in out and "kitty" not in out
