"""Masks and folders in the format of COCO."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from patchlens.bench.exam import Exam, PictureBatch, annotated_exam, drawn
from patchlens.bench.examine import Examinee, Tallies, examine, try_lenses
from patchlens.data.coco import decode_runs, fill_polygon
from patchlens.data.words import scene_forms
from patchlens.errors import DataError, SelectionError
from patchlens.lens import LogitLens
from patchlens.run import load
from patchlens.scenes.truth import Labelled
from patchlens.scenes.vocabulary import OBJECTS, names

# What the format's own tools write for the masks drawn below.
SMALL = "01f02^O00000<"
LARGE = (
    "Z[2j2n0000000000000000000TNF::FF::FF::FF::FF::b100000000000000000000000000000000000000000000000000000000"
    "000000000000fZ2"
)


def runs_of(mask: np.ndarray) -> list[int]:
    """Run lengths down the columns, the first of zeros."""
    flat = np.concatenate([[False], mask.T.reshape(-1)])
    starts = np.flatnonzero(flat[1:] != flat[:-1])
    return np.diff([0, *starts, mask.size]).tolist()


def test_compressed_masks_that_others_wrote_are_read() -> None:
    small = np.zeros((7, 9), bool)
    small[2:5, 3:7] = small[0, 0] = True
    np.testing.assert_array_equal(decode_runs(SMALL, 7, 9), small)
    large = np.zeros((120, 90), bool)
    large[10:100, 20:70] = True
    large[40:60, 30:35] = False
    np.testing.assert_array_equal(decode_runs(LARGE, 120, 90), large)


def test_plain_run_lengths_are_read() -> None:
    mask = np.random.default_rng(0).random((11, 6)) < 0.5
    np.testing.assert_array_equal(decode_runs(runs_of(mask), 11, 6), mask)
    mask[0, 0] = True
    assert runs_of(mask)[0] == 0
    np.testing.assert_array_equal(decode_runs(runs_of(mask), 11, 6), mask)


@pytest.mark.parametrize("counts", [[10], [70, -7], "01f02^O0000", "01f02^O00000\x7f", "P", "o" * 40, [], ""])
def test_run_lengths_that_do_not_fit_are_refused(counts: str | list[int]) -> None:
    with pytest.raises(DataError):
        decode_runs(counts, 7, 9)


def test_a_polygon_holds_the_pixels_whose_centre_it_holds() -> None:
    square = fill_polygon([1, 1, 4, 1, 4, 3, 1, 3], 5, 6)
    expected = np.zeros((5, 6), bool)
    expected[1:3, 1:4] = True
    np.testing.assert_array_equal(square, expected)
    rng = np.random.default_rng(4)
    points = np.array([[50, 5], [95, 60], [60, 50], [20, 90], [30, 30]]) + rng.uniform(-0.3, 0.3, (5, 2))
    large = Image.new("1", (1600, 1600))
    ImageDraw.Draw(large).polygon([tuple(p) for p in points * 16], fill=1)
    centres = np.asarray(large)[8::16, 8::16]
    assert (fill_polygon(points.reshape(-1).tolist(), 100, 100) != centres).mean() < 0.002


def test_a_polygon_that_leaves_the_picture_is_cut() -> None:
    assert fill_polygon([-5, -5, 20, -5, 20, 20, -5, 20], 4, 4).all()
    assert not fill_polygon([10, 0, 20, 0, 20, 4, 10, 4], 4, 4).any()
    for wrong in ([0, 0, 1, 1], [0, 0, 1, 1, 2], [0, 0, 1, 1, float("nan"), 2]):
        with pytest.raises(DataError):
            fill_polygon(wrong, 4, 4)


def write_folder(folder: Path, pictures: list[Labelled]) -> None:
    ids = {concept.key: n + 1 for n, concept in enumerate(OBJECTS)}
    content = {
        "images": [],
        "annotations": [],
        "categories": [{"id": ids[c.key], "name": c.key, "names": names(c.key)} for c in OBJECTS],
    }
    for number, picture in enumerate(pictures):
        Image.fromarray(picture.picture).save(folder / f"{number}.png")
        size = {"width": 140, "height": 140}
        content["images"].append({"id": number, "file_name": f"{number}.png", **size})
        content["annotations"] += [
            {
                "image_id": number,
                "category_id": ids[thing.name],
                "segmentation": {"size": [140, 140], "counts": runs_of(thing.mask)},
            }
            for thing in picture.things
        ]
    (folder / "annotations.json").write_text(json.dumps(content))


def without_shapes(count: int) -> list[Labelled]:
    found = [drawn(seed) for seed in range(50_000_000, 50_000_000 + 6 * count)]
    objects = {concept.key for concept in OBJECTS}
    return [p for p in found if p.things and {t.name for t in p.things} <= objects][:count]


def tallied(exam: Exam, batch: PictureBatch) -> Tallies:
    examinee = Examinee.of(load("demo"), exam)
    candidates = try_lenses(examinee, {"logit": LogitLens()}, batch.pictures[0]())
    return examine(examinee, candidates, batch, lambda: None, nulls=False)["logit"]


def test_a_folder_of_drawn_scenes_scores_as_the_scenes_themselves(tmp_path: Path) -> None:
    pictures = without_shapes(8)
    write_folder(tmp_path, pictures)
    exam = annotated_exam(tmp_path, 2, 20, "What is this?")
    batch = exam.seeds[0]
    opened = [make() for make in batch.pictures]
    own = [pictures[int(p.name.removesuffix(".png"))] for p in opened]
    forms = {concept.key: names(concept.key) for concept in OBJECTS}
    things = tuple(forms)
    same = [Labelled(p.name, p.picture, p.things, p.ground, "What is this?") for p in own]
    drawn_exam = Exam("", {**scene_forms()[0], **forms}, things, batch, (batch,))
    direct = PictureBatch(1, tuple(lambda p=p: p for p in same))
    expected, found = tallied(drawn_exam, direct).real, tallied(exam, batch).real
    thresholds = np.full(9, -3.0)
    wanted, got = expected.values(thresholds), found.values(thresholds)
    assert wanted.keys() == got.keys()
    assert {"readable_top5", "false_top5", "auroc_all", "miou", "pointing"} <= got.keys()
    for name, values in wanted.items():
        np.testing.assert_allclose(got[name], values, rtol=1e-6, err_msg=name)


def test_pictures_are_dealt_once_each(tmp_path: Path) -> None:
    write_folder(tmp_path, without_shapes(9))
    exam = annotated_exam(tmp_path, 2, 20, "What?")
    batches = [exam.validation, *exam.seeds]
    assert [len(b.pictures) for b in batches] == [4, 2, 2]
    shown = [make().name for batch in batches for make in batch.pictures]
    assert len(set(shown)) == 8
    assert annotated_exam(tmp_path, 2, 1 + 1, "What?").seeds[1].pictures[0]().name == shown[6]
    with pytest.raises(DataError, match="9 pictures: 5 seeds and validation need at least 14"):
        annotated_exam(tmp_path, 5, 20, "What?")
    with pytest.raises(SelectionError, match="1 seeds"):
        annotated_exam(tmp_path, 1, 20, "What?")


def break_file(content: dict, how: str) -> None:
    first = content["annotations"][0]
    if how == "category":
        first["category_id"] = 999
    elif how == "size":
        content["images"][0]["width"] = 141
    elif how == "runs":
        first["segmentation"]["counts"][0] += 1
    elif how == "mask":
        first["segmentation"]["size"] = [10, 10]
    elif how == "outside":
        content["images"][0]["file_name"] = "../x.png"
    elif how == "polygon":
        first["segmentation"] = [[1, 2, 3]]
    elif how == "number":
        first["segmentation"] = 7


@pytest.mark.parametrize("how", ["category", "size", "runs", "mask", "outside", "polygon", "number"])
def test_wrong_annotations_are_refused_when_the_picture_is_wanted(tmp_path: Path, how: str) -> None:
    write_folder(tmp_path, without_shapes(8))
    content = json.loads((tmp_path / "annotations.json").read_text())
    break_file(content, how)
    (tmp_path / "annotations.json").write_text(json.dumps(content))
    with pytest.raises(DataError) as error:
        exam = annotated_exam(tmp_path, 2, 2, "What?")
        for batch in (exam.validation, *exam.seeds):
            for make in batch.pictures:
                make()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"images": 3, "categories": [], "annotations": []}', "[" * 99999]
)
def test_a_file_of_another_kind_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(DataError):
        annotated_exam(tmp_path, 2, 2, "What?")
    with pytest.raises(DataError, match="no folder"):
        annotated_exam(tmp_path / "none", 2, 2, "What?")
    (tmp_path / "b.json").write_text("{}")
    with pytest.raises(DataError, match="expected one, with annotations"):
        annotated_exam(tmp_path, 2, 2, "What?")
