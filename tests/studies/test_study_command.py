"""``patchlens study`` and ``patchlens report`` as a person runs them."""

import signal
import subprocess
import sys
import time

import duckdb
import pytest
from small_study import noise_picture, rows, write_spec

from patchlens import cli
from patchlens.demo import bundled_models

ITEMS = [{"scenes": "one", "count": 2, "ask": "what", "language": "en"}]
HERE = ("--workers", "0")  # no worker has to start

HEEDING = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from patchlens.cli import main
main()
"""
"""The command, also where whoever runs the tests ignores Ctrl-C."""


def patchlens(*arguments, code=None):
    """Run the command in a process of its own."""
    start = ["-m", "patchlens"] if code is None else ["-c", code]
    return subprocess.run(
        [sys.executable, *start, *map(str, arguments)], capture_output=True, text=True, check=False
    )


@pytest.fixture
def run(monkeypatch, capsys):
    """Run the command in this process; its exit status, standard output and standard error."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["patchlens", *map(str, arguments)])
        try:
            cli.main()
            code = 0
        except SystemExit as exit_:
            code = exit_.code or 0
        return code, *capsys.readouterr()

    return run


def test_a_folder_of_pictures_and_a_prompt_are_enough(run, tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    noise_picture(photos / "a.png")
    done = patchlens("study", photos, "--prompt", "What is this?", "--out", tmp_path / "out")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split()[-3:] == ["1", "0", str(tmp_path / "out")]
    code, _, told = run("report", tmp_path / "out")
    assert (code, told) == (0, "")
    assert (tmp_path / "out" / "report" / "index.html").exists()


def test_failures_are_told_and_end_with_1(run, tmp_path):
    spec = write_spec(tmp_path / "s.json", items=[*ITEMS, {"image": "none.png", "prompt": "What?"}])
    code, _, told = run("study", spec, "--out", tmp_path / "out", *HERE)
    assert code == 1
    assert told.splitlines() == [
        f"failed: none (demo): there is no file {tmp_path / 'none.png'}",
        "run failed items again with --retry",
    ]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["nowhere.yaml", "--out", "out"], "error: there is no file nowhere.yaml"),
        (["spec.json", "--out", "out", *HERE, "--lens", "nonsense"], "there is no lens 'nonsense'"),
        (["spec.json", "--out", "out", *HERE, "--model", "./nowhere"], "nowhere"),
        (["spec.json", "--out", "file"], "cannot make the folder"),
        (["spec.json", "--out", "out", "--ray", "local", "--workers", "0"], "needs workers"),
    ],
)
def test_mistakes_are_told_in_one_line(run, tmp_path, monkeypatch, arguments, told):
    monkeypatch.chdir(tmp_path)
    write_spec(tmp_path / "spec.json", items=ITEMS)
    (tmp_path / "file").write_text("")
    code, _, err = run("study", *arguments)
    assert code == 2
    assert err.count("\n") == 1 and told in err
    assert not list(tmp_path.rglob("*.parquet"))


@pytest.mark.parametrize("ended", [signal.SIGINT, signal.SIGTERM])
def test_a_study_that_is_stopped_says_that_nothing_is_lost(tmp_path, ended):
    spec = write_spec(tmp_path / "s.json", batch=1, items=[{**ITEMS[0], "count": 200}])
    command = [sys.executable, "-c", HEEDING, "study", str(spec), "--out", str(tmp_path / "out")]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    while not list((tmp_path / "out").rglob("items/*/*.parquet")):
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(ended)
    _, told = process.communicate(timeout=300)
    assert (process.returncode, told) == (130, "stopped: nothing is lost, the same command goes on\n")


@pytest.mark.parametrize(("module", "extra"), [("pyarrow", "study"), ("yaml", "study"), ("ray", "ray")])
def test_a_missing_extra_is_named(tmp_path, module, extra):
    spec = write_spec(tmp_path / "spec.json", items=ITEMS)
    code = f"import sys; sys.modules[{module!r}] = None; from patchlens.cli import main; main()"
    more = ("--ray", "local") if module == "ray" else ()
    done = patchlens("study", spec, "--out", tmp_path / "out", *more, code=code)
    assert done.returncode == 2
    assert f"patchlens[{extra}]" in done.stderr and done.stderr.count("\n") == 1


def test_a_model_on_devices_and_with_a_frame_for_its_prompts_works_as_any(run, tmp_path):
    model = {"name": "framed", "load": str(bundled_models()["demo"]), "device_map": "auto"}
    spec = write_spec(
        tmp_path / "spec.json",
        models=[model, {**model, "name": "asked", "ask": "{prompt} What is this?"}],
        items=[{"prompt": "What is red?"}],
    )
    code, _, err = run("study", spec, "--out", tmp_path / "out", *HERE)
    assert (code, err) == (0, "")
    lengths = dict(duckdb.sql(f"SELECT model, positions FROM '{tmp_path}/out/items/**/*.parquet'").fetchall())
    assert lengths["asked"] > lengths["framed"]
    assert set(rows(tmp_path / "out", "items")["prompt"].to_pylist()) == {"What is red?"}
