import errno
import json
import shutil

import numpy as np
import pyarrow as pa
import pytest
from small_study import content, leftovers, noise_picture, rows, write_spec

from patchlens import files
from patchlens.errors import OutputError, PatchlensError, StudyError
from patchlens.lens import CrossLens
from patchlens.reading.store import open_reading
from patchlens.run import load
from patchlens.studies.folder import StudyFolder
from patchlens.studies.pools.here import Here
from patchlens.studies.recipe.study import read_study
from patchlens.studies.schema import TABLES
from patchlens.studies.study import run_study
from patchlens.studies.work.worker import Worker

SCENES = {"scenes": "one", "count": 3, "ask": "what", "language": "en", "group": "one", "concepts": "truth"}
TEXT = {"prompt": "What is the colour of grass?", "name": "text", "expected": "green", "group": "text"}


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    """A study with everything in it, and its folder."""
    folder = tmp_path_factory.mktemp("full")
    spec = write_spec(
        folder / "spec.json",
        lenses=["logit", "latent", "cross"],
        attention=True,
        effects=True,
        readings=True,
        channels=["contribution", "attention", "contextual"],
        top_k=4,
        items=[SCENES, TEXT],
    )
    study = read_study(spec)
    return study, run_study(study, folder / "out")


def test_every_table_has_the_columns_it_should(full):
    _, outcome = full
    for table in TABLES:
        found = rows(outcome.folder, table.name)
        assert set(found.schema.names) == {*table.schema.names, *table.partitions}
        for field in table.schema:
            assert field.nullable or found[field.name].null_count == 0, field.name


def test_every_item_is_once_in_every_lens(full):
    study, outcome = full
    assert outcome.done == {"demo": 4} and not outcome.failures
    assert rows(outcome.folder, "items")["item"].to_pylist() == [item.name for item in study.items]
    cells = rows(outcome.folder, "cells").to_pandas()
    assert set(cells["lens"]) == {"logit", "latent"}
    assert not cells.duplicated(["item", "lens", "layer", "position"]).any()
    assert cells.groupby("lens", observed=True)["item"].nunique().eq(4).all()
    assert "cross-attention" in outcome.left_out["demo"]["cross"]


def test_cells_hold_what_a_reading_of_the_item_alone_holds(full):
    study, outcome = full
    item = study.items[0]
    trace = load("demo").trace(item.ship()[0].open(), item.prompt, steps=True)
    reading = trace.read(top_k=4)
    cells = rows(outcome.folder, "cells").to_pandas()
    own = cells[(cells["item"] == item.name) & (cells["lens"] == "logit")]
    n_layers, n_positions, _ = reading.top_ids.shape
    assert len(own) == n_layers * n_positions
    np.testing.assert_allclose(own["entropy"], reading.entropy.reshape(-1), atol=2e-4)
    np.testing.assert_allclose(own["kl_to_final"], reading.kl_to_final.reshape(-1), atol=2e-4)
    assert (np.stack(own["top_ids"])[:, 0] == reading.top_ids[..., 0].reshape(-1)).mean() > 0.999
    first = own.iloc[0]
    assert list(first["top_pieces"]) == [reading.pieces[token] for token in first["top_ids"]]
    patch = own[(own["kind"] == "patch") & (own["layer"] == 3)].iloc[12]
    row = reading.patch_row(int(patch["row"]), int(patch["col"]))
    assert patch["position"] == reading.positions.index[row]
    at_answer = own[own["step"] == 0]
    exact = trace.read(targets=[trace.answer.ids[0]]).target_logprobs[:, trace.inputs.n_prompt - 1, 0]
    np.testing.assert_allclose(at_answer["answer_logprob"], exact, atol=2e-4)
    assert at_answer["answer_rank"].iloc[-1] == 0
    assert own[own["step"].isna()]["answer_logprob"].isna().all()


def test_every_step_of_an_answer_has_the_log_probability_of_its_own_token(tmp_path):
    scenes = {"scenes": "several", "count": 1, "ask": "caption", "language": "en"}
    study = read_study(small(tmp_path, items=[scenes], max_new_tokens=8))
    run_study(study, tmp_path / "out")
    item = study.items[0]
    trace = load("demo").trace(item.ship()[0].open(), item.prompt, steps=True, max_new_tokens=8)
    ids = trace.answer.ids
    assert len(set(ids)) > 3
    reading = trace.read(targets=tuple(dict.fromkeys(ids)))
    column = [target.token for target in reading.targets]
    cells = rows(tmp_path / "out", "cells").to_pandas()
    for step, token in enumerate(ids):
        own = cells[cells["step"] == step].sort_values("layer")
        row, place = reading.step_row(step), column.index(token)
        np.testing.assert_allclose(own["answer_logprob"], reading.target_logprobs[:, row, place], atol=2e-3)
        assert (own["answer_rank"] - reading.target_ranks[:, row, place]).abs().max() <= 1


def test_shares_of_attention_are_those_of_the_account_and_sum_to_one(full):
    study, outcome = full
    item = study.items[1]
    account = load("demo").trace(item.ship()[0].open(), item.prompt, steps=True).attend("answer")
    cells = rows(outcome.folder, "cells").to_pandas()
    own = cells[(cells["item"] == item.name) & (cells["lens"] == "logit") & (cells["step"] == 0)]
    np.testing.assert_allclose(own["attention_patch"].iloc[1:], account.share()[:, :, 0].mean(1), atol=1e-4)
    shares = own.filter(like="attention_").iloc[1:].to_numpy(float)
    np.testing.assert_allclose(shares.sum(1), 1, atol=1e-5)
    assert own["attention_patch"].iloc[[0]].isna().all()


def test_words_are_followed_where_they_can_be_read(full):
    study, outcome = full
    targets = rows(outcome.folder, "targets").to_pandas()
    item = study.items[0]
    own = targets[(targets["item"] == item.name) & (targets["lens"] == "logit")]
    assert set(own["source"]) == {"answer", "expected", "concept"}
    forms = own[own["source"] == "concept"]
    assert set(forms["concept"]) == set(item.concepts)
    assert {"en", "de", "zh"} <= set(forms["language"].dropna())
    assert set(own["kind"]) <= {"patch", "text", "special"}
    assert ((own["kind"] == "patch") | own["step"].notna()).all()
    said = own[(own["source"] == "answer") & (own["step"] == 0)].sort_values("layer")
    cells = rows(outcome.folder, "cells").to_pandas()
    cell = cells[(cells["item"] == item.name) & (cells["lens"] == "logit") & (cells["step"] == 0)]
    np.testing.assert_allclose(said["logprob"], cell.sort_values("layer")["answer_logprob"])


def test_effects_have_their_control_and_channels_their_columns(full):
    _, outcome = full
    effects = rows(outcome.folder, "effects").to_pandas()
    pointed = effects[effects["change"] == "pointed"]
    assert len(pointed) == 6 and pointed["control"].notna().all() and (pointed["patches"] == 10).all()
    assert pointed["effect"].mean() < pointed["control"].mean()
    every = effects[effects["change"] == "all"]
    assert every["control"].isna().all() and (every["effect"] < 0).all()
    cells = rows(outcome.folder, "cells").to_pandas()
    for name in ("contribution", "attention", "contextual"):
        assert cells[cells["kind"] == "patch"][name].notna().any(), name


def test_readings_are_kept_as_files(full):
    study, outcome = full
    folder = StudyFolder(outcome.folder)
    for item in study.items:
        reading = open_reading(folder.reading("demo", "logit", item.name))
        assert reading.prompt == item.prompt


def test_right_is_told_of_what_was_expected(full):
    _, outcome = full
    items = rows(outcome.folder, "items").to_pandas()
    assert items["right"].iloc[:3].all()
    assert not items["right"].iloc[3]


def small(folder, **more):
    content = {"positions": "answer", "max_new_tokens": 3, "batch": 2, "items": [{**SCENES, "count": 4}]}
    return write_spec(folder / "spec.json", **{**content, **more})


def test_run_again_it_does_nothing_twice(tmp_path, monkeypatch):
    study = read_study(small(tmp_path))
    run_study(study, tmp_path / "out")
    before = content(tmp_path / "out")
    monkeypatch.setattr(Worker, "run", lambda *_: pytest.fail("there was nothing left to do"))
    assert run_study(study, tmp_path / "out").done == {"demo": 4}
    assert content(tmp_path / "out") == before


def test_what_fails_is_listed_with_its_reason_and_can_be_retried(tmp_path):
    broken, missing = tmp_path / "broken.png", tmp_path / "missing.png"
    broken.write_bytes(noise_picture(tmp_path / "good.png").read_bytes()[:100])
    entries = [
        {"image": "good.png", "prompt": "What is this?"},
        {"image": "broken.png", "prompt": "What is this?"},
        {"image": "missing.png", "prompt": "What is this?"},
        {"image": "good.png", "prompt": "word " * 2000, "name": "long"},
    ]
    study = read_study(small(tmp_path, items=entries))
    outcome = run_study(study, tmp_path / "out")
    reasons = {one.item: one.reason for one in outcome.failures}
    assert outcome.done == {"demo": 1}
    assert "damaged or cut short" in reasons["broken"]
    assert "there is no file" in reasons["missing"]
    assert "positions" in reasons["long"]
    assert set(rows(tmp_path / "out", "cells")["item"].to_pylist()) == {"good"}

    for path in (broken, missing):
        shutil.copy(tmp_path / "good.png", path)
    assert run_study(study, tmp_path / "out").done == {"demo": 1}
    assert run_study(study, tmp_path / "out", retry=True).done == {"demo": 3}
    fresh = run_study(study, tmp_path / "fresh")
    assert [one.item for one in fresh.failures] == ["long"]
    items = rows(tmp_path / "out", "items")["item"].to_pylist()
    assert items == [item.name for item in study.items]
    got, expected = (rows(tmp_path / name, "cells").to_pandas() for name in ("out", "fresh"))
    assert got[["item", "layer", "position"]].equals(expected[["item", "layer", "position"]])
    np.testing.assert_allclose(got["entropy"], expected["entropy"], atol=1e-4)


def test_a_retry_that_is_stopped_leaves_no_item_failed_beside_its_rows(tmp_path, monkeypatch):
    noise_picture(tmp_path / "good.png")
    entries = [{"image": name, "prompt": "What is this?"} for name in ("good.png", "late.png")]
    study = read_study(small(tmp_path, items=entries))
    run_study(study, tmp_path / "out")
    shutil.copy(tmp_path / "good.png", tmp_path / "late.png")
    original = StudyFolder._write

    def stopped(self, path, data):
        original(self, path, data)
        if "targets" in str(path):
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(StudyFolder, "_write", stopped)
        with pytest.raises(KeyboardInterrupt):
            run_study(study, tmp_path / "out", retry=True)
    assert rows(tmp_path / "out", "items")["item"].to_pylist() == ["good"]
    assert run_study(study, tmp_path / "out").done == {"demo": 2}
    cells = rows(tmp_path / "out", "cells").to_pandas()
    assert not cells.duplicated(["item", "lens", "layer", "position"]).any()


def test_one_item_that_takes_too_much_memory_does_not_cost_the_others(tmp_path, monkeypatch):
    study = read_study(small(tmp_path))
    heavy = study.items[1].name
    original = Worker._seen

    def short(self, job, trace):
        if job.item.name == heavy:
            raise MemoryError
        return original(self, job, trace)

    monkeypatch.setattr(Worker, "_seen", short)
    outcome = run_study(study, tmp_path / "out")
    assert [(one.item, one.reason) for one in outcome.failures] == [(heavy, "out of memory")]
    assert outcome.done == {"demo": 3}


def test_a_pass_that_fails_for_a_batch_is_tried_item_by_item(tmp_path, monkeypatch):
    study = read_study(small(tmp_path, items=[{"prompt": "What is red?"}, {"prompt": "What is snow?"}]))
    original, sizes = Worker._traced, []

    def short(self, batch):
        sizes.append(len(batch))
        if len(batch) > 1:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")
        return original(self, batch)

    monkeypatch.setattr(Worker, "_traced", short)
    assert run_study(study, tmp_path / "out").done == {"demo": 2}
    assert sizes == [2, 1, 1]


def test_a_full_disk_stops_the_study_and_loses_nothing(tmp_path, monkeypatch):
    study = read_study(small(tmp_path))
    run_study(study, tmp_path / "whole")
    written = 0
    original = files.os.fsync

    def full(descriptor):
        nonlocal written
        written += 1
        if written == 6:
            raise OSError(errno.ENOSPC, "No space left on device")
        return original(descriptor)

    with monkeypatch.context() as patched:
        patched.setattr(files.os, "fsync", full)
        with pytest.raises(OutputError, match="No space left"):
            run_study(study, tmp_path / "out")
    assert not leftovers(tmp_path / "out")
    assert run_study(study, tmp_path / "out").done == {"demo": 4}
    assert content(tmp_path / "out") == content(tmp_path / "whole")


def changed(folder, **more):
    return read_study(small(folder, **more))


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"top_k": 3}, "settings top_k was 10, now 3"),
        ({"lenses": ["tuned"]}, "lenses 1 name was 'logit', now 'tuned'"),
        ({"items": [{**SCENES, "count": 3}]}, "items was 4 of them, now 3 of them"),
        ({"items": [{**SCENES, "count": 4, "group": "b"}]}, "items 1 group was 'one', now 'b'"),
    ],
)
def test_a_changed_spec_is_noticed(tmp_path, more, told):
    run_study(changed(tmp_path), tmp_path / "out")
    with pytest.raises(StudyError, match=told):
        run_study(changed(tmp_path, **more), tmp_path / "out")


def test_a_changed_version_is_noticed(tmp_path, monkeypatch):
    run_study(changed(tmp_path), tmp_path / "out")
    monkeypatch.setattr("patchlens.studies.study.package_versions", lambda *_: {"torch": "9.9", "python": ""})
    with pytest.raises(StudyError, match=r"versions patchlens was '.*', now None; versions torch was"):
        run_study(changed(tmp_path), tmp_path / "out")


def test_changed_weights_of_the_same_name_are_noticed(tmp_path):
    folder = tmp_path / "model"
    from patchlens.demo import bundled_models

    shutil.copytree(bundled_models()["demo"], folder)
    items = [{"prompt": "What is red?"}, {"image": "missing.png", "prompt": "What is this?"}]
    study = read_study(small(tmp_path, models=["model"], items=items))
    run_study(study, tmp_path / "out")
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    save_file({name: w * 1.01 for name, w in weights.items()}, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(StudyError, match="model weights was"):
        run_study(study, tmp_path / "out", retry=True)


def test_a_changed_picture_is_noticed(tmp_path):
    noise_picture(tmp_path / "a.png", 0)
    study = read_study(small(tmp_path, items=[{"image": "a.png", "prompt": "What is this?"}]))
    run_study(study, tmp_path / "out")
    noise_picture(tmp_path / "a.png", 1)
    with pytest.raises(StudyError, match="a picture of 'a' changed"):
        run_study(study, tmp_path / "out")


def test_a_study_may_be_moved(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    noise_picture(first / "a.png")
    (first / "words.tsv").write_text("key\tsort\ten\n")
    items = [{"image": "a.png", "prompt": "What is this?"}]
    study = read_study(small(first, items=items, dictionary="words.tsv"))
    run_study(study, first / "out")
    shutil.move(first, second)
    assert run_study(read_study(second / "spec.json"), second / "out").done == {"demo": 1}


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("mine")
    with pytest.raises(StudyError, match="holds no study"):
        run_study(read_study(small(tmp_path)), tmp_path / "out")
    assert (tmp_path / "out" / "thesis.txt").read_text() == "mine"


def test_two_at_once_are_not_let_in(tmp_path):
    folder = StudyFolder(tmp_path / "out")
    with folder.locked(), pytest.raises(StudyError, match="another process"):
        run_study(read_study(small(tmp_path)), tmp_path / "out")
    assert run_study(read_study(small(tmp_path)), tmp_path / "out").done == {"demo": 4}


def test_a_damaged_part_is_named(tmp_path):
    study = read_study(small(tmp_path))
    run_study(study, tmp_path / "out")
    part = next((tmp_path / "out" / "items").rglob("*.parquet"))
    part.write_bytes(part.read_bytes()[:50])
    with pytest.raises(StudyError, match=r"part-0000\d.parquet is damaged"):
        run_study(study, tmp_path / "out")
    part.unlink()
    assert run_study(study, tmp_path / "out").done == {"demo": 4}


def test_names_with_slashes_and_dots_stay_in_the_folder(tmp_path):
    entries = [{"prompt": "What is red?", "name": name} for name in ("../../x", ".hidden", "猫/狗", "a%2Fb")]
    from patchlens.demo import bundled_models

    models = [{"name": "some/model", "load": str(bundled_models()["demo"])}]
    study = read_study(small(tmp_path, models=models, items=entries, readings=True))
    outcome = run_study(study, tmp_path / "out")
    assert outcome.done == {"some/model": 4}
    assert len(list((tmp_path / "out" / "readings").rglob("*.safetensors"))) == 4
    assert set(rows(tmp_path / "out", "items")["model"].to_pylist()) == {"some/model"}
    assert {path.name for path in tmp_path.iterdir()} == {"spec.json", "out"}


def test_a_lens_for_pictures_is_noted_where_there_is_none(tmp_path):
    study = read_study(
        small(tmp_path, models=["demo-cross"], lenses=["logit", "cross"], items=[{"prompt": "What is red?"}])
    )
    outcome = run_study(study, tmp_path / "out")
    assert outcome.done == {"demo-cross": 1}
    assert any("not read through cross" in note for note in rows(outcome.folder, "items")["notes"][0].as_py())
    assert set(rows(outcome.folder, "cells")["lens"].to_pylist()) == {"logit"}


def test_progress_is_told(tmp_path):
    told = []
    study = read_study(small(tmp_path))
    run_study(study, tmp_path / "out", tell=lambda *args: told.append(args))
    assert [(what, done, total) for what, done, total, _ in told] == [
        ("demo", 0, 4),
        ("demo", 2, 4),
        ("demo", 4, 4),
    ]
    assert told[-1][3].endswith("items/s")


@pytest.mark.parametrize("more", [{"lenses": ["tunde"]}, {"models": ["demoo"]}, {"top_k": 100_000}])
def test_a_mistake_that_is_seen_before_anything_is_read_binds_nothing(tmp_path, more):
    with pytest.raises(PatchlensError):
        run_study(changed(tmp_path, **more), tmp_path / "out")
    assert run_study(changed(tmp_path), tmp_path / "out").done == {"demo": 4}


def test_a_channel_that_cannot_be_had_costs_no_lens(tmp_path):
    more = {"models": ["demo-cross"], "channels": ["contribution", "contextual"], "positions": "all"}
    study = read_study(small(tmp_path, lenses=["logit", "cross"], **more))
    outcome = run_study(study, tmp_path / "out")
    assert outcome.done == {"demo-cross": 4}
    cells = rows(outcome.folder, "cells").to_pandas()
    assert set(cells["lens"]) == {"logit", "cross"}
    assert cells[cells["lens"] == "cross"]["contribution"].notna().any()
    notes = rows(outcome.folder, "items")["notes"][0].as_py()
    assert any("vision states alone: read through cross" in note for note in notes)
    assert any("no channel contextual" in note for note in notes)


def test_an_item_that_no_lens_reads_fails(tmp_path):
    items = [{"prompt": "What is red?"}, {**SCENES, "count": 1}]
    study = read_study(small(tmp_path, models=["demo-cross"], lenses=["cross"], items=items))
    outcome = run_study(study, tmp_path / "out")
    assert outcome.done == {"demo-cross": 1}
    assert "read through none of the lenses: cross: " in outcome.failures[0].reason


def test_long_names_and_those_of_other_writing_have_files(tmp_path):
    names = ["猫" * 60, "a" * 300, "a" * 300 + "b", 'q"uo<t>e?*']
    items = [{"prompt": "What is red?", "name": name} for name in names]
    outcome = run_study(read_study(small(tmp_path, readings=True, items=items)), tmp_path / "out")
    assert outcome.done == {"demo": 4}
    assert len(list((tmp_path / "out" / "readings").rglob("*.safetensors"))) == 4


def test_a_part_with_a_file_missing_is_made_again(tmp_path):
    study = read_study(small(tmp_path))
    run_study(study, tmp_path / "out")
    before = content(tmp_path / "out")
    next((tmp_path / "out" / "cells").rglob("*.parquet")).unlink()
    assert run_study(study, tmp_path / "out").done == {"demo": 4}
    assert content(tmp_path / "out") == before


def test_another_name_of_the_same_study_goes_on(tmp_path):
    run_study(changed(tmp_path), tmp_path / "out")
    assert run_study(changed(tmp_path, name="renamed"), tmp_path / "out").done == {"demo": 4}


def test_the_manifest_says_what_was_asked(tmp_path):
    run_study(read_study(small(tmp_path)), tmp_path / "out")
    manifest = json.loads((tmp_path / "out" / "study.json").read_text())
    assert manifest["format_version"] == 1
    assert len(manifest["items"]) == 4
    assert manifest["about"]["demo"]["model"]["n_layers"] == 8
    assert set(manifest["versions"]) == {"patchlens", "torch", "transformers"}


def test_here_is_one_worker_that_serves_a_model_at_a_time(tmp_path):
    opened = []
    study = read_study(small(tmp_path, models=["demo", "demo-cross"]))

    def opening(bench):
        opened.append(bench.model.name)
        return Here(bench)

    assert run_study(study, tmp_path / "out", open_pool=opening).done == {"demo": 4, "demo-cross": 4}
    assert opened == ["demo", "demo-cross"]


def test_parts_of_all_models_have_one_schema(full):
    _, outcome = full
    for table in TABLES:
        schemas = {pa.parquet.read_schema(path) for path in (outcome.folder / table.name).rglob("*.parquet")}
        assert len(schemas) == 1


def test_patches_of_a_cross_attention_model_are_those_of_its_cross_lens(tmp_path):
    more = {"models": ["demo-cross"], "lenses": ["cross", "logit"], "positions": "all", "attention": True}
    study = read_study(small(tmp_path, items=[{**SCENES, "count": 1}], **more))
    outcome = run_study(study, tmp_path / "out")
    cells = rows(outcome.folder, "cells").to_pandas()
    assert set(cells[cells["kind"] == "patch"]["lens"]) == {"cross"}
    item = study.items[0]
    trace = load("demo-cross").trace(item.ship()[0].open(), item.prompt, steps=True, max_new_tokens=3)
    reading = trace.read(CrossLens())
    own = cells[(cells["lens"] == "cross") & (cells["kind"] == "patch")]
    expected = reading.entropy[:, reading.positions.kind == "patch"]
    np.testing.assert_allclose(own["entropy"], expected.reshape(-1), atol=1e-4)
    assert (own["row"].max(), own["col"].max()) == (reading.positions.row.max(), reading.positions.col.max())
    account = trace.attend("steps" if len(trace.answer.ids) > 1 else "answer")
    seen = cells[(cells["lens"] == "logit") & (cells["step"] == 0)].set_index("layer")["attention_patch"]
    for layer in account.layers:
        share = float(account.chosen(account.at(layer).shares)[0, 0])
        assert seen[layer] == pytest.approx(share, abs=1e-4)
    assert seen[account.looking[0].layer] > 0.5
    through = cells[cells["lens"] == "cross"]
    known = through[through["attention_patch"].notna()]
    assert set(known["layer"]) == {block.layer for block in account.looking} and known["step"].notna().all()
    assert through[through["kind"] == "patch"][["attention_patch", "position"]].isna().all().all()
    at_answer = cells[cells["step"] == 0].groupby("lens", observed=True)["position"].first()
    assert at_answer["cross"] == at_answer["logit"] == trace.inputs.n_prompt - 1
