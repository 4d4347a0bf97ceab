"""Each research question of examples/python runs as it stands, uses only ``pl.``, and finds what is there."""

import ast
import runpy
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).parents[1] / "examples" / "python"
SCRIPTS = sorted(FOLDER.glob("*.py"))


@pytest.fixture
def names(request, capsys):
    found = runpy.run_path(str(FOLDER / f"{request.param}.py"))
    found["printed"] = capsys.readouterr().out
    assert found["printed"].strip()
    return found


def of(script):
    return pytest.mark.parametrize("names", [script], indirect=True, ids=[script])


@of("emergence")
def test_five_animals_emerge(names):
    assert len(names["layers"]) == 5
    assert all(0 <= layer <= 8 for layer in names["layers"].values())


@of("what_carries_the_answer")
def test_the_answer_rests_on_few_patches(names):
    ablation = names["ablation"]
    assert ablation.flips and ablation.p < 0.05 and ablation.control_flips == 0
    assert np.isfinite(names["causal_map"]).all()


@of("german_before_english")
def test_the_answer_is_german(names):
    layers = names["layers"]
    assert layers["Fahrrad"]["answer"] is not None
    assert layers["bicycle"]["patches"] is not None


@of("attention_on_the_picture")
def test_attention_falls_on_the_picture(names):
    assert names["frame"].patch.between(0, 1).all() and names["frame"].patch.max() > 0.3


@of("tuned_against_raw")
def test_the_tuned_lens_is_nearer_to_the_end(names):
    assert names["summary"].kl_to_final.iloc[0] < 0
    assert names["summary"].agrees.iloc[-1] == 1


@of("ablate_the_object")
def test_the_object_is_needed(names):
    assert names["changed"].answer.text != names["trace"].answer.text == "cat"


@of("picture_or_text")
def test_the_answer_needs_the_picture(names):
    assert names["effects"].change[0] < -1
    assert names["text_alone"].answer.text != names["with_picture"].answer.text


@of("own_lens")
def test_ones_own_lens_reads_the_answer_at_the_last_layer(names):
    assert names["own"].lens == "centred"
    assert names["own"].top(-1)[0].piece == names["raw"].top(-1)[0].piece


def test_every_script_is_tested_short_and_uses_only_pl():
    tested = Path(__file__).read_text()
    assert len(SCRIPTS) == 8
    for script in SCRIPTS:
        assert f'@of("{script.stem}")' in tested
        text = script.read_text()
        assert 8 <= len(text.splitlines()) <= 30
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ImportFrom):
                raise AssertionError(f"{script.name} imports from {node.module}")
            if isinstance(node, ast.Import):
                assert {alias.name for alias in node.names} <= {"patchlens", "numpy"}
