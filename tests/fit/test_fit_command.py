"""``patchlens fit`` from the command line: killed and gone on with, and wrongly asked."""

import json
import os
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest

from patchlens import cli, open_reading
from patchlens.fit.work import work_folder
from pictures_of import folder_of_noise
from tiny import save, tiny_llava

PICTURES = 20


@pytest.fixture(scope="module")
def llava(tmp_path_factory):
    return str(save(tiny_llava(chat=True), tmp_path_factory.mktemp("llava")))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return folder_of_noise(tmp_path_factory.mktemp("pictures"), PICTURES)


@pytest.fixture
def run(monkeypatch, capsys):
    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["patchlens", *map(str, arguments)])
        try:
            cli.main()
            code = 0
        except SystemExit as exit_:
            code = exit_.code or 0
        out, err = capsys.readouterr()
        return code, out, err

    return run


def arguments(llava, pictures, out):
    given = ["fit", "tuned", "--model", llava, "--data", pictures, "--prompt", "what is it?", "--out", out]
    return list(map(str, [*given, "--max-new-tokens", 8]))


def test_killed_it_goes_on_to_the_same(run, llava, pictures, tmp_path):
    whole, cut = tmp_path / "whole.safetensors", tmp_path / "cut.safetensors"
    states = work_folder(cut) / "states"
    command = [sys.executable, "-m", "patchlens", *arguments(llava, pictures, cut)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, env=os.environ | {"OMP_NUM_THREADS": "1"})
    while len(list(states.glob("*.safetensors"))) < 5:
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.003)
    process.kill()
    _, err = process.communicate(timeout=300)
    assert b"Traceback" not in err
    assert 5 <= len(list(states.glob("*.safetensors"))) < PICTURES
    assert not cut.exists()
    assert run(*arguments(llava, pictures, whole))[0] == 0
    code, printed, err = run(*arguments(llava, pictures, cut))
    assert code == 0, err
    assert "patch, first half of the layers: held-out KL raw" in printed and "survives" in printed
    for suffix in (".safetensors", ".report.json", ".report.md"):
        assert cut.with_suffix(suffix).read_bytes() == whole.with_suffix(suffix).read_bytes()
    assert len(list(tmp_path.iterdir())) == 6

    reading = tmp_path / "reading.safetensors"
    picture = pictures / "000.png"
    asked = ("read", picture, "-p", "what is it?", "-m", llava, "-o", reading, "--lens")
    assert run(*asked, cut)[0] == 0
    assert open_reading(reading).lens == "tuned"
    code, _, err = run("read", "-p", "cat", "-m", "demo", "--lens", cut)
    assert code == 2 and "fitted for another model" in err


def test_as_many_passes_as_asked_for(run, llava, pictures, tmp_path, monkeypatch):
    told: list[str] = []

    @contextmanager
    def listening(**_):
        yield lambda what, done, total, note="": told.append(f"{what} {done}/{total}")

    monkeypatch.setattr("patchlens.cli.fit.progress_display", listening)
    out = tmp_path / "lens.safetensors"
    code, _, err = run(*arguments(llava, pictures, out), "--method", "gradient", "--epochs", 2)
    assert code == 0, err
    assert [line for line in told if line.startswith("refining the lens")][-1] == "refining the lens 4/4"
    assert json.loads(out.with_suffix(".report.json").read_text())["settings"]["epochs"] == 2


WRONG = [
    (["--data", "nowhere"], "no folder or file nowhere"),
    (["--data", "scenes:x"], "scenes:N"),
    (["--positions", "text,words"], "'words' is none of text, patch, answer"),
    (["--method", "magic"], 'Choose from: "closed", "gradient"'),
    (["--strength", "strong"], "'strong'"),
    (["--strength", "0"], "ridge strength"),
    (["--held-out", "1"], "between 0 and 1"),
    (["--patches", "0"], "at least 1"),
    (["--disk-gb", "0.000001"], "--disk-gb"),
    (["--out", "lens.pt"], "ends in .safetensors"),
    (["--out", "nowhere/lens.safetensors"], "there is no folder nowhere"),
]


@pytest.mark.parametrize(("changed", "words"), WRONG, ids=lambda value: str(value)[:40])
def test_wrong_options_are_one_line_and_leave_nothing(run, llava, pictures, tmp_path, changed, words):
    given = arguments(llava, pictures, tmp_path / "a.safetensors")
    if changed[0] in given:
        at = given.index(changed[0])
        given[at : at + 2] = []
    code, printed, err = run(*given, *changed)
    assert (code, printed) == (2, "")
    errors = [line for line in err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and words in errors[0]
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_picture_is_named_before_any_work(run, llava, pictures, tmp_path):
    (tmp_path / "pictures").mkdir()
    for path in sorted(pictures.iterdir())[:3]:
        (tmp_path / "pictures" / path.name).write_bytes(path.read_bytes())
    damaged = tmp_path / "pictures" / "zzz.png"
    damaged.write_bytes(path.read_bytes()[:200])
    code, _, err = run(*arguments(llava, tmp_path / "pictures", tmp_path / "a.safetensors"))
    assert code == 2 and "zzz.png" in err
    lines = tmp_path / "data.jsonl"
    lines.write_text('{"image": "pictures/000.png", "prompt": "a"}\n{"image": "none.png", "prompt": "a"}\n')
    code, _, err = run("fit", "tuned", "--model", llava, "--data", lines, "--out", tmp_path / "a.safetensors")
    assert code == 2 and "data.jsonl:2" in err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data.jsonl", "pictures"]


def test_jacobian_and_latent_lenses_are_fitted_and_read(run, llava, pictures, tmp_path):
    (tmp_path / "captions.txt").write_text("a red cat sits on the grass\ntwo dogs and a cat\n")
    few = tmp_path / "few.jsonl"
    lines = [f'{{"image": "{pictures / name}", "prompt": "what is it?"}}' for name in ("000.png", "001.png")]
    few.write_text("\n".join(lines))
    fits = {
        "jacobian": ["--data", few, "--probes", 4, "--versions", "text,image", "--max-new-tokens", 2],
        "latent": ["--data", tmp_path / "captions.txt"],
    }
    for name, options in fits.items():
        out = tmp_path / f"{name}.safetensors"
        code, _, err = run("fit", name, "--model", llava, "--out", out, *options)
        assert code == 0, err
        code, printed, err = run("read", pictures / "002.png", "-p", "what?", "-m", llava, "--lens", out)
        assert code == 0, err
        assert f"{name} lens" in printed
    out = tmp_path / "wrong.safetensors"
    code, _, err = run("fit", "latent", "--model", llava, "--data", few, "--out", out)
    assert code == 2 and "few.jsonl:1" in err and "made of texts" in err
    code, _, err = run("fit", "jacobian", "-m", llava, "-d", few, "-o", out, "--versions", "words")
    assert code == 2 and "'words' is none of text, answer, image." in err
    assert not out.exists()
