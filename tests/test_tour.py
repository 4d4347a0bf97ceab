"""`patchlens demo` as it runs on a fresh machine: no network, all files whole, right answers."""

import subprocess
import sys

import pytest

from patchlens import cli, open_reading
from patchlens.demo import bundled_models, demo_pictures

NO_NETWORK = """
import sys
def refuse(event, arguments):
    if event in {"socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"}:
        raise RuntimeError(f"the network was touched: {event} {arguments}")
sys.addaudithook(refuse)
from patchlens.cli import main
main()
"""


@pytest.fixture(scope="module")
def tour(tmp_path_factory):
    out = tmp_path_factory.mktemp("tour") / "report"
    command = [sys.executable, "-c", NO_NETWORK, "demo", "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return out, done


def test_the_path_of_the_report_is_printed(tour):
    out, done = tour
    assert done.stdout.strip().splitlines()[-1] == str(out / "index.html")
    assert done.stderr == ""


def test_every_picture_has_a_reading_and_a_linked_page(tour):
    out, _ = tour
    index = (out / "index.html").read_text()
    for name in bundled_models():
        for picture in demo_pictures():
            base = f"{picture.file.stem}-{name}"
            assert f"./{base}.html" in index
            assert (out / f"{base}.html").stat().st_size > 10_000
            reading = open_reading(out / f"{base}.safetensors")
            assert reading.prompt == picture.prompt and reading.model.name == name
            assert [target.word for target in reading.targets] == list(picture.targets)
            assert len(reading.positions.step[reading.positions.step >= 0]) == len(reading.answer.ids)
    assert "./collage-both.html" in index
    assert (out / "collage-both.html").read_text().count('class="reading"') == 2
    assert len(list(out.iterdir())) == 2 * len(bundled_models()) * len(demo_pictures()) + 2


def test_most_answers_are_right_and_no_picture_is_strange_to_the_models(tour):
    out, _ = tour
    right = 0
    for name in bundled_models():
        for picture in demo_pictures():
            reading = open_reading(out / f"{picture.file.stem}-{name}.safetensors")
            right += reading.answer.text.casefold() == picture.answer.casefold()
            assert not [note for note in reading.notes if "unlike" in note]
    assert right >= 0.7 * len(bundled_models()) * len(demo_pictures())


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setattr(sys, "argv", ["patchlens", "demo", "--out", str(tmp_path / "file" / "x")])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("error: cannot make the folder") and len(said.splitlines()) == 1
