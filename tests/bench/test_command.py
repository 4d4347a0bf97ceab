"""``patchlens bench`` as people run it, rightly and wrongly."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from bench.test_coco import without_shapes, write_folder
from patchlens import cli
from patchlens.lens.files import write_lens
from patchlens.lens.tuned import TunedLens
from patchlens.run import load

BASELINES = ("attention", "contextual")


@pytest.fixture
def run(monkeypatch, capsys):
    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["patchlens", "bench", *map(str, arguments)])
        try:
            cli.main()
            code = 0
        except SystemExit as exit_:
            code = exit_.code or 0
        out, err = capsys.readouterr()
        return code, out, err

    return run


def test_a_small_run_prints_a_table_and_writes_json_and_page(run, tmp_path: Path) -> None:
    page = tmp_path / "a.html"
    sizes = ("--seeds", 2, "--scenes", 2)
    code, out, err = run("-m", "demo", "--lens", "logit", *sizes, "--html", page)
    assert code == 0, err
    assert "readable, top 5" in out and "attention" in out
    content = json.loads(run("-m", "demo", "--lens", "logit", *sizes, "--json")[1])
    assert [model["model"] for model in content["models"]] == ["demo"]
    assert {lens["lens"] for lens in content["models"][0]["lenses"]} == {"logit", *BASELINES}
    assert content["parameters"]["seeds"] == [50_000_000, 51_000_000]
    assert content["parameters"]["validation_seed"] == 9_000_000
    assert set(content["versions"]) >= {"patchlens", "torch", "transformers", "python"}
    assert "data:image/svg+xml" in page.read_text()


def test_a_fitted_lens_is_scored_from_its_file_and_called_by_its_name(run, tmp_path: Path) -> None:
    adapter = load("demo").adapter
    lens = TunedLens.identity(adapter.n_layers, adapter.d_model)
    path = write_lens(lens, tmp_path / "mine.safetensors", model="demo", unembed=adapter.unembed)
    arguments = ("-m", "demo", "--lens", path, "--seeds", 2, "--scenes", 2)
    code, out, err = run(*arguments)
    assert code == 0, err
    lenses = json.loads(run(*arguments, "--json")[1])["models"][0]["lenses"]
    by_name = {lens["lens"]: {s["metric"]: s["value"] for s in lens["headlines"]} for lens in lenses}
    assert set(by_name) == {"mine.safetensors", "logit", *BASELINES}
    assert str(tmp_path) not in out
    for metric, value in by_name["logit"].items():  # the lens that changes nothing is the logit lens
        assert value["seeds"] == pytest.approx(by_name["mine.safetensors"][metric]["seeds"], abs=1e-3)


def test_a_lens_that_one_model_cannot_take_is_left_out_there_and_said(run) -> None:
    code, out, err = run("--lens", "cross", "--seeds", 2, "--scenes", 2)
    assert code == 0, err
    assert "left out: cross" in out.split("demo-cross")[0]
    assert "left out: contextual" in out.split("demo-cross", 1)[1]
    assert "left out: cross" not in out.split("demo-cross", 1)[1]


def test_a_folder_of_pictures_is_scored(run, tmp_path: Path) -> None:
    write_folder(tmp_path, without_shapes(9))
    code, out, err = run("-m", "demo", "--lens", "logit", "--data", tmp_path, "--seeds", 2)
    assert code == 0, err
    assert "2 pictures for each of 2 seeds" in out
    assert "attention" not in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--seeds", "1"], "1 seeds"),
        (["--scenes", "1"], "1 scenes"),
        (["--lens", "crystal"], "no lens 'crystal'"),
        (["--lens", "cross", "-m", "demo"], "cross"),
        (["-m", "demoo"], "demoo"),
        (["--json", "a.json"], "a.json"),
        (["--html", "nowhere/a.html"], "there is no folder nowhere"),
        (["--data", "nowhere"], "there is no folder nowhere"),
        (["--dtype", "float12"], "float12"),
    ],
)
def test_wrong_arguments_are_one_line(run, arguments, words) -> None:
    code, out, err = run(*arguments)
    assert code == 2 and out == ""
    errors = [line for line in err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and words in errors[0], err


def test_a_page_without_matplotlib_is_refused_before_the_models_run(run, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    code, _, err = run("--html", "a.html")
    assert code == 2 and "patchlens[chart]" in err
