"""The map of the house in docs/design.md is the house."""

import re
from pathlib import Path

import patchlens
from test_imports import TIERS

SOURCE = Path(patchlens.__file__).parent
PAGE = Path(__file__).parents[1] / "docs" / "design.md"


def mapped():
    tree = re.search(r"```\n(.*?)```", PAGE.read_text(), re.DOTALL)[1]
    return [re.split(r"\s{3,}", line)[0].split() for line in tree.splitlines()]


def test_the_tree_is_that_of_the_folders():
    named = {name for line in mapped() for name in line}
    files = {f.stem for f in SOURCE.glob("*.py")} - {"__init__", "__main__"}
    folders = {f"{f.name}/" for f in SOURCE.iterdir() if (f / "__init__.py").exists()}
    assert named == files | folders
    assert len(files) <= 10 and len(folders) <= 17


def test_the_order_is_that_of_the_tiers():
    rank = {name: number for number, tier in enumerate(TIERS) for name in tier}
    ranks = [rank[name.rstrip("/")] for line in mapped() for name in line]
    assert ranks == sorted(ranks)


def test_no_two_classes_share_a_name():
    found = {}
    for path in sorted(SOURCE.rglob("*.py")):
        for name in re.findall(r"^class (\w+)", path.read_text(), re.MULTILINE):
            found.setdefault(name, []).append(str(path.relative_to(SOURCE)))
    twice = {name: files for name, files in found.items() if len(files) > 1 and not name.startswith("_")}
    assert not twice
