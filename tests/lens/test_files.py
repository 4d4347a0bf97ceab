"""Lens files: round trip, another model's lens refused, and every way a file can be wrong."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lens_oracle import Norm, make_unembed
from safetensors.numpy import load_file, save
from test_tuned import made

from patchlens.errors import FormatError, LensError, OutputError
from patchlens.lens import Lens, files
from patchlens.lens.files import LENSES, SEAL, read_lens, read_manifest, unembed_sha256, write_lens
from patchlens.reading.seal import sha256
from patchlens.reading.store import open_reading
from readings import make_reading
from tiny import tiny_llama


def saved(folder, lens=None, unembed=None, **kwargs):
    return write_lens(
        lens or made("after_norm", ("text", "patch")),
        folder / "lens.safetensors",
        model="some/model",
        unembed=unembed or make_unembed(),
        **kwargs,
    )


def test_round_trip(tmp_path):
    lens, unembed = made("before_norm", ("text", "patch")), make_unembed(bias=True, softcap=3.0)
    lens = dataclasses.replace(lens, positions={"text": 10, "patch": 900}, note="thin")
    path = saved(tmp_path, lens, unembed, revision="abc", report={"kl": [1.5, 0.5]})
    again = read_lens(path, unembed)
    for kind, own in lens.kinds.items():
        assert torch.equal(again.kinds[kind].weight, own.weight)
        assert torch.equal(again.kinds[kind].bias, own.bias)
    manifest = read_manifest(path)
    assert again.params() == {**lens.params(), "file": manifest.file}
    assert manifest.model == {"name": "some/model", "revision": "abc"}
    assert manifest.report == {"kl": [1.5, 0.5]}
    assert len(manifest.file) == 64
    other = tmp_path / "again.safetensors"
    write_lens(again, other, model="some/model", unembed=unembed, revision="abc", report={"kl": [1.5, 0.5]})
    assert other.read_bytes() == path.read_bytes()
    saved(tmp_path, lens, unembed, revision="abc", report={"kl": [1.5, 0.4]})
    assert read_manifest(path).file != manifest.file


def test_another_models_lens_is_refused(tmp_path):
    path = saved(tmp_path)
    for other in (
        make_unembed(seed=1),
        make_unembed(bias=True),
        make_unembed(softcap=30.0),
        make_unembed(scale=0.5),
        dataclasses.replace(make_unembed(), final_norm=Norm(torch.ones(16))),
    ):
        with pytest.raises(
            LensError, match=r"lens.safetensors was fitted for another model \(some/model\)"
        ) as caught:
            read_lens(path, other)
        assert "\n" not in str(caught.value)
    assert read_lens(path).name == "tuned"


def test_a_model_keeps_its_name_in_bfloat16():
    names = {unembed_sha256(tiny_llama(dtype=dtype).unembed) for dtype in (torch.float32, torch.bfloat16)}
    assert len(names) == 1
    assert names != {unembed_sha256(tiny_llama(seed=1).unembed)}


def test_a_norm_of_other_weights_or_a_large_head_has_another_name():
    adapter = tiny_llama()
    before = unembed_sha256(adapter.unembed)
    with torch.no_grad():
        adapter.final_norm.weight[3] += 0.5
    assert unembed_sha256(adapter.unembed) != before
    large = make_unembed(9000, 4)
    first = unembed_sha256(large)
    large.weight[8999, 3] += 1
    assert unembed_sha256(large) != first


def test_readings_and_lenses_are_not_taken_for_each_other(tmp_path):
    reading = make_reading().save(tmp_path / "reading.safetensors")
    with pytest.raises(FormatError, match=r"not a patchlens lens \(no manifest\)"):
        read_lens(reading)
    with pytest.raises(FormatError, match=r"not a patchlens reading \(no manifest\)"):
        open_reading(saved(tmp_path))


def test_missing_foreign_and_empty_files(tmp_path):
    with pytest.raises(FormatError, match="no such file"):
        read_lens(tmp_path / "none.safetensors")
    for data in (b"", b"{}", b"\xff" * 64, b"PK\x03\x04" * 9):
        (tmp_path / "a.safetensors").write_bytes(data)
        with pytest.raises(FormatError, match="not a readable"):
            read_lens(tmp_path / "a.safetensors")


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_cut_or_flipped_byte_is_noticed(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("broken")
    path = saved(folder, made("after_norm", d_model=3), make_unembed(9, 3))
    whole = path.read_bytes()
    at = data.draw(st.integers(0, len(whole) - 1))
    path.write_bytes(
        data.draw(
            st.sampled_from(
                [whole[:at], whole[:at] + bytes([whole[at] ^ 0x11]) + whole[at + 1 :], whole + b"\0"]
            )
        )
    )
    with pytest.raises(FormatError):
        read_lens(path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format_version": 2}, r"format 2 is newer than this patchlens reads \(1\)"),
        ({"format_version": None}, "format_version is None"),
        ({"lens": "crystal ball"}, "'crystal ball', which this patchlens does not know"),
        ({"lens": ["tuned"]}, "not as specified"),
        ({"params": {}}, "of form None"),
        ({"params": {"form": "after_norm"}}, "not as specified"),
        ({"params": 3}, "not as specified"),
        ({"model": {}}, "not as specified"),
    ],
)
def test_a_manifest_that_is_wrong_is_refused(tmp_path, change, words):
    path = saved(tmp_path)
    manifest = json.loads(header(path)[SEAL.key]) | change
    text = json.dumps(manifest)
    path.write_bytes(save(load_file(path), {SEAL.key: text, SEAL.hash_key: sha256(text.encode())}))
    with pytest.raises(FormatError, match=words):
        read_lens(path)


def test_arrays_that_are_no_such_lens_are_refused(tmp_path):
    path = saved(tmp_path)
    arrays = {name: array for name, array in load_file(path).items() if name != "text.bias"}
    manifest = json.loads(header(path)[SEAL.key])
    path.write_bytes(SEAL.to_bytes(arrays, {k: v for k, v in manifest.items() if k != "sha256"}))
    with pytest.raises(FormatError, match=r"lens.safetensors: a tuned lens holds weight and bias"):
        read_lens(path)


def test_another_lens_can_be_registered(tmp_path, monkeypatch):
    @dataclasses.dataclass
    class Shift(Lens):
        by: torch.Tensor
        name = "shift"

        def params(self):
            return {"how": "made"}

        def to_arrays(self):
            return {"by": self.by}

        def normed(self, resid_layer, layer, unembed):
            return unembed.norm(resid_layer + self.by)

    with pytest.raises(LensError, match="'shift' cannot be opened again"):
        saved(tmp_path, Shift(torch.ones(3)))
    monkeypatch.setitem(LENSES, "shift", lambda arrays, params: Shift(arrays["by"]))
    assert torch.equal(read_lens(saved(tmp_path, Shift(torch.ones(3)))).by, torch.ones(3))


def test_a_failed_write_keeps_the_old_file(tmp_path, monkeypatch):
    path = saved(tmp_path)
    before = path.read_bytes()

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("patchlens.files.os.fsync", full)
    with pytest.raises(OutputError, match="No space left on device"):
        saved(tmp_path, made("before_norm"))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_nothing_is_pickled(tmp_path):
    data = saved(tmp_path).read_bytes()
    size = sum(array.nbytes for array in load_file(tmp_path / "lens.safetensors").values())
    start = 8 + int.from_bytes(data[:8], "little")
    assert len(data) == start + size
    assert np.frombuffer(data[start:], np.float32).size == size // 4
    assert files.SEAL.key in header(tmp_path / "lens.safetensors")


def header(path):
    data = path.read_bytes()
    return json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]
