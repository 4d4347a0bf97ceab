"""``patchlens cause patches`` as people run it, rightly and wrongly."""

from __future__ import annotations

import json
import sys

import pytest

from patchlens import cli
from patchlens.cause import patches_choice
from patchlens.demo import demo_pictures

CAT = next(picture.file for picture in demo_pictures() if picture.file.stem == "cat")
GIVEN = ("--layer", 2, "--above", 0.1)


@pytest.fixture
def run(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "140")

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["patchlens", "cause", "patches", *map(str, arguments)])
        try:
            cli.main()
            code = 0
        except SystemExit as exit_:
            code = exit_.code or 0
        out, err = capsys.readouterr()
        return code, out, err

    return run


def test_drawn_scenes_print_a_table_and_go_on_where_they_were(run, tmp_path):
    out = tmp_path / "a.jsonl"
    arguments = ("--seeds", 2, "--scenes", 2, *GIVEN, "--draws", 1, "--step", 5, "--out", out)
    code, table, err = run(*arguments)
    assert code == 0, err
    for part in (
        "flips: pointed at | random",
        "fall: all but these | all but random",
        "Spearman",
        "the thing's",
    ):
        assert part in table
    content = json.loads(run(*arguments, "--json")[1])
    assert content["cases"] == 4 and content["model"] == "demo"
    assert content["parameters"]["layer"] == 2 and content["parameters"]["lens"] == "logit"
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert [line["case"].split()[1][:2] for line in lines[1:]] == ["50", "50", "51", "51"]
    before = out.read_bytes()
    code, again, _ = run(*arguments)
    assert code == 0 and again == table and out.read_bytes() == before
    code, _, err = run(*arguments, "--seed", 1)
    assert code == 2 and "seed was 0, now 1" in err


def test_one_picture_gets_a_page_and_a_sentence(run, tmp_path):
    page = tmp_path / "a.html"
    code, out, err = run(
        CAT, "--prompt", "What is this?", "-m", "demo-cross", "--layer", 6, "--top", 0.1, "--html", page
    )
    assert code == 0, err
    assert "of 20 draws of as many random patches" in out and "cross lens" in out
    assert page.read_text().startswith("<!doctype html>") and f"wrote {page}" in err


def test_what_is_not_given_is_chosen_and_said(run, monkeypatch):
    monkeypatch.setattr(
        patches_choice.choose,
        "__kwdefaults__",
        {
            **patches_choice.choose.__kwdefaults__,
            "scenes": 1,
        },
    )
    code, out, err = run(CAT, "--prompt", "What is this?", "--draws", 1, "--step", 5)
    assert code == 0, err
    assert "chosen on 1 other drawn scenes" in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((CAT,), "say with --prompt what to ask"),
        (("--prompt", "What?"), "drawn scenes come with their questions"),
        ((CAT, "--prompt", "What?", "--data", "scenes:3"), "give one of them"),
        (("--above", 0.1, "--top", 0.1), "--above and --top together"),
        (("--above", 2), "a share of the map's maximum"),
        (("--html", "a.html", *GIVEN), "a page is of one picture, not of 60 cases"),
        (("--by", "grey", *GIVEN), 'Choose from: "mean"'),
        (("--lens", "logit", "-m", "demo-cross", *GIVEN), "choose --lens cross"),
        (("--layer", 99, "--above", 0.1), "layer 99 does not exist"),
        (("--draws", 0, *GIVEN), "no control"),
        (("--block", 0, *GIVEN), "1 patch wide or more"),
        (("--scenes", 0), "choose 1 to"),
        (("--out", "a.json"), "ends in .jsonl"),
        ((CAT, "--prompt", "What?", "--word", " ", *GIVEN), "name one"),
        ((CAT, "--prompt", "What?", "--by", "other", "--lens", "nonsense"), "there is no lens"),
    ],
    ids=lambda value: "" if isinstance(value, tuple) else value,
)
def test_what_is_wrong_is_said_on_one_line(run, arguments, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, _, err = run(*arguments)
    assert code == 2 and said in err
    assert len([line for line in err.splitlines() if line.startswith("error:")]) == 1
