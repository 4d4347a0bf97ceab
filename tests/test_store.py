"""The file format: round trip, golden bytes, and every way a file can be wrong."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save

from patchlens.errors import FormatError, OutputError
from patchlens.reading import store
from patchlens.reading.reading import Reading
from patchlens.reading.records import Channel
from patchlens.reading.seal import sha256
from patchlens.reading.store import open_reading, to_bytes
from patchlens.reading.validate import ARRAYS, check
from readings import HOSTILE, WORDS, make_reading

GOLDEN = Path(__file__).parent / "golden" / "reading-v1.safetensors"


def same(one, other):
    if isinstance(one, np.ndarray):
        np.testing.assert_array_equal(one, other)
        assert one.dtype == other.dtype
    elif dataclasses.is_dataclass(one):
        assert type(one) is type(other)
        for field in dataclasses.fields(one):
            same(getattr(one, field.name), getattr(other, field.name))
    elif isinstance(one, tuple):
        assert len(one) == len(other)
        for a, b in zip(one, other, strict=True):
            same(a, b)
    else:
        assert one == other


@pytest.mark.parametrize(
    "reading",
    [
        make_reading(),
        make_reading(pictures=0),
        make_reading(pictures=2, layout="tiles", steps=3, targets=()),
        make_reading(cross=True, layers=(0, 2, 4)),
        make_reading(words=(*WORDS, *HOSTILE), prompt="".join(HOSTILE), name="a\\b\"c'"),
    ],
    ids=["picture", "text", "tiles", "cross", "hostile"],
)
def test_round_trip(reading, tmp_path):
    path = reading.save(tmp_path / "a.safetensors")
    again = open_reading(path)
    same(reading, again)
    assert to_bytes(again) == path.read_bytes()


def test_channels_and_notes_are_kept(tmp_path):
    channel = Channel(
        "attention", ("layer", "head", "pos"), np.ones((5, 2, 18), np.float16), "share", "Of what."
    )
    reading = dataclasses.replace(
        make_reading(), channels=(channel,), notes=("one", "two"), versions={"a": "1"}
    )
    same(reading, open_reading(reading.save(tmp_path / "a.safetensors")))


@pytest.mark.parametrize("axis", ["layer", "pos", "k", "target", "vision"])
def test_a_channel_along_an_axis_of_the_reading_must_be_as_long(axis):
    reading = make_reading(cross=True)
    size = len(reading.vision.kind) if axis == "vision" else {"layer": 5, "pos": 5, "k": 5, "target": 2}[axis]
    fits = Channel("x", ("head", axis), np.ones((3, size), np.float32), "share", "Of what.")
    check(dataclasses.replace(reading, channels=(fits,)))
    longer = dataclasses.replace(fits, values=np.ones((3, size + 1), np.float32))
    with pytest.raises(FormatError, match=f"{size + 1} along {axis}, expected {size}"):
        check(dataclasses.replace(reading, channels=(longer,)))


def test_a_reading_without_vision_states_has_no_channel_along_them():
    channel = Channel("x", ("vision",), np.ones(4, np.float32), "share", "Of what.")
    with pytest.raises(FormatError, match="4 along vision, expected 0"):
        check(dataclasses.replace(make_reading(), channels=(channel,)))


def test_golden_file_reads_as_written():
    reading = open_reading(GOLDEN)
    assert reading.answer.text == "catffe"
    assert reading.layers.tolist() == [0, 1, 2, 3, 4]
    assert [c.piece for c in reading.top(4)[:2]] == ["▁cat", "▁grass"]
    assert reading.top(4)[0].logprob == pytest.approx(-0.004407037, abs=1e-9)
    assert reading.positions.box[1].tolist() == [0, 0, 20, 20]
    assert reading.emergence("cat") == 4
    assert reading.top(4, 18)[0].piece == "ffe"
    assert reading.positions.step.tolist()[-2:] == [0, 1]
    assert to_bytes(reading) == GOLDEN.read_bytes()


def test_a_newer_file_is_refused(tmp_path):
    with pytest.raises(FormatError, match="newer than this patchlens reads"):
        open_reading(rewritten(tmp_path, format_version=2))


@pytest.mark.parametrize("version", [None, 0, "1", 1.5, True])
def test_a_file_of_no_version_is_refused(tmp_path, version):
    with pytest.raises(FormatError, match="format_version"):
        open_reading(rewritten(tmp_path, format_version=version))


def test_missing_foreign_and_empty_files(tmp_path):
    with pytest.raises(FormatError, match="no such file"):
        open_reading(tmp_path / "none.safetensors")
    with pytest.raises(FormatError, match="is a folder, not a file") as refused:
        open_reading(tmp_path)
    assert str(refused.value).startswith(str(tmp_path))
    for data in (b"", b"{}", b"\xff" * 64, b"PK\x03\x04" * 9):
        (tmp_path / "a.safetensors").write_bytes(data)
        with pytest.raises(FormatError, match="not a readable"):
            open_reading(tmp_path / "a.safetensors")
    (tmp_path / "b.safetensors").write_bytes(save({"w": np.zeros(2, np.float32)}))
    with pytest.raises(FormatError, match="not a patchlens reading"):
        open_reading(tmp_path / "b.safetensors")


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_cut_or_flipped_byte_is_noticed(data, tmp_path_factory):
    whole = to_bytes(make_reading(rows=2, cols=2))
    at = data.draw(st.integers(0, len(whole) - 1))
    broken = data.draw(
        st.sampled_from([whole[:at], whole[:at] + bytes([whole[at] ^ 0x11]) + whole[at + 1 :], whole + b"\0"])
    )
    path = tmp_path_factory.mktemp("broken") / "a.safetensors"
    path.write_bytes(broken)
    with pytest.raises(FormatError):
        open_reading(path)


@pytest.mark.parametrize("share", [0.01, 0.3, 0.6, 0.99])
def test_a_flipped_bit_of_a_number_is_noticed(share, tmp_path):
    data = bytearray(GOLDEN.read_bytes())
    start = 8 + int.from_bytes(data[:8], "little")
    data[start + int(share * (len(data) - start))] ^= 1
    (tmp_path / "a.safetensors").write_bytes(data)
    with pytest.raises(FormatError, match="arrays do not match"):
        open_reading(tmp_path / "a.safetensors")


def test_a_manifest_without_a_field_is_refused(tmp_path):
    manifest = manifest_of(GOLDEN)
    for field in manifest:
        if field in {"format_version", "sha256"}:
            continue
        without = {k: v for k, v in manifest.items() if k != field}
        with pytest.raises(FormatError, match=field):
            open_reading(with_manifest(tmp_path, without))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"layers": [0, 1, 2, 3, 9]}, "layers must rise"),
        ({"layers": [0, 1]}, "expected"),
        ({"prompt": 3}, "expected a string"),
        ({"tokens": {}}, "no piece in the token table"),
        ({"pictures": []}, "names picture 0"),
        ({"positions": {}}, "not as specified"),
        ({"targets": []}, "expected"),
        (
            {"vision": {"kind": ["ear"], "image": [0], "tile": [0], "row": [0], "col": [0], "box": [None]}},
            "ear",
        ),
        ({"channels": [{"name": "x", "axes": [], "unit": "", "description": ""}]}, "not as specified"),
    ],
)
def test_a_manifest_that_contradicts_its_arrays_is_refused(tmp_path, change, words):
    with pytest.raises(FormatError, match=words):
        open_reading(rewritten(tmp_path, **change))


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_of_wrong_shape_type_or_value_are_refused(name):
    reading = make_reading()
    array = getattr(reading, name)
    wrong = [array[:-1], array.astype(np.float64), array[None]]
    if array.dtype == np.float32:
        wrong.append(
            np.where(np.arange(array.size).reshape(array.shape) == 3, np.nan, array).astype(np.float32)
        )
    for values in wrong:
        with pytest.raises(FormatError, match=name):
            check(dataclasses.replace(reading, **{name: values}))


def test_a_failed_write_keeps_the_old_file(tmp_path, monkeypatch):
    path = make_reading().save(tmp_path / "a.safetensors")
    before = path.read_bytes()

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("patchlens.files.os.fsync", full)
    with pytest.raises(OutputError, match="No space left on device"):
        make_reading(pictures=0).save(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_an_interrupted_write_leaves_nothing(tmp_path, monkeypatch):
    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr("patchlens.files.os.fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        make_reading().save(tmp_path / "a.safetensors")
    assert not list(tmp_path.iterdir())


def test_a_missing_folder_is_a_typed_error(tmp_path):
    with pytest.raises(OutputError, match="there is no folder"):
        make_reading().save(tmp_path / "none" / "a.safetensors")


def test_the_documented_fields_are_the_written_ones():
    text = (Path(__file__).parents[1] / "docs" / "format.md").read_text()
    for name in [*manifest_of(GOLDEN), *ARRAYS, *(f.name for f in dataclasses.fields(Reading))]:
        if name in {"lens_params", "pieces"}:
            continue
        assert f"`{name}`" in text, name


def manifest_of(path):
    return json.loads(header(path.read_bytes())[store.SEAL.key])


def header(data):
    return json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]


def with_manifest(tmp_path, manifest):
    text = json.dumps(manifest)
    metadata = {store.SEAL.key: text, store.SEAL.hash_key: sha256(text.encode())}
    path = tmp_path / "changed.safetensors"
    path.write_bytes(save(load_file(GOLDEN), metadata))
    return path


def rewritten(tmp_path, **change):
    return with_manifest(tmp_path, manifest_of(GOLDEN) | change)
