"""What is written to the report's folder: CSV, pages of readings, the page; and the command."""

from __future__ import annotations

import base64
import csv
import io
import json
import os
import re
import zlib
from pathlib import Path
from urllib.parse import unquote

import pytest

from patchlens.cli import main
from patchlens.errors import OutputError
from patchlens.reading.store import save_reading
from patchlens.studies.layout import file_name
from patchlens.studies.report import make_report, write, write_report
from patchlens.studies.report.tables import Table
from readings import HOSTILE, make_reading
from studies.made_study import MadeStudy, write_study

DRAWS = 99


def save(made: MadeStudy, model: str, lens: str, item: str) -> Path:
    folder = made.folder / "readings" / file_name(model) / lens
    folder.mkdir(parents=True, exist_ok=True)
    return save_reading(make_reading(), folder / f"{file_name(item)}.safetensors")


def payload(page: Path) -> dict:
    (block,) = re.findall(r'<script type="application/octet-stream" class="study">([^<]*)<', page.read_text())
    return json.loads(zlib.decompress(base64.b64decode(block)))


def test_every_table_is_a_csv_file_and_the_page_holds_the_same(tmp_path: Path):
    made = write_study(tmp_path, per_group=2, models={"demo": 4})
    report = make_report(tmp_path, draws=DRAWS)
    written = write_report(report, tmp_path)
    assert written.page == made.folder / "report" / "index.html"
    held = {name: text for name, _, text in payload(written.page)["tables"]}
    assert {path.stem for path in written.tables} == set(held) == {t.name for t in report.tables} | {"pages"}
    for path in written.tables:
        assert path.read_bytes().decode() == held[path.stem]
    rows = list(csv.DictReader(io.StringIO(held["curves"])))
    assert len(rows) == len(report.table("curves").rows)
    first = report.table("curves").records()[0]
    assert float(rows[0]["mean"]) == pytest.approx(first["mean"], rel=1e-8)


def test_csv_is_exact_and_quoted_only_where_it_must_be():
    rows = (("=1+1", 0.1 + 0.2, None, True), ('a,"b"\n', 1 / 3, ["猫", "x"], False), ("", 1e-12, [], 7))
    text = Table("x", "", ("text", "number", "list", "other"), rows).csv()
    assert text.split("\r\n")[:2] == ["text,number,list,other", "=1+1,0.3,,true"]
    back = list(csv.reader(io.StringIO(text, newline="")))
    assert back[2] == ['a,"b"\n', "0.333333333", '["猫", "x"]', "false"]
    assert back[3] == ["", "1e-12", "[]", "7"]
    assert float("0.1") == float(f"{0.1:.9g}")


def test_saved_readings_get_pages_and_thumbnails_and_links_lead_there(tmp_path: Path):
    models = {"lab/two": 4}
    made = write_study(tmp_path, per_group=2, models=models, groups=("a b",))
    save(made, "lab/two", "logit", "item-0-1")
    written = write_report(make_report(tmp_path, draws=DRAWS), tmp_path)
    held = payload(written.page)
    (row,) = csv.DictReader(io.StringIO(next(text for name, _, text in held["tables"] if name == "pages")))
    assert (row["model"], row["item"]) == ("lab/two", "item-0-1")
    assert (written.page.parent / unquote(row["page"])).read_text().startswith("<!doctype html>")
    assert set(held["thumbnails"]) == {"item-0-1"}
    assert held["thumbnails"]["item-0-1"].startswith("data:image/")


def test_a_page_is_written_anew_only_when_its_reading_is_newer(tmp_path: Path):
    made = write_study(tmp_path, per_group=1, models={"demo": 4}, groups=("a",))
    file = save(made, "demo", "logit", "item-0-0")
    report = make_report(tmp_path, draws=DRAWS)
    (page,) = write_report(report, tmp_path).pages
    page.write_text("kept")
    write_report(report, tmp_path)
    assert page.read_text() == "kept"
    later = page.stat().st_mtime + 5
    os.utime(file, (later, later))
    write_report(report, tmp_path)
    assert page.read_text() != "kept"


def test_no_pages_writes_none_but_links_those_that_are_there(tmp_path: Path):
    made = write_study(tmp_path, per_group=1, models={"demo": 4}, groups=("a",))
    save(made, "demo", "logit", "item-0-0")
    report = make_report(tmp_path, draws=DRAWS)
    written = write_report(report, tmp_path, pages=False)
    assert written.pages == ()
    assert payload(written.page)["thumbnails"]
    assert not (tmp_path / "report" / "pages").exists()
    assert "pages/" not in json.dumps(payload(written.page)["tables"])


def test_thumbnails_are_bounded_in_number_and_the_page_says_so(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(write, "MOST_THUMBNAILS", 2)
    made = write_study(tmp_path, per_group=3, models={"demo": 4}, groups=("a",))
    for i in range(3):
        save(made, "demo", "logit", f"item-0-{i}")
    held = payload(write_report(make_report(tmp_path, draws=DRAWS), tmp_path).page)
    assert len(held["thumbnails"]) == 2
    assert any("only 2 of 3 items have a small picture" in note for note in held["notes"])
    assert max(map(len, held["thumbnails"].values())) < 60_000


def test_a_page_has_its_policy_and_no_hostile_markup(tmp_path: Path):
    bad = "".join(HOSTILE)
    texts = dict.fromkeys(("name", "prompt", "answer", "picture"), bad)
    write_study(
        tmp_path, per_group=1, models={"demo": 4}, groups=(bad,), texts=texts, failed={"item-0-0": bad}
    )
    source = write_report(make_report(tmp_path, draws=DRAWS), tmp_path).page.read_text()
    assert "default-src 'none'; script-src 'sha256-" in source
    assert "alert(1)" not in source.split("<title>")[0]
    assert source.count("<script") == 2
    assert "onerror=alert" not in source.replace("&lt;img src=x onerror=alert(1)&gt;", "")


def test_a_damaged_reading_has_no_page_and_the_report_says_so(tmp_path: Path):
    made = write_study(tmp_path, per_group=2, models={"demo": 4}, groups=("a",))
    save(made, "demo", "logit", "item-0-0").write_bytes(b"cut")
    save(made, "demo", "logit", "item-0-1")
    written = write_report(make_report(tmp_path, draws=DRAWS), tmp_path)
    assert [page.name for page in written.pages] == ["item-0-1.html"]
    (note,) = [note for note in payload(written.page)["notes"] if "has no page" in note]
    assert "item-0-0.safetensors" in note


def test_a_full_disk_costs_the_pages_of_readings_first(tmp_path: Path, monkeypatch):
    made = write_study(tmp_path, per_group=3, models={"demo": 4}, groups=("a",))
    for i in range(3):
        save(made, "demo", "logit", f"item-0-{i}")
    report = make_report(tmp_path, draws=DRAWS)
    index, written = tmp_path / "report" / "index.html", write.write_page

    def full(reading, page: Path) -> None:
        held = payload(index)
        assert "item-0-2.html" in json.dumps(held["tables"])
        assert all((index.parent / "csv" / f"{name}.csv").exists() for name, _, _ in held["tables"])
        if page.stem == "item-0-1":
            raise OutputError("cannot write it: No space left on device")
        written(reading, page)

    monkeypatch.setattr(write, "write_page", full)
    with pytest.raises(OutputError, match="No space left"):
        write_report(report, tmp_path)
    held = payload(index)
    assert held["notes"][-1] == "not all saved readings have a page: cannot write it: No space left on device"
    (row,) = csv.DictReader((index.parent / "csv" / "pages.csv").read_text().splitlines())
    assert row["item"] == "item-0-0" and (index.parent / row["page"]).exists()
    assert {name: text for name, _, text in held["tables"]}["pages"].count("item-0-") == 2


def test_a_file_in_the_way_is_refused(tmp_path: Path):
    write_study(tmp_path, per_group=1, models={"demo": 4}, groups=("a",))
    report = make_report(tmp_path, draws=DRAWS)
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot make the folder"):
        write_report(report, tmp_path, tmp_path / "file")


def test_the_command_prints_a_table_and_where_the_page_is(tmp_path: Path, capsys):
    write_study(tmp_path, per_group=2, models={"demo": 4}, failed={"item-0-0": "no"}, unread=1)
    main(["report", str(tmp_path), "--out", str(tmp_path / "here")])
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == str(tmp_path / "here" / "index.html")
    assert Path(lines[-1]).exists()
    assert any(re.match(r"\s*demo\s+logit\s+all items\s+4\s", line) for line in lines)
    assert "note: demo: 1 of 6 items failed" in lines
    assert any("beyond chance" in line for line in lines)


def test_the_command_prints_json(tmp_path: Path, capsys):
    write_study(tmp_path, per_group=2, models={"demo": 4})
    main(["report", str(tmp_path), "--json"])
    told = json.loads(capsys.readouterr().out)
    assert Path(told["page"]).exists()
    assert told["tables"]["answers"][0]["model"] == "demo"


def test_the_command_refuses_what_is_no_study_on_one_line(tmp_path: Path, capsys):
    with pytest.raises(SystemExit):
        main(["report", str(tmp_path)])
    err = capsys.readouterr().err
    assert "holds no study" in err and err.count("\n") == 1
