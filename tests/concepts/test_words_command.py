"""``patchlens words``: languages by layer, forms by first layer, and one line for what is wrong."""

import json
import sys

import pytest
from spoken import spoken

from patchlens import cli


@pytest.fixture
def run(monkeypatch, capsys):
    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["patchlens", "words", *map(str, arguments)])
        try:
            cli.main()
            code = 0
        except SystemExit as exit_:
            code = exit_.code or 0
        out, err = capsys.readouterr()
        return code, out, err

    return run


@pytest.fixture
def saved(tmp_path):
    made = spoken(
        [
            [["?", "▁gira"], ["?", "."]],
            [["▁Augen", "?"], ["猫", "?"]],
            [["▁eyes", "▁Augen"], ["▁eyes", "▁snow"]],
        ],
        answer=[["?", "."], ["?", "."], ["▁cat", "▁Cat"]],
    )
    return made.save(tmp_path / "scene.safetensors")


def row(out, name):
    return next(line.split() for line in out.splitlines() if line.strip().startswith(name))


def test_tables_of_languages_and_forms(run, saved):
    code, out, err = run(saved, "eyes", "giraffe", "dog", "-k", 1)
    assert (code, err) == (0, "")
    assert row(out, "layer")[:2] == ["layer", "known"]
    columns = row(out, "layer")
    middle = row(out, "1 ")
    assert middle[1] == "100%" and middle.count("50%") == 2
    assert row(out, "2 (last)")[2:4] == ["100%", "100%"] and columns[2] == "en"
    assert row(out, "0 (embeddings)")[2] == "0%"
    assert row(out, "most by")[2] == "▁eyes"
    assert "eyes: Augen (de) comes first, at layer 1; then eyes (en), at 2" in out
    assert "giraffe: no form is in any layer's top 1" in out
    assert "▁gira (7)" in out


def test_forms_of_one_layer_are_told_together(run, saved, tmp_path):
    tied = spoken([[["▁Augen", "?"], ["▁eyes", "?"]]]).save(tmp_path / "tied.safetensors")
    _, out, _ = run(tied, "eyes", "-k", 1)
    assert "eyes: eyes (en), Augen (de) come first, at layer 0\n" in out
    _, out, _ = run(saved, "cat", "--at", "answer", "-k", 2)
    assert "cat: cat (en) comes first, at layer 2\n" in out


def test_json_holds_the_counts_behind_the_shares(run, saved):
    code, out, _ = run(saved, "eyes", "giraffe", "-k", 1, "--json")
    told = json.loads(out)
    assert code == 0 and (told["at"], told["k"], told["total"]) == ("patches", 1, 2)
    layer = told["layers"][1]
    counts = dict(zip(told["languages"], layer["counts"], strict=True))
    assert {language: n for language, n in counts.items() if n} == {"de": 1, "zh": 1}
    assert told["layers"][0]["shares"] == [None] * len(told["languages"])
    assert sum(told["null"]["counts"]) == 18 and told["null"]["tokens"] == 38
    first = told["words"]["eyes"]["first"]
    assert [(form["word"], form["layer"], form["col"]) for form in first] == [("Augen", 1, 0), ("eyes", 2, 0)]
    assert "глаз" in told["words"]["eyes"]["missing"]
    assert told["words"]["giraffe"]["partial"] == [{"token": 17, "piece": "▁gira", "words": 7}]
    assert told["most_by"][told["languages"].index("en")] == {"piece": "▁eyes", "count": 2}


def test_own_words_and_a_language_to_take_them_in(run, saved, tmp_path):
    path = tmp_path / "words.tsv"
    path.write_text("key\tsort\ten\nstart\tnoun\tgira\n")
    _, out, _ = run(saved, "gira", "-k", 2, "--dictionary", path)
    assert "gira: gira (en) comes first, at layer 0" in out
    _, out, _ = run(saved, "pie", "-k", 1, "--language", "es")
    assert "pie: no form is in any layer's top 1" in out


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("xyzzy",), "'xyzzy' is not in the dictionary"),
        (("--at", "sky"), 'Choose from: "patches", "answer", "text"'),
        (("-k", 9), "k is 9, but this reading keeps the best 2"),
        (("-k", 0), "k is 0: ask for 1 or more"),
        (("cat", "--language", "xx"), "the dictionary has no language 'xx'"),
        (("--dictionary", "none.tsv"), "cannot read the dictionary none.tsv"),
    ],
)
def test_what_is_wrong_is_said_on_one_line(run, saved, arguments, error):
    code, out, err = run(saved, *(("-k", 1) if "-k" not in arguments else ()), *arguments)
    assert (code, out) == (2, "")
    assert err.startswith("error: ") and error in err and err.count("\n") == 1


def test_a_hostile_piece_is_named_not_printed(run, tmp_path):
    from readings import HOSTILE, WORDS

    words = (*WORDS, *HOSTILE)
    made = spoken([[["▁eyes", "?"], ["\u202egnp", "?"]]], words=words)
    _, out, _ = run(made.save(tmp_path / "odd.safetensors"), "eyes", "-k", 1)
    assert "\u202e" not in out and "▁eyes" in out
