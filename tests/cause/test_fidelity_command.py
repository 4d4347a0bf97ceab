"""``patchlens cause fidelity`` and ``cause hallucination`` as a newcomer uses them, rightly and wrongly."""

import json
import sys

import pytest

from patchlens import cli
from patchlens.demo import demo_pictures
from test_cli import one_line

CAT = str(next(p for p in demo_pictures() if p.file.stem == "cat").file)


@pytest.fixture
def run(monkeypatch, capsys):
    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["patchlens", "cause", *map(str, arguments)])
        monkeypatch.setenv("COLUMNS", "160")
        try:
            cli.main()
            code = 0
        except SystemExit as exit_:
            code = exit_.code or 0
        return code, *capsys.readouterr()

    return run


def test_fidelity_of_drawn_scenes(run, tmp_path):
    out = tmp_path / "a.jsonl"
    small = ("--seeds", 1, "--scenes", 3, "--layers", "4,7", "--directions", 8, "--reference", "scenes:12")
    code, text, told = run("fidelity", *small, "--out", out)
    assert code == 0 and "against size" in text and f"wrote {out}" in told
    content = json.loads(run("fidelity", *small, "--out", out, "--json")[1])
    assert list(content["parameters"]["lenses"]) == ["logit", "jacobian", "tuned"] and content["cases"] == 3
    assert len(out.read_text().splitlines()) == 4
    code, _, told = run("fidelity", *small, "--out", out, "--seed", 1)
    assert code == 2 and "seed was 0, now 1" in one_line(told)


def test_fidelity_of_a_picture(run):
    code, text, _ = run(
        *("fidelity", CAT, "--prompt", "What is this?", "--lens", "logit", "--layers", "7"),
        *("--reference", "scenes:8", "--directions", 6),
    )
    assert code == 2  # scenes come with their questions, so a prompt cannot be theirs
    code, text, _ = run(
        "fidelity", CAT, "--prompt", "What is this?", "--lens", "logit", "--layers", "7", "--directions", 6
    )
    assert code == 0 and "no interval" in text


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--lens", "embedding"), "gives no distribution"),
        (("--lens", "nonsense"), "there is no lens"),
        (("--layers", "99"), "layer 99 does not exist"),
        (("--at", "first"), 'Choose from: "last", "patches"'),
        (("--basis", "own"), 'Choose from: "principal", "lens"'),
        (("--directions", 1), "cannot be ranked"),
        (("--seeds", 0), "choose 1 to"),
        (("--out", "a.txt"), "ends in .jsonl"),
        (("--model", "demo-cross", "--at", "patches"), "change the states of the last position"),
        (("--prompt", "What?"), "leave --prompt out"),
    ],
)
def test_fidelity_asked_wrongly(run, arguments, says):
    code, _, told = run("fidelity", "--scenes", 1, *arguments)
    assert code == 2 and says in one_line(told)


def test_hallucination_of_drawn_scenes_and_of_a_picture(run):
    small = ("--seeds", 1, "--scenes", 3, "--validation", 4)
    code, text, _ = run("hallucination", *small, "--no-edit")
    assert code == 0 and "planted" in text and "edited out" not in text
    found = run("hallucination", *small, "--no-edit", "--json")[1]
    assert json.loads(found)["parameters"]["chosen"]["layers"]["lens"].isdecimal()
    code, text, _ = run("hallucination", CAT, "--validation", 4)
    assert code == 0 and "cat" in text and "flagged" in text
    found = run("hallucination", CAT, "--validation", 4, "--json")[1]
    assert "cat" in {noun["noun"] for noun in json.loads(found)["nouns"]}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--lens", "cross"), "take another lens for demo"),
        (("--scenes", 0), "choose 1 to"),
        (("--validation", 0), "choose 1 to"),
        ((CAT, "--validation", 0), "choose 1 to"),
        ((CAT, "--model", "./nothing", "--validation", 0), "there is no folder"),
        (("no-such.png",), "there is no file"),
        (("--out", "a.txt"), "ends in .jsonl"),
        (("--prompt", "What?"), "leave --prompt out"),
    ],
)
def test_hallucination_asked_wrongly(run, arguments, says):
    small = {"--seeds": 1, "--scenes": 1, "--validation": 1}
    given = [part for name, size in small.items() if name not in arguments for part in (name, size)]
    code, _, told = run("hallucination", *given, *arguments)
    assert code == 2 and says in one_line(told)
