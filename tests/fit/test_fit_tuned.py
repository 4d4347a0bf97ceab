"""A fit from pictures to a lens and its report, on tiny models."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from patchlens.data.item import Item
from patchlens.data.read import read_items
from patchlens.errors import DataError, FitError, OutputError, PatchlensError, PromptError, SelectionError
from patchlens.fit.closed_form import ClosedForm
from patchlens.fit.gather import Gathered
from patchlens.fit.markdown import to_markdown
from patchlens.fit.settings import TunedSettings
from patchlens.fit.states import StateBatch, StateStore
from patchlens.fit.tuned import _Fit, fit_tuned
from patchlens.fit.work import FINGERPRINT, work_folder
from patchlens.lens import LogitLens
from patchlens.lens.files import read_lens, read_manifest
from patchlens.lens.tuned import Translators, TunedLens
from patchlens.progress import silent
from patchlens.run import Model
from pictures_of import folder_of_noise, noise
from tiny import tiny_llama, tiny_llava, tiny_mllama

QUICK = TunedSettings(max_new_tokens=2, strengths=(0.1,))
PICTURES = 10


@pytest.fixture(scope="module")
def model():
    return Model(tiny_llava())


@pytest.fixture(scope="module")
def items(tmp_path_factory):
    return read_items(folder_of_noise(tmp_path_factory.mktemp("pictures"), PICTURES), "what is it?")


@pytest.fixture(scope="module")
def fitted(model, items, tmp_path_factory):
    out = tmp_path_factory.mktemp("fit") / "lens.safetensors"
    return fit_tuned(model, items, QUICK, out=out, about="noise"), out


def test_the_lens_is_written_and_read_through(model, items, fitted):
    result, out = fitted
    lens = read_lens(out, model.adapter.unembed)
    trace = model.trace(noise(77), "what is it?", max_new_tokens=2)
    reading, raw = trace.read(lens), trace.read(LogitLens())
    assert reading.lens == "tuned"
    assert reading.lens_params["data"] == "noise"
    np.testing.assert_allclose(reading.kl_to_final[-1], 0, atol=1e-4)
    assert reading.kl_to_final[:-1].mean() < raw.kl_to_final[:-1].mean()
    assert not work_folder(out).exists()
    assert read_manifest(out).report["control"]["sentence"] == result.report.control.sentence


def test_the_report_is_written_whole(fitted):
    result, out = fitted
    report = json.loads(out.with_suffix(".report.json").read_text())
    assert report["items"] == {"train": 8, "validation": 0, "held_out": 2}
    assert report["excluded"]["first position"] == PICTURES
    assert set(report["kinds"]) == {"text", "patch", "answer"}
    patch = report["kinds"]["patch"]
    assert patch["fitted"] == 8 * 9 and patch["per_dimension"] == 8 * 9 / 32
    assert patch["positions"] == {"held_out": 18, "train": 18}
    text = out.with_suffix(".report.md").read_text()
    assert text == to_markdown(result.report)
    kl = patch["scores"]["held_out"]
    assert f"| 0 | {kl['raw']['kl'][0]:.3f} / {kl['tuned']['kl'][0]:.3f} |" in text
    assert result.report.control.sentence in text


def test_only_train_pictures_are_fitted_on(model, items, fitted):
    """Other held-out pictures, other figures; but the lens is the same."""
    result, _ = fitted
    lens, seen = result.lens, []
    again = fit_tuned(model, items, QUICK, progress=lambda *step, **_: seen.append(step))
    for kind, own in lens.kinds.items():
        assert torch.equal(own.weight, again.lens.kinds[kind].weight)
    assert again.report == replace(result.report, data="10 items")
    held = [i for i, side in enumerate(sides_of(items)) if side == "held_out"]
    swapped = list(items)
    for index in held:
        swapped[index] = replace(items[index], prompt="is there a dog?")
    other = fit_tuned(model, swapped, QUICK)
    for kind, own in lens.kinds.items():
        assert torch.equal(own.weight, other.lens.kinds[kind].weight)
    assert other.report.kinds["text"].scores["held_out"] != result.report.kinds["text"].scores["held_out"]
    assert {what for what, *_ in seen} >= {"looking the data over", "running the model", "fitting the lens"}
    assert all(done <= total for _, done, total, *_ in seen)


def sides_of(items):
    from patchlens.data.item import pixel_digest
    from patchlens.fit.split import groups_of, split

    groups = groups_of([[pixel_digest(picture) for picture in item.open()] for item in items])
    return split(groups, 0.2, 0, validation=False)


def test_each_kind_takes_the_strength_that_is_best_on_validation_states(model):
    adapter = model.adapter
    start = TunedLens.identity(adapter.n_layers, adapter.d_model, form="after_norm")
    worse = {kind: Translators(-own.weight, own.bias) for kind, own in start.kinds.items()}
    solutions = {
        0.1: replace(start, kinds={**start.kinds, "patch": worse["patch"]}),
        1.0: replace(start, kinds={**worse, "patch": start.kinds["patch"]}),
    }
    trace = model.trace(noise(5), "what?", max_new_tokens=2, steps=True)
    validation = [StateBatch(trace.resid, trace.captured.final, tuple(trace.fit_kinds))]

    class Solver(ClosedForm):
        def solve(self, strength=1e-2):
            return solutions[strength]

    solver = Solver(adapter.n_layers, adapter.d_model, adapter.unembed)
    fit = _Fit(adapter, Gathered(StateStore(Path()), (), ()), QUICK, silent)
    lens, chosen = fit._strongest(solver, validation, [0.1, 1.0])
    assert chosen == {"text": 0.1, "patch": 1.0, "answer": 0.1}
    assert all(torch.equal(lens.kinds[kind].weight, own.weight) for kind, own in start.kinds.items())


def test_a_lens_is_refined_on_validation_pictures(model, items):
    told = []
    refined = fit_tuned(
        model,
        items,
        replace(QUICK, method="gradient", epochs=2),
        progress=lambda what, done, total, note="": told.append((what, note)),
    )
    assert refined.report.items == {"train": 7, "validation": 1, "held_out": 2}
    assert refined.lens.how == "closed_form+gradient"
    assert any(what == "refining the lens" and "nats" in note for what, note in told)
    assert refined.report.control is None  # one validation picture has no other to be paired with
    assert any("control" in note for note in refined.report.notes)


def test_models_without_patch_positions_and_texts_are_fitted_too(tmp_path):
    cross = fit_tuned(Model(tiny_mllama()), [Item(str(i), "what?", (noise(i),)) for i in range(5)], QUICK)
    assert set(cross.lens.kinds) == {"text", "answer"}
    texts = [Item(str(i), f"a red cat and {i} dogs sit on the sand near the water") for i in range(5)]
    assert set(fit_tuned(Model(tiny_llama()), texts, QUICK).lens.kinds) == {"text", "answer"}
    with pytest.raises(FitError, match="no patch positions"):
        patches = replace(QUICK, kinds=("patch", "text"))
        fit_tuned(Model(tiny_llama()), texts, patches, out=tmp_path / "lens.safetensors")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"strengths": ()}, "strength"),
        ({"strengths": (0.0,)}, "strength"),
        ({"strengths": (float("nan"),)}, "strength"),
        ({"patches": 0}, "at least 1"),
        ({"held_out": 1.5}, "between 0 and 1"),
        ({"epochs": 0}, "1 or more"),
        ({"rate": 0.0}, "above 0"),
        ({"patience": 0}, "1 or more"),
        ({"max_new_tokens": -1}, "0 or more"),
    ],
)
def test_wrong_settings_are_refused(changed, words):
    with pytest.raises(SelectionError, match=words):
        replace(QUICK, **changed)


def test_what_cannot_be_fitted_is_refused_before_the_model_runs(model, items, tmp_path, monkeypatch):
    monkeypatch.setattr(Model, "trace", None)
    wrong = Item("data.jsonl:7", "<image> and <image>", (noise(1),))
    cases = [
        (items[:1], QUICK, {}, DataError, "1 different pictures"),
        ([items[0]] * 9, QUICK, {}, DataError, "1 different pictures"),
        ([*items, wrong], QUICK, {}, PromptError, "data.jsonl:7"),
        ([*items, Item("x", "", (noise(1),))], QUICK, {}, PromptError, "x: "),
        (items, QUICK, {"disk_gb": 1e-6}, OutputError, "--disk-gb"),
    ]
    for data, settings, options, error, words in cases:
        with pytest.raises(error, match=words) as caught:
            fit_tuned(model, data, settings, out=tmp_path / "a.safetensors", **options)
        assert "\n" not in str(caught.value)
        assert list(tmp_path.iterdir()) == []


def test_patches_are_thinned_to_fit(model, items):
    thin = fit_tuned(model, items, replace(QUICK, patches=2), disk_gb=0.0006)
    assert thin.report.kinds["patch"].fitted == 16
    assert thin.report.excluded["patch beyond the number kept"] == 7 * PICTURES


class StoppedError(Exception):
    pass


def stop(model, items, out, settings=QUICK, after=3):
    def tell(what, done, total, note=""):
        if what == "running the model" and done == after:
            raise StoppedError

    with pytest.raises(StoppedError):
        fit_tuned(model, items, settings, out=out, progress=tell)


def test_a_changed_argument_model_or_data_is_noticed(model, items, tmp_path):
    out = tmp_path / "lens.safetensors"
    stop(model, items, out)
    kept = sorted(path.name for path in work_folder(out).rglob("*"))
    other_weights = Model(tiny_llava(seed=1))
    for changed, words in (
        ((model, items, replace(QUICK, seed=4)), "seed was 0, now 4"),
        ((model, items, replace(QUICK, kinds=("text",))), "kinds was None, now 'text'"),
        ((model, items[1:], QUICK), r"data was '?[0-9a-f]{8}\.\., now"),
        ((other_weights, items, QUICK), r"weights was '?[0-9a-f]{8}\.\., now"),
    ):
        with pytest.raises(DataError, match=words) as caught:
            fit_tuned(*changed, out=out)
        assert "\n" not in str(caught.value)
        assert sorted(path.name for path in work_folder(out).rglob("*")) == kept
    assert FINGERPRINT in kept and "0000002.safetensors" in kept


def test_a_stopped_fit_goes_on(model, items, fitted, tmp_path, monkeypatch):
    out = tmp_path / "lens.safetensors"
    stop(model, items, out, after=3)
    traced, trace = [], Model.trace
    monkeypatch.setattr(Model, "trace", lambda *a, **k: traced.append(1) or trace(*a, **k))
    fit_tuned(model, items, QUICK, out=out, about="noise")
    assert len(traced) == PICTURES - 3
    for suffix in (".safetensors", ".report.json", ".report.md"):
        assert out.with_suffix(suffix).read_bytes() == fitted[1].with_suffix(suffix).read_bytes()
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".json", ".md", ".safetensors"]


def test_a_foreign_folder_is_left_alone(model, items, tmp_path):
    out = tmp_path / "lens.safetensors"
    work_folder(out).mkdir()
    (work_folder(out) / "mine.txt").write_text("precious")
    with pytest.raises(PatchlensError, match="not the folder of a fit"):
        fit_tuned(model, items, QUICK, out=out)
    assert (work_folder(out) / "mine.txt").read_text() == "precious"
