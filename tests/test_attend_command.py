"""``patchlens attend`` as a newcomer uses it, rightly and wrongly."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from patchlens import cli, open_reading
from patchlens.demo import demo_pictures
from test_cli import one_line
from tiny import save, tiny_gpt2, tiny_llava, tiny_mllama

CAT = str(next(p for p in demo_pictures() if p.file.stem == "cat").file)


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    made = {"llava": tiny_llava(chat=True), "mllama": tiny_mllama(chat=True), "gpt2": tiny_gpt2()}
    return {name: str(save(own, tmp_path_factory.mktemp(name))) for name, own in made.items()}


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "noise.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (50, 70, 3), np.uint8)).save(path)
    return str(path)


@pytest.fixture
def run(monkeypatch, capsys):
    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["patchlens", "attend", *map(str, arguments)])
        try:
            cli.main()
            code = 0
        except SystemExit as exit_:
            code = exit_.code or 0
        out, err = capsys.readouterr()
        return code, out, err

    return run


def rows(printed, head):
    """Cells of the table whose head starts like that."""
    lines = printed.splitlines()
    start = next(i for i, line in enumerate(lines) if line.split()[:1] == [head]) + 1
    end = next(i for i in range(start, len(lines)) if not lines[i].strip())
    return [line.split() for line in lines[start:end]]


def percent(cell):
    return float(cell.removesuffix("%"))


@pytest.mark.parametrize("family", ["llava", "mllama"])
def test_it_prints_a_table_and_writes_all_it_is_asked_for(run, models, picture, tmp_path, family):
    paths = [tmp_path / f"a{suffix}" for suffix in (".safetensors", ".html")]
    asked = (picture, "-p", "what is left of it?", "-m", models[family], "--max-new-tokens", 3)
    asked = (*asked, "--relative", "--heads", "1,3")
    code, printed, err = run(*asked, "--out", paths[0], "--html", paths[1])
    assert code == 0, err
    table = rows(printed, "layer")
    report = json.loads(run(*asked, "--json")[1])
    assert [int(row[0]) for row in table] == [layer["layer"] for layer in report["layers"]]
    for row, layer in zip(table, report["layers"], strict=True):
        shares = layer["queries"][0]["shares"]
        cells = [cell for cell in row if cell.endswith("%")]
        assert [percent(cell) for cell in cells[:5]] == pytest.approx(
            [100 * share for share in shares.values()], abs=0.5
        )
        assert sum(shares.values()) == pytest.approx(1, abs=1e-6)
        if family == "mllama":
            assert row[1] == {"pos": "text", "vision": "picture"}[layer["over"]]
    assert report["generic_prompt"] == "Write a general description of the image."
    channels = {channel.name: channel for channel in open_reading(paths[0]).channels}
    assert set(channels) == {
        *("attention_answer", "attention_answer_mean", "attention_answer_relative"),
        *("attention_answer_difference", "attention_answer_shares", "contribution_answer_norm"),
    }
    assert "heads 1, 3" in channels["attention_answer_mean"].description
    assert "<html" in paths[1].read_text("utf-8")
    assert "over 10 times as long as the median" in printed


def test_steps_show_the_share_along_the_answer(run, models, picture):
    code, printed, err = run(
        picture, "-p", "what is it?", "-m", models["llava"], "--query", "steps", "--max-new-tokens", 4
    )
    assert code == 0, err
    assert [row[0] for row in rows(printed, "step")] == ["0", "1", "2", "3"]
    assert "all 4 steps of the answer" in printed
    code, printed, _ = run(
        picture, "-p", "what is it?", "-m", models["llava"], "-q", "last", "--max-new-tokens", 4
    )
    assert code == 0 and "which predicts" in printed


def test_a_word_of_the_prompt_can_be_asked_of(run, models, picture):
    code, printed, err = run(picture, "-p", "a cat and a cat", "-m", models["llava"], "-q", "cat")
    assert code == 0, err
    assert "cat in the prompt (position " in printed and len(rows(printed, "position")) == 2


def test_a_bundled_model_is_asked_what_it_knows_and_looks_at_the_picture(run):
    code, printed, err = run(CAT, "-p", "What is this?", "--relative")
    assert code == 0, err
    report = json.loads(run(CAT, "-p", "What is this?", "--relative", "--json")[1])
    assert report["generic_prompt"] == "Describe the picture."
    assert max(layer["queries"][0]["shares"]["patch"] for layer in report["layers"]) > 0.5
    assert "demo" in printed


def test_without_a_picture_nothing_falls_on_patches_and_that_is_said(run, models):
    for family in ("gpt2", "llava", "mllama"):
        code, printed, err = run("-p", "a red cat", "-m", models[family])
        assert code == 0, err
        assert "note: no picture was given, so nothing can fall on patches" in err
        assert all(row[1] == "0%" for row in rows(printed, "layer"))
        code, printed, err = run("-p", "a red cat", "-m", models[family], "--relative")
        assert code == 2 and printed == "" and "give a picture" in one_line(err)


def test_sinks_follow_the_factor(run, models, picture):
    counts = []
    for factor in ("0.5", "10"):
        command = (picture, "-p", "what is it?", "-m", models["llava"], "--json")
        code, printed, err = run(*command, "--sink-factor", factor, "--sink-dims", "3,5")
        assert code == 0, err
        report = json.loads(printed)
        assert report["sink_rule"]["factor"] == float(factor)
        assert report["sink_rule"]["dimensions"] == [3, 5]
        counts.append(sum(len(layer["sinks"]) for layer in report["layers"]))
    assert counts[0] > counts[1]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-p", ""], "prompt is empty"),
        (["-p", "a cat", "-q", "zebra"], "the prompt has no 'zebra'"),
        (["-p", "a cat", "-q", " "], "is empty"),
        (["-p", "a cat", "-q", "\udcff"], "has no"),
        (["-p", "a cat", "--layers", "0"], "no block puts out layer 0"),
        (["-p", "a cat", "--layers", "9"], "layer 9 does not exist"),
        (["-p", "a cat", "--layers", "x"], "neither a number nor a range"),
        (["-p", "a cat", "--heads", "7"], "head 7 does not exist"),
        (["-p", "a cat", "--heads", "many"], "neither a number nor a range"),
        (["-p", "a cat", "--sink-factor", "0"], "must be a number above 0"),
        (["-p", "a cat", "--sink-factor", "nan"], "must be a number above 0"),
        (["-p", "a cat", "--sink-dims", "99"], "dimension 99 does not exist"),
        (["-p", "a cat", "-q", "cat", "--relative"], "choose the query answer"),
        (["-p", "a cat", "--generic", "cat " * 900], "takes at most 512"),
        (["-p", "a cat", "--out", "a.json"], "ends in .safetensors"),
        (["-p", "a cat", "--html", "nowhere/a.html"], "there is no folder nowhere"),
    ],
)
def test_what_is_wrong_is_one_line_and_leaves_nothing(
    run, models, picture, tmp_path, monkeypatch, arguments, words
):
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())
    code, printed, err = run(picture, "-m", models["llava"], *arguments)
    assert code == 2 and printed == ""
    assert words in one_line(err)
    assert sorted(tmp_path.iterdir()) == before


def test_the_help_is_quick(run, monkeypatch):
    code, printed, _ = run("--help")
    assert code == 0 and "--sink-factor" in printed
    source = Path(cli.__file__).with_name("attend.py").read_text()
    assert "import torch" not in source
