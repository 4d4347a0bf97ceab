"""The command line as a newcomer uses it, rightly and wrongly: one line, exit code 2, nothing left behind."""

import dataclasses
import json
import os
import re
import subprocess
import sys
import time
import tomllib
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import patchlens
from patchlens import cli, open_reading
from patchlens.causal.rerun import Rerun
from patchlens.cause.settings import ChangeSettings, KnockoutSettings
from patchlens.cli.app import OPTIONS
from patchlens.cli.app import app as application
from patchlens.cli.cases import Prepared
from patchlens.demo import demo_pictures
from patchlens.fit.settings import JacobianSettings
from patchlens.views.html import page
from readings import make_reading
from tiny import save, tiny_gpt2, tiny_llava


@pytest.fixture(scope="session")
def llava(tmp_path_factory):
    return str(save(tiny_llava(chat=True), tmp_path_factory.mktemp("llava")))


@pytest.fixture(scope="session")
def gpt2(tmp_path_factory):
    return str(save(tiny_gpt2(), tmp_path_factory.mktemp("gpt2")))


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "noise.png"
    noise = np.random.default_rng(0).integers(0, 255, (50, 70, 3), np.uint8)
    Image.fromarray(noise).save(path)
    return str(path)


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


def one_line(err):
    assert "Traceback" not in err
    lines = [line for line in err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, err
    return lines[0]


def test_read_writes_a_reading_and_a_page(run, llava, picture, tmp_path):
    out, html = tmp_path / "a.safetensors", tmp_path / "a.html"
    code, printed, err = run(
        *("read", picture, "--prompt", "what is this?", "--model", llava, "--target", "cat", "--steps"),
        *("--max-new-tokens", 3, "--out", out, "--html", html, "--top-k", 4),
    )
    assert code == 0, err
    reading = open_reading(out)
    assert reading.pictures[0].name == "noise.png"
    assert reading.targets[0].word == "cat"
    assert "<html" in html.read_text()
    assert reading.top(-1)[0].piece.strip("▁") in printed
    code, shown, _ = run("show", out)
    assert code == 0 and reading.top(-1)[0].piece.strip("▁") in shown


def test_json_is_json(run, llava, picture):
    code, printed, _ = run(
        *("read", picture, "-p", "what is this?", "-m", llava, "--json", "-t", "cat", "--layers", "0,-1")
    )
    assert code == 0
    value = json.loads(printed)
    assert value["prompt"] == "what is this?"
    assert value["steps"][0]["layers"][0]["targets"][0]["word"] == "cat"
    assert [layer["layer"] for layer in value["steps"][0]["layers"]] == [0, 4]
    assert len(value["steps"][0]["layers"][0]["top"]) == 10


def test_positions_without_the_answer_are_shown_too(run, llava, picture):
    code, printed, err = run("read", picture, "-p", "what is this?", "-m", llava, "--positions", "patches")
    assert code == 0, err
    assert "patch" in printed


def test_channels_are_asked_for_by_name(run, llava, picture, tmp_path):
    out = tmp_path / "reading.safetensors"
    command = ("read", picture, "-p", "what is this?", "--model", llava, "--out", out)
    code, _, err = run(*command, "--channel", "attention", "--channel", "contribution")
    assert code == 0, err
    names = [channel.name for channel in open_reading(out).channels]
    assert names == ["contribution_answer", "attention_answer"]
    code, _, err = run(*command, "--channel", "heat")
    assert code == 2
    assert "is none of contribution, attention, contextual" in one_line(err)


def test_a_text_only_reading_needs_no_picture(run, gpt2):
    code, printed, _ = run("read", "--prompt", "a red cat sits on", "--model", gpt2)
    assert code == 0 and "embeddings" in printed


def test_charts_are_written_by_suffix(run, tmp_path):
    path = make_reading().save(tmp_path / "a.safetensors")
    for kind in ("topk", "trajectory", "heatmap", "entropy"):
        for suffix, magic in ((".png", b"\x89PNG"), (".svg", b"<?xml")):
            out = tmp_path / f"{kind}{suffix}"
            code, _, err = run("chart", path, "--kind", kind, "-o", out, "--concept", "cat")
            assert code == 0, err
            assert out.read_bytes().startswith(magic)


def test_view_writes_a_page_beside_the_reading_and_says_where(run, tmp_path):
    one = make_reading().save(tmp_path / "one.safetensors")
    other = make_reading(n_layers=7, cross=True, name="other").save(tmp_path / "other.safetensors")
    code, printed, err = run("view", one)
    assert (code, printed) == (0, f"{tmp_path / 'one.html'}\n"), err
    assert (tmp_path / "one.html").read_text("utf-8") == page(open_reading(one))
    code, printed, err = run("view", one, other)
    assert (code, printed) == (0, f"{tmp_path / 'one-vs-other.html'}\n"), err
    both = page(open_reading(one), open_reading(other))
    assert (tmp_path / "one-vs-other.html").read_text("utf-8") == both
    code, printed, err = run("view", one, other, "-o", tmp_path / "mine.html")
    assert (code, printed) == (0, f"{tmp_path / 'mine.html'}\n"), err
    assert (tmp_path / "mine.html").read_text("utf-8") == both


def test_view_opens_the_page_or_says_that_it_cannot(run, tmp_path, monkeypatch):
    reading = make_reading().save(tmp_path / "a b.safetensors")
    opened = []
    monkeypatch.setattr("webbrowser.open", lambda address: opened.append(address) or True)
    assert run("view", reading)[0] == 0 and opened == []
    assert run("view", reading, "--open")[0] == 0
    assert opened == [(tmp_path / "a b.html").as_uri()]
    monkeypatch.setattr("webbrowser.open", lambda _: False)
    code, printed, err = run("view", reading, "--open")
    assert (code, printed) == (2, f"{tmp_path / 'a b.html'}\n")
    assert "no browser" in one_line(err)


def test_what_cannot_be_viewed_is_one_line_and_leaves_nothing(run, tmp_path):
    reading = make_reading().save(tmp_path / "a.safetensors")
    (tmp_path / "noise.png").write_bytes(b"no reading")
    before = sorted(tmp_path.iterdir())
    for arguments, words in (
        ([tmp_path / "none.safetensors"], "no such file"),
        ([reading, tmp_path / "none.safetensors"], "no such file"),
        ([tmp_path / "noise.png"], "noise.png: not a readable safetensors file"),
        (["."], ". is a folder, not a file"),
        ([tmp_path], "is a folder, not a file"),
        ([reading] * 3, "is one argument too many. See: patchlens view --help"),
        ([reading, "-o", tmp_path / "a.htm"], "ends in .html"),
        ([reading, "-o", tmp_path / "nowhere" / "a.html"], "there is no folder"),
        ([tmp_path / "nowhere" / "a.safetensors"], "nowhere"),
    ):
        code, printed, err = run("view", *arguments)
        assert (code, printed) == (2, ""), arguments
        assert words in one_line(err)
        assert sorted(tmp_path.iterdir()) == before


def test_models_are_listed_and_checked(run, gpt2):
    code, printed, _ = run("models")
    assert code == 0 and "demo-cross" in printed
    code, printed, _ = run("models", "--check", gpt2)
    assert code == 0 and "lm_head" in printed


WRONG_PICTURES = {
    "missing": None,
    "text": b"not a picture",
    "empty": b"",
    "bomb": b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x4e\x20\x00\x00\x4e\x20\x08\x02\x00\x00\x00",
}


@pytest.mark.parametrize("wrong", WRONG_PICTURES)
def test_a_wrong_picture_is_one_line_and_leaves_nothing(run, llava, tmp_path, wrong):
    path = tmp_path / f"{wrong}.png"
    if WRONG_PICTURES[wrong] is not None:
        path.write_bytes(WRONG_PICTURES[wrong])
    before = sorted(tmp_path.iterdir())
    code, printed, err = run(
        "read", path, "-p", "a", "-m", llava, "-o", tmp_path / "a.safetensors", "--html", tmp_path / "a.html"
    )
    assert code == 2 and printed == ""
    assert path.name in one_line(err)
    assert sorted(tmp_path.iterdir()) == before


def test_a_truncated_jpeg_is_refused(run, llava, picture, tmp_path):
    whole = tmp_path / "whole.jpg"
    Image.open(picture).save(whole)
    cut = tmp_path / "cut.jpg"
    cut.write_bytes(whole.read_bytes()[:-400])
    code, _, err = run("read", cut, "-p", "a", "-m", llava)
    assert code == 2 and "cut.jpg" in one_line(err)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-p", ""], "prompt is empty"),
        (["-p", "   "], "prompt is empty"),
        (["-p", "a\udcff"], "not valid UTF-8"),
        (["-p", "a", "-t", "\udcff"], "not valid UTF-8"),
        (["-p", "cat " * 900], "takes at most 512"),
        (["-p", "<image> and <image> a"], "2"),
        (["-p", "a", "-k", "0"], "Must be >= 1"),
        (["-p", "a", "-k", "100000"], "top"),
        (["-p", "a", "-t", " "], "target is empty"),
        (["-p", "a", "--layers", "9"], "layer 9 does not exist"),
        (["-p", "a", "--layers", "x"], "neither a number nor a range"),
        (["-p", "a", "--layers", "5-2"], "backwards"),
        (["-p", "a", "--positions", "9999"], "position 9999"),
        (["-p", "a", "--positions", "words"], "is none of"),
        (["-p", "a", "--lens", "crystal"], "there is no lens 'crystal'"),
        (["-p", "a", "--dtype", "float12"], "float12"),
        (["-p", "a", "--out", "a.pt"], "ends in .safetensors"),
        (["-p", "a", "--html", "nowhere/a.html"], "there is no folder nowhere"),
    ],
)
def test_wrong_options_are_one_line(run, llava, picture, arguments, words):
    code, printed, err = run("read", picture, "-m", llava, *arguments)
    assert code == 2 and printed == ""
    assert words in one_line(err)


@pytest.mark.parametrize("name", ["demoo", "no/such-model", "./nowhere", "nowhere"])
def test_an_unknown_model_is_one_line(run, picture, name):
    code, _, err = run("read", picture, "-p", "a", "-m", name)
    assert code == 2
    assert name in one_line(err)
    if name == "demoo":
        assert "demo" in one_line(err).replace("demoo", "")


def test_a_picture_for_a_text_model_is_refused(run, gpt2, picture):
    code, _, err = run("read", picture, "-p", "a", "-m", gpt2)
    assert code == 2 and "text-only" in one_line(err)


def test_show_refuses_what_is_no_reading(run, tmp_path):
    (tmp_path / "a.safetensors").write_bytes(b"nonsense")
    for path in (tmp_path / "a.safetensors", tmp_path / "none.safetensors"):
        code, _, err = run("show", path)
        assert code == 2
        one_line(err)
    reading = make_reading().save(tmp_path / "b.safetensors")
    for wrong in (["--position", "999"], ["--position", "middle"], ["--step", "7"]):
        code, _, err = run("show", reading, *wrong)
        assert code == 2
        one_line(err)
    code, _, err = run("chart", reading, "--kind", "pie", "-o", tmp_path / "a.png")
    assert code == 2 and "pie" in one_line(err)
    code, _, err = run("chart", reading, "-o", tmp_path / "a.gif")
    assert code == 2 and "gif" in one_line(err)


def test_interrupting_leaves_nothing_half_written(run, llava, picture, tmp_path, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("patchlens.reading.store.to_bytes", interrupt)
    before = sorted(tmp_path.iterdir())
    code, _, err = run("read", picture, "-p", "a", "-m", llava, "-o", tmp_path / "a.safetensors")
    assert code == 130 and "Traceback" not in err
    assert sorted(tmp_path.iterdir()) == before


def test_a_full_disk_is_one_line(run, llava, picture, tmp_path, monkeypatch):
    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("patchlens.files.os.fsync", full)
    before = sorted(tmp_path.iterdir())
    code, _, err = run("read", picture, "-p", "a", "-m", llava, "-o", tmp_path / "a.safetensors")
    assert code == 2 and "No space left" in one_line(err)
    assert sorted(tmp_path.iterdir()) == before


def test_help_waits_for_nothing_heavy():
    code = (
        "import sys\nfrom patchlens.cli import main\nmain(['cause', 'patches', '--help'])\n"
        "heavy = {'torch', 'transformers', 'numpy', 'scipy', 'pandas', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "--prompt" in done.stdout


def commands(app=application, above=()):
    """Every command by its words."""
    for name in app:
        if not name.startswith("-"):
            words = (*above, name)
            yield words
            yield from commands(app[name], words)


@pytest.mark.parametrize("words", [(), *commands()], ids=" ".join)
def test_help_fits_in_60_columns_and_leaves_nothing_out(run, monkeypatch, words):
    monkeypatch.setenv("COLUMNS", "150")
    run(*words, "--help")  # the width is that of the terminal now, whatever it was before
    monkeypatch.setenv("COLUMNS", "60")
    code, printed, err = run(*words, "--help")
    assert (code, err) == (0, "")
    assert all(len(line) <= 60 for line in printed.splitlines())
    assert "…" not in printed
    app = application
    for word in words:
        app = app[word]
    if app.default_command is not None:
        for argument in app.assemble_argument_collection(parse_docstring=True):
            if argument.show:
                assert OPTIONS.get(argument.name.strip("-"), argument.name) in printed
                assert argument.parameter.help, argument.name


def test_every_command_has_options_of_the_settings_it_takes(run):
    for words, settings in (
        (("cause", "knockout"), KnockoutSettings),
        (("cause", "change"), ChangeSettings),
        (("fit", "jacobian"), JacobianSettings),
    ):
        _, printed, _ = run(*words, "--help")
        for field in dataclasses.fields(settings):
            assert f"--{field.name.replace('_', '-')}" in printed


def test_help_lists_every_command_and_first_what_is_used_first(run):
    _, printed, _ = run("--help")
    listed = re.findall(r"│ ([a-z]+) ", printed)
    assert listed[:3] == ["demo", "read", "show"]
    assert sorted(listed) == sorted({words[0] for words in commands()})


def test_the_version_is_told(run):
    assert run("--version") == (0, f"{patchlens.__version__}\n", "")
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    assert project["version"] == patchlens.__version__


def test_a_source_tree_that_is_not_installed_reads_to_the_end(run, gpt2, monkeypatch, tmp_path):
    version = metadata.version

    def of(name):
        if name == "patchlens":
            raise metadata.PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(metadata, "version", of)
    out = tmp_path / "a.safetensors"
    code, _, err = run("read", "-p", "a cat", "-m", gpt2, "--max-new-tokens", 1, "-o", out)
    assert code == 0, err
    assert open_reading(out).versions["patchlens"] == patchlens.__version__


def test_the_shell_completes_commands_options_and_choices(run, tmp_path):
    script = tmp_path / "patchlens.bash"
    application.install_completion(shell="bash", output=script, add_to_startup=False)
    asking = (
        f'source {script}; words=({{}}); COMP_WORDS=(patchlens "${{{{words[@]}}}}"); '
        'COMP_CWORD=$(( ${{#COMP_WORDS[@]}} - 1 )); _patchlens patchlens; echo "${{COMPREPLY[@]}}"'
    )
    for typed, offered in (
        ("re", "read report"),
        ("cause pa", "patches"),
        ("cause patches --dr", "--draws"),
        ("cause patches --by ''", "mean zero noise other"),
    ):
        done = subprocess.run(
            ["bash", "-c", asking.format(typed)], capture_output=True, text=True, check=False
        )
        assert done.stdout.strip() == offered, done.stderr


def test_how_many_passes_and_how_long_is_told_beforehand(capsys):
    now = [0.0]

    class Slow:
        def trace(self, *_, **__):
            now[0] += 2.0

    class Drawn:
        prompt = "What is this?"

        def open(self):
            return ()

    told = []
    drawn = (Drawn(),) * 30
    tell = Prepared(Slow(), drawn, "", lambda *given: told.append(given), lambda: now[0]).forecast(10)
    assert capsys.readouterr().err == (
        "30 cases x 10 runs of the model: 300 passes, about 10 min if each takes as a plain one\n"
    )
    for done in range(3):  # looked up in the records of a run before
        tell("cases", done, 30)
    assert capsys.readouterr().err == ""
    now[0] += 60
    tell("cases", 3, 30)
    assert capsys.readouterr().err == "about 27 min left, after the first case\n"
    now[0] += 90
    tell("cases", 4, 30)
    assert capsys.readouterr().err == "" and len(told) == 5
    Prepared(Slow(), (Drawn(),), "", lambda *_: None).forecast(None)
    assert capsys.readouterr().err.startswith("1 case; how many passes each takes depends")


@pytest.mark.parametrize("name", ["knockout", "patches", "fidelity", "change"])
def test_as_many_passes_are_told_as_are_run(run, monkeypatch, tmp_path, name):
    counted = []
    for method in ("effects", "answers"):
        own = getattr(Rerun, method)

        def counting(self, runs, *rest, own=own, **named):
            counted.append(len(runs))
            return own(self, runs, *rest, **named)

        monkeypatch.setattr(Rerun, method, counting)
    picture = next(str(one.file) for one in demo_pictures() if one.file.stem == "cat")
    small = {
        "knockout": ("--draws", 1, "--seeds", 1, "--scenes", 1),
        "patches": ("--layer", 2, "--above", 0.1, "--draws", 1, "--step", 3, "--seeds", 1, "--scenes", 1),
        "fidelity": ("--layers", "4,7", "--directions", 3, "--seeds", 1, "--scenes", 1, "--lens", "logit"),
        "change": (picture, "-p", "What is this?", "--ablate", "0-9", "--by", "zero", "--draws", 2),
    }
    code, _, err = run("cause", name, *small[name])
    assert code == 0, err
    promised = int(re.search(r"(\d+) passes", err)[1])
    assert 0.7 * promised <= sum(counted) <= promised + 2


def test_ctrl_c_stops_a_running_command_cleanly(llava, picture, tmp_path):
    code = "from patchlens.cli import main; print('started', flush=True); main()"
    command = [sys.executable, "-c", code, "read", picture, "-p", "a", "-m", llava]
    process = subprocess.Popen(
        [*command, "-o", str(tmp_path / "a.safetensors")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout.readline() == "started\n"
    time.sleep(1.0)  # somewhere in the middle, wherever that is
    process.send_signal(2)
    _, err = process.communicate(timeout=300)
    assert "Traceback" not in err
    assert process.returncode in {0, 130, -2}
    assert [p for p in tmp_path.iterdir() if p.suffix == ".part"] == []
    if process.returncode:
        assert not (tmp_path / "a.safetensors").exists()
    assert Path(picture).exists()
