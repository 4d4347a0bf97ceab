"""The tables of a report against the same figures computed by hand from the rows that were written."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from patchlens.errors import FormatError
from patchlens.stats.intervals import POSITIVE, SHARE, mean
from patchlens.studies.report import Report, make_report
from studies import made_study
from studies.made_study import GROUPS, LAYERS, LENSES, MadeStudy, write_study

FAILED = {"item-1-2": "picture cannot be read"}
DRAWS = 199


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> MadeStudy:
    return write_study(tmp_path_factory.mktemp("study"), failed=FAILED)


@pytest.fixture(scope="module")
def report(made: MadeStudy) -> Report:
    return make_report(made.folder, draws=DRAWS)


def only(report: Report, table: str, **equal: object) -> dict:
    found = [r for r in report.table(table).records() if all(r[key] == value for key, value in equal.items())]
    assert len(found) == 1, (table, equal, len(found))
    return found[0]


def by_item(rows: list[dict], value) -> np.ndarray:
    """An item's mean over its rows first, then one number per item."""
    own: dict[str, list[float]] = {}
    for row in rows:
        own.setdefault(row["item"], []).append(value(row))
    return np.array([np.mean(values) for values in own.values()])


MEASURES = {
    "entropy_answer": (lambda r: r["step"] == 0, lambda r: np.float32(r["entropy"])),
    "entropy_patches": (lambda r: r["kind"] == "patch", lambda r: np.float32(r["entropy"])),
    "probability": (lambda r: r["step"] is not None, lambda r: math.exp(np.float32(r["answer_logprob"]))),
    "kl_answer": (lambda r: r["step"] == 0, lambda r: np.float32(r["kl_to_final"])),
    "kl_patches": (lambda r: r["kind"] == "patch", lambda r: np.float32(r["kl_to_final"])),
    "attention_image": (lambda r: r["step"] is not None, lambda r: np.float32(r["attention_patch"])),
    "language_known_patches": (lambda r: r["kind"] == "patch", lambda r: r["language"] is not None),
}


@pytest.mark.parametrize("quantity", MEASURES)
@pytest.mark.parametrize("group", [*GROUPS, "*"])
def test_a_curve_is_the_mean_over_items_of_means_over_positions(made, report, quantity, group):
    chosen, value = MEASURES[quantity]
    rows = [r for r in made.of("cells", model="lab/two", lens="tuned", layer=3) if chosen(r)]
    values = by_item([r for r in rows if group in ("*", r["group"])], value)
    found = only(report, "curves", model="lab/two", lens="tuned", layer=3, group=group, quantity=quantity)
    assert found["items"] == len(values)
    assert found["mean"] == pytest.approx(values.mean(), rel=1e-6)
    is_share = quantity in ("probability", "attention_image", "language_known_patches")
    expected = mean(values.astype(np.float64), SHARE if is_share else POSITIVE)
    assert found["low"] == pytest.approx(expected.low, rel=1e-5)
    assert found["high"] == pytest.approx(expected.high, rel=1e-5)


def test_what_is_not_known_at_a_layer_has_no_point(report):
    quantities = {r["quantity"] for r in report.table("curves").records() if r["layer"] == 0}
    assert "entropy_answer" in quantities
    assert "attention_image" not in quantities


def test_a_token_expected_under_two_spellings_counts_once(made, report):
    rows = made.of("targets", model="demo", lens="logit", layer=2, source="expected")
    cells: dict[tuple, dict[int, float]] = {}
    for row in rows:
        if row["kind"] == "patch":
            cells.setdefault((row["item"], row["position"]), {})[row["token"]] = math.exp(
                np.float32(row["logprob"])
            )
    own: dict[str, list[float]] = {}
    for (item, _), tokens in cells.items():
        own.setdefault(item, []).append(sum(tokens.values()))
    found = only(
        report, "curves", model="demo", lens="logit", layer=2, group="*", quantity="expected_patches"
    )
    assert found["mean"] == pytest.approx(np.mean([np.mean(v) for v in own.values()]), rel=1e-6)


def test_languages_share_what_is_known(made, report):
    rows = made.of("cells", model="demo", lens="logit", layer=1, kind="patch", group="plain")
    own: dict[str, list[bool]] = {}
    for row in rows:
        if row["language"] is not None:
            own.setdefault(row["item"], []).append(row["language"] == "de")
    found = only(
        report, "curves", model="demo", lens="logit", layer=1, group="plain", quantity="language_patches=de"
    )
    assert found["mean"] == pytest.approx(np.mean([np.mean(v) for v in own.values()]))
    shares = [
        only(
            report,
            "curves",
            model="demo",
            lens="logit",
            layer=1,
            group="plain",
            quantity=f"language_patches={x}",
        )
        for x in ("de", "en", "zh")
    ]
    assert sum(share["mean"] for share in shares) == pytest.approx(1)


def test_a_study_that_knows_no_language_says_nothing_of_languages(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(made_study, "LANGUAGE", dict.fromkeys(made_study.PIECES))
    report = make_report(write_study(tmp_path, per_group=2, models={"demo": 4}).folder, draws=DRAWS)
    assert not [name for name in report.table("curves").column("quantity") if name.startswith("language")]


def leads(ranks: list[int]) -> int | None:
    return next((i for i in range(len(ranks)) if not any(ranks[i:])), None)


def test_emergence_is_first_and_for_good_and_never_is_counted(made, report):
    for lens in LENSES:
        rows = made.of("cells", model="demo", lens=lens, step=0)
        ranks = {
            item: [r["answer_rank"] for r in rows if r["item"] == item] for item in {r["item"] for r in rows}
        }
        assert {len(r) for r in ranks.values()} == {LAYERS["demo"]}
        firsts = [r.index(0) for r in ranks.values()]
        found = only(report, "emergence", model="demo", lens=lens, group="*", event="answer_first")
        assert found["layer_mean"] == pytest.approx(np.mean(firsts))
        assert found["layer_median"] == pytest.approx(np.median(firsts))
        found = only(report, "emergence", model="demo", lens=lens, group="*", event="answer_leads")
        assert found["layer_mean"] == pytest.approx(np.mean([leads(r) for r in ranks.values()]))
        targets = made.of("targets", model="demo", lens=lens, step=0, source="expected")
        top = {
            item: min((r["layer"] for r in targets if r["item"] == item and r["rank"] < 1), default=None)
            for item in ranks
        }
        found = only(report, "emergence", model="demo", lens=lens, group="*", event="expected_top1_answer")
        assert (found["items"], found["never"]) == (len(top), list(top.values()).count(None))
        assert found["never"] > 0
        assert found["layer_mean"] == pytest.approx(np.mean([v for v in top.values() if v is not None]))


def test_the_curve_of_an_event_is_the_share_of_items_it_has_happened_in(made, report):
    rows = made.of("cells", model="demo", lens="logit", step=0)
    items = {r["item"] for r in rows}
    happened = {r["item"] for r in rows if r["layer"] <= 1 and r["answer_rank"] == 0}
    found = only(report, "curves", model="demo", lens="logit", layer=1, group="*", quantity="answer_first")
    assert found["mean"] == pytest.approx(len(happened) / len(items))
    assert 0 < found["low"] < found["mean"] < found["high"] < 1


def test_answers_are_counted_without_those_that_failed(made, report):
    rows = [r for r in made.of("items", model="demo") if r["error"] is None]
    assert len(rows) == 11
    found = only(report, "answers", model="demo", group="*")
    ids = [token for r in rows for token in r["answer_ids"]]
    assert found["items"] == 11
    assert found["right"] == pytest.approx(np.mean([r["right"] for r in rows]))
    assert found["tokens"] == pytest.approx(np.mean([len(r["answer_ids"]) for r in rows]))
    assert found["variety"] == pytest.approx(len({r["answer"] for r in rows}) / 11)
    assert found["type_token_ratio"] == pytest.approx(len(set(ids)) / len(ids))


def test_top_words_are_counted_by_id(made, report):
    rows = made.of("cells", model="demo", lens="logit", layer=4, kind="patch", group="object")
    counts = Counter(r["top_ids"][0] for r in rows)
    found = [
        r
        for r in report.table("words").records()
        if (r["model"], r["lens"], r["group"], r["place"], r["layer"])
        == ("demo", "logit", "object", "patches", 4)
    ]
    assert [(r["token"], r["cells"]) for r in found] == sorted(counts.items(), key=lambda p: (-p[1], p[0]))
    assert found[0]["share"] == pytest.approx(found[0]["cells"] / len(rows))


def test_effects_stand_beside_their_control(made, report):
    rows = made.of("effects", model="demo", lens="logit")
    found = only(report, "effects", model="demo", lens="logit", group="*")
    less = np.array([np.float32(r["effect"]) - np.float32(r["control"]) for r in rows], np.float64)
    assert found["effect"] == pytest.approx(np.mean([r["effect"] for r in rows]), rel=1e-6)
    assert found["difference"] == pytest.approx(less.mean(), rel=1e-6)
    assert found["difference_high"] == pytest.approx(mean(less).high, rel=1e-5)


def test_failures_and_their_reasons_are_told(report):
    assert report.table("failures").column("error") == [FAILED["item-1-2"]] * len(LAYERS)
    assert "demo: 1 of 12 items failed" in report.notes
    assert "item-1-2" not in report.table("summaries").column("item")


def test_what_an_item_left_before_it_failed_does_not_count(tmp_path: Path):
    made = write_study(tmp_path, models={"demo": 4}, failed=FAILED, halfway=True)
    assert made.of("cells", item="item-1-2")
    report = make_report(made.folder, draws=DRAWS)
    curve = only(report, "curves", model="demo", lens="logit", layer=2, group="*", quantity="entropy_answer")
    assert curve["items"] == 11
    assert only(report, "effects", lens="logit", group="*")["items"] == 11
    assert "item-1-2" not in report.table("summaries").column("item")


def test_a_running_study_says_how_far_it_is(tmp_path: Path):
    made = write_study(tmp_path, unread=2, models={"demo": 5})
    (folder,) = (tmp_path / "cells" / "model=demo").glob("lens=tuned")
    (folder / "part-00000.parquet").unlink()
    report = make_report(made.folder, draws=DRAWS)
    assert any(note.startswith("demo: 2 of 12 items are not read yet") for note in report.notes)
    assert "demo: the tuned lens has read 0 of 10 items" in report.notes
    assert report.progress[0].missing == 2


def test_a_study_that_has_only_begun_has_empty_tables(tmp_path: Path):
    (tmp_path / "study.json").write_text(
        json.dumps(
            {
                "format_version": 1,
                "name": "x",
                "models": [{"name": "demo"}],
                "lenses": [{"name": "logit"}],
                "items": [{}, {}, {}],
            }
        )
    )
    report = make_report(tmp_path)
    assert not any(table.rows for table in report.tables)
    assert report.progress[0].missing == 3


def test_one_item_has_no_interval_and_says_so(tmp_path: Path):
    report = make_report(write_study(tmp_path, per_group=1).folder, draws=DRAWS)
    found = only(
        report, "curves", model="demo", lens="logit", layer=2, group="plain", quantity="entropy_answer"
    )
    assert (found["low"], found["high"], found["items"]) == (None, None, 1)
    rows = [r for r in report.table("differences").records() if r["between"] == "groups"]
    assert rows
    assert {(r["low"], r["effect"], r["p"], r["p_holm"]) for r in rows} == {(None, None, None, None)}
    assert any("fewer than two items" in note for note in report.notes)


def test_items_without_a_group_are_a_group_of_their_own(tmp_path: Path):
    report = make_report(
        write_study(tmp_path, groups=("plain", None), models={"demo": 4}).folder, draws=DRAWS
    )
    assert report.groups == ("plain", "")
    assert only(report, "answers", model="demo", group="")["items"] == 4


def without_attention(folder: Path, lens: str) -> None:
    for path in (folder / "cells").glob(f"model=*/lens={lens}/*.parquet"):
        table = pq.ParquetFile(path).read()
        place = table.schema.get_field_index("attention_patch")
        pq.write_table(table.set_column(place, "attention_patch", pa.nulls(len(table), pa.float32())), path)


@pytest.mark.parametrize("lens", LENSES)
def test_attention_is_compared_by_the_lens_that_holds_it(tmp_path: Path, made, report, lens):
    write_study(tmp_path, failed=FAILED)
    without_attention(tmp_path, lens)
    rows = [
        (r["between"], r["first"], r["second"], r["difference"])
        for r in make_report(tmp_path, draws=9).table("differences").records()
        if r["quantity"] == "attention_image"
    ]
    assert len(rows) == len(LAYERS) * 3 + 1
    (other,) = set(LENSES) - {lens}
    plain, thing = (
        by_item(
            [r for r in made.of("cells", model="demo", lens=other, group=group) if r["attention_patch"]],
            lambda r: np.float32(r["attention_patch"]),
        )
        for group in ("plain", "object")
    )
    assert rows[0] == ("groups", "plain", "object", pytest.approx(plain.mean() - thing.mean(), rel=1e-5))


def test_no_interval_of_a_layer_goes_beyond_the_last_one(tmp_path: Path):
    write_study(tmp_path, per_group=2)
    rows = make_report(tmp_path, draws=9).table("emergence").records()
    for model, n_layers in LAYERS.items():
        highs = [r["layer_high"] for r in rows if r["model"] == model and r["layer_high"] is not None]
        assert n_layers - 2 < max(highs) <= n_layers - 1


def about(folder: Path, told: object) -> None:
    path = folder / "study.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"about": told}))


def test_no_interval_of_an_entropy_goes_beyond_that_of_the_vocabulary(tmp_path: Path):
    write_study(tmp_path, per_group=2)
    about(tmp_path, {"demo": {"left_out": {}, "model": {"vocab_size": 2000}}})
    rows = make_report(tmp_path, draws=9).table("curves").records()

    def highest(model: str, quantity: str) -> float:
        return max(r["high"] for r in rows if (r["model"], r["quantity"]) == (model, quantity) and r["high"])

    for quantity in ("entropy_answer", "entropy_patches"):
        assert highest("demo", quantity) <= math.log(2000) < highest("lab/two", quantity)


def test_what_a_study_says_of_a_model_may_be_little(tmp_path: Path):
    write_study(tmp_path, per_group=1)
    about(tmp_path, {"demo": {}, "lab/two": {"left_out": {"tuned": "no fit"}, "model": {}, "lenses": {}}})
    assert "lab/two was not read through tuned: no fit" in make_report(tmp_path, draws=9).notes


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: p.unlink(), "holds no study: there is no study.json"),
        (lambda p: p.write_text("{"), r"it is not JSON \(Expecting"),
        (lambda p: p.write_bytes(b"\xff\xfe"), "it is not UTF-8 text"),
        (lambda p: p.write_text("[]"), r"study\.json: expected an object, found \[\]"),
        (lambda p: p.write_text('{"format_version": 1}'), "not the description of a study: it has no"),
        (lambda p: p.write_text('{"format_version": 9}'), "of format 9"),
        (lambda p: p.write_text('{"format_version": "1"}'), 'format_version: expected a number, found "1"'),
        (
            lambda p: p.write_text('{"format_version": 1, "name": "x", "models": [{"name": "a"}, {}]}'),
            r"study\.json, models 2 is not the description of a study: it has no 'name'",
        ),
        (lambda p: about(p.parent, {"demo": 7}), "about, demo: expected an object, found 7"),
        (lambda p: about(p.parent, {"demo": {"left_out": []}}), "about, demo, left_out: expected an object"),
    ],
)
def test_a_folder_that_is_no_study_is_refused_in_plain_words(tmp_path: Path, change, message):
    write_study(tmp_path, per_group=1)
    change(tmp_path / "study.json")
    with pytest.raises(FormatError, match=message) as refused:
        make_report(tmp_path)
    assert "\n" not in str(refused.value)
    assert "Error(" not in str(refused.value)


def test_a_file_is_no_folder_of_a_study(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(FormatError, match=r"file is a file; name the folder") as refused:
        make_report(tmp_path / "file")
    assert "Error(" not in str(refused.value)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-200])


def scrambled(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[:8] + bytes(255 - byte for byte in data[8:-2500]) + data[-2500:])


@pytest.mark.parametrize("harm", [cut, scrambled])
def test_a_damaged_table_is_named_with_its_remedy_on_one_line(tmp_path: Path, harm):
    write_study(tmp_path, per_group=1)
    file = tmp_path / "cells" / "model=lab%2Ftwo" / "lens=tuned" / "part-00000.parquet"
    harm(file)
    with pytest.raises(FormatError) as refused:
        make_report(tmp_path)
    closing = tmp_path / "items" / "model=lab%2Ftwo" / "part-00000.parquet"
    assert f": {file} is damaged (" in str(refused.value)
    assert str(refused.value).endswith(f"remove it and {closing}, then run patchlens study again")
    assert "\n" not in str(refused.value)


def test_a_damaged_table_of_items_is_all_there_is_to_remove(tmp_path: Path):
    write_study(tmp_path, per_group=1)
    file = tmp_path / "items" / "model=demo" / "part-00000.parquet"
    cut(file)
    with pytest.raises(FormatError, match=f"{re.escape(str(file))} is damaged .*: remove it, then run"):
        make_report(tmp_path)


@pytest.mark.parametrize(("name", "meaning"), [("*", "all items"), ("*others", "all other groups")])
def test_a_group_named_like_several_is_refused(tmp_path: Path, name, meaning):
    write_study(tmp_path, per_group=1, groups=(name,))
    with pytest.raises(FormatError, match=f"stands for {meaning}"):
        make_report(tmp_path)


def test_progress_is_told_to_its_end(made):
    told: dict[str, list[tuple[int, int]]] = {}
    make_report(made.folder, draws=9, progress=lambda what, *step: told.setdefault(what, []).append(step))
    assert len(told) == 3
    for steps in told.values():
        assert steps == sorted(steps)
        assert steps[-1][0] == steps[-1][1]
    assert len(told["comparing, draw by draw"]) > 10


def test_names_that_paths_and_queries_could_take_amiss_come_through(tmp_path: Path):
    folder, beside = tmp_path / "it's a st*dy", tmp_path / "it's a study"
    models, groups = {"lab/o'ne=1%2F": 4, "007": 4}, ("a'b", "猫\n")
    for one in (folder, beside):
        one.mkdir()
        write_study(one, models=models, groups=groups)
    report = make_report(folder, draws=DRAWS)
    assert set(report.table("curves").column("model")) == set(models)
    assert {*groups, "*"} == set(report.table("curves").column("group"))
    assert len(report.table("items").rows) == len(models) * 8


def test_a_report_needs_no_torch(made):
    code = (
        "import sys; from patchlens.studies.report import make_report, write_report;"
        f"r = make_report({str(made.folder)!r}, draws=9);"
        "sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
