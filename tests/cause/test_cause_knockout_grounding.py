"""``patchlens cause knockout`` and ``cause grounding`` as a newcomer uses them, rightly and wrongly."""

import json
import sys

import numpy as np
import pytest
from PIL import Image

from patchlens import cli
from patchlens.scenes.scene import make_scene


@pytest.fixture
def run(monkeypatch, capsys):
    def run(*arguments):
        monkeypatch.setenv("COLUMNS", "150")
        monkeypatch.setattr(sys, "argv", ["patchlens", "cause", *map(str, arguments)])
        try:
            cli.main()
            code = 0
        except SystemExit as exit_:
            code = exit_.code or 0
        out, err = capsys.readouterr()
        return code, out, err

    return run


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "scene.png"
    make_scene(9_000_007, "one").image.save(path)
    return path


def test_knockout_of_drawn_scenes_and_on_from_there(run, tmp_path):
    out = tmp_path / "a.jsonl"
    arguments = ("knockout", "--seeds", 1, "--scenes", 2, "--draws", 1, "--out", out)
    code, printed, err = run(*arguments)
    assert code == 0, err
    assert "thing → answer, blocks 2-5" in printed and "windows of 4 blocks" in printed
    assert len(out.read_text().splitlines()) == 3
    content = json.loads(run(*arguments, "--json")[1])
    assert content["experiment"] == "knockout" and content["parameters"]["width"] == 4
    assert run(*arguments)[1] == printed
    code, _, err = run(*arguments, "--width", 2)
    assert code == 2 and "width was 4, now 2" in err


def test_grounding_of_a_picture_shows_its_words(run, picture):
    code, printed, err = run("grounding", picture, "-p", "Describe the picture.")
    assert code == 0, err
    content = json.loads(run("grounding", picture, "-p", "Describe the picture.", "--json")[1])
    (one,) = content["verdicts"]
    assert all(piece in printed for piece in one["seen"]["pieces"]) and "is grounded" in content["sentence"]
    assert one["seen"]["tokens"][0]["drops"].keys() == one["seen"]["whole"]["kept"].keys()
    assert "planted" not in printed


def test_grounding_of_drawn_scenes_tells_how_often_it_is_right(run):
    code, printed, err = run("grounding", "--seeds", 1, "--scenes", 2, "-m", "demo-cross")
    assert code == 0, err
    assert "planted: needs the picture" in printed and "it is right in a share of" in printed


@pytest.mark.parametrize("command", ["knockout", "grounding"])
def test_mistakes_are_told_in_one_line(run, command, picture, tmp_path):
    wrong = [
        ((picture,), "say with --prompt"),
        (("-p", "What?"), "leave --prompt out"),
        ((tmp_path / "no.png", "-p", "What?"), "there is no file"),
        ((picture, "-p", "What?", "--out", tmp_path / "a.txt"), "ends in .jsonl"),
        ((picture, "-p", "What?", "--out", tmp_path / "no" / "a.jsonl"), "no folder"),
        (("--seeds", 0), "choose 1 to"),
        (("-m", "nonsense/there-is-none"), "nonsense/there-is-none"),
    ]
    for arguments, expected in wrong:
        code, _, err = run(command, *arguments)
        assert code == 2 and expected in err and "Traceback" not in err, (arguments, err)
        assert len([line for line in err.splitlines() if line.startswith("error: ")]) == 1


def test_mistakes_of_each_command(run, picture, tmp_path):
    code, _, err = run("knockout", picture, "-p", "What is this?", "--width", 99)
    assert code == 2 and "windows of 1 to 8" in err
    code, _, err = run("grounding", picture, "-p", "What is this?", "--begun", " ")
    assert code == 2 and "has no token" in err
    grey = tmp_path / "grey.png"
    Image.fromarray(np.full((50, 70, 3), 99, np.uint8)).save(grey)
    code, printed, _ = run("grounding", grey, "-p", "What is this?")
    assert code == 0 and "No answer can be judged." in printed and "blank already" in printed
