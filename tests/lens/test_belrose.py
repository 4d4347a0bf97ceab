"""Checkpoints of the tuned-lens package: one that its version 0.2.0 wrote, and what we write."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from lens_oracle import Norm
from safetensors.torch import load_file
from test_tuned import made

from patchlens.errors import FormatError, LensError, OutputError
from patchlens.lens.belrose import read_tuned_lens, unembed_hash, write_tuned_lens
from patchlens.lens.tuned import TunedLens
from patchlens.models.unembed import Unembed

GOLDEN = Path(__file__).parents[1] / "golden" / "tuned-lens"


@pytest.fixture
def expected():
    return load_file(GOLDEN / "expected.safetensors")


@pytest.fixture
def unembed(expected):
    return Unembed(Norm(expected["norm"]), expected["lm_head"])


@pytest.fixture
def folder(tmp_path):
    return Path(shutil.copytree(GOLDEN, tmp_path / "lens"))


def test_the_packages_checkpoint_gives_the_packages_logits(expected, unembed):
    lens = read_tuned_lens(GOLDEN, unembed).for_kind("text")
    logits = torch.stack(
        [
            lens.normed(resid, layer, unembed) @ unembed.weight.T
            for layer, resid in enumerate(expected["resid"])
        ]
    )
    torch.testing.assert_close(logits, expected["logits"], atol=1e-5, rtol=0)
    raw = unembed.norm(expected["resid"]) @ unembed.weight.T
    assert (raw - expected["logits"])[:2].abs().mean() > 0.3


def test_what_it_says_of_itself(unembed):
    lens = read_tuned_lens(GOLDEN, unembed, kind="answer")
    params = lens.params()
    assert (params["form"], params["how"]) == ("before_norm", "tuned-lens package")
    assert params["data"] == "as the tuned-lens package saved it for made/small"
    assert params["patch_read_by"] == params["text_read_by"] == "answer"


def test_written_and_read_again(tmp_path, unembed):
    lens = read_tuned_lens(GOLDEN)
    folder = write_tuned_lens(lens, tmp_path / "a" / "b", model="made/small", unembed=unembed)
    assert json.loads((folder / "config.json").read_text()) == json.loads(
        (GOLDEN / "config.json").read_text()
    )
    ours, theirs = (torch.load(path / "params.pt", weights_only=True) for path in (folder, GOLDEN))
    assert ours.keys() == theirs.keys()
    for name, part in theirs.items():
        assert torch.equal(ours[name], part)
        assert ours[name].is_contiguous()
        assert ours[name].untyped_storage().nbytes() == part.nbytes
    assert torch.equal(read_tuned_lens(folder, unembed).kinds["text"].weight, lens.kinds["text"].weight)


def test_half_precision_and_missing_biases_are_read(folder, unembed):
    state = torch.load(folder / "params.pt", weights_only=True)
    torch.save({name: part.half() for name, part in state.items() if "weight" in name}, folder / "params.pt")
    lens = read_tuned_lens(folder, unembed).kinds["text"]
    torch.testing.assert_close(lens.weight[1], state["1.weight"], atol=1e-3, rtol=0)
    assert lens.weight.dtype == lens.bias.dtype == torch.float32
    assert not lens.bias.any()


def test_a_lens_after_the_norm_cannot_be_written(tmp_path, unembed):
    with pytest.raises(LensError, match="translates after the final norm"):
        write_tuned_lens(made("after_norm", d_model=8), tmp_path, model="m", unembed=unembed)
    with pytest.raises(LensError, match=r"not fitted for answer positions: choose one of \['text'\]"):
        write_tuned_lens(made("before_norm", d_model=8), tmp_path, model="m", unembed=unembed, kind="answer")
    assert not list(tmp_path.iterdir())


def test_another_models_lens_is_refused(unembed):
    other = Unembed(unembed.final_norm, unembed.weight.flip(0))
    assert unembed_hash(other) != unembed_hash(unembed)
    with pytest.raises(LensError, match="fitted for made/small, whose lm_head is not this model's"):
        read_tuned_lens(GOLDEN, other)
    assert isinstance(read_tuned_lens(GOLDEN), TunedLens)


class Bomb:
    def __reduce__(self):
        return (Path.touch, (Path("exploded"),))


def test_a_pickle_that_would_run_code_is_refused(folder, monkeypatch):
    monkeypatch.chdir(folder)
    torch.save({"0.weight": Bomb()}, folder / "params.pt")
    with pytest.raises(FormatError, match="damaged, or holds more than tensors"):
        read_tuned_lens(folder)
    assert not (folder / "exploded").exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"num_hidden_layers": 3}, "does not hold what config.json says"),
        ({"num_hidden_layers": 1}, "does not hold what config.json says"),
        ({"num_hidden_layers": 0}, "does not hold what config.json says"),
        ({"d_model": 9}, "does not hold what config.json says"),
        ({"d_model": "wide"}, "does not hold what config.json says"),
        ({"lens_type": "other"}, "a other, expected a linear_tuned_lens"),
    ],
)
def test_a_config_that_does_not_fit_is_refused(folder, change, words):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(FormatError, match=words):
        read_tuned_lens(folder)


def test_missing_and_foreign_files_are_refused(folder):
    params = (folder / "params.pt").read_bytes()
    for data in (b"", params[:-200], b"\xff" * 99):
        (folder / "params.pt").write_bytes(data)
        with pytest.raises(FormatError, match="damaged"):
            read_tuned_lens(folder)
    torch.save([1, 2], folder / "params.pt")
    with pytest.raises(FormatError, match="does not hold tensors by name"):
        read_tuned_lens(folder)
    (folder / "params.pt").unlink()
    with pytest.raises(FormatError, match=r"cannot read .*params\.pt"):
        read_tuned_lens(folder)
    for text in ("{}", "[]", "{"):
        (folder / "config.json").write_text(text)
        with pytest.raises(FormatError, match=r"config\.json is not"):
            read_tuned_lens(folder)
    with pytest.raises(FormatError, match=r"cannot read .*config\.json"):
        read_tuned_lens(folder / "none")


def test_a_folder_that_cannot_be_made_is_a_typed_error(tmp_path, unembed):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot make the folder"):
        write_tuned_lens(made("before_norm", d_model=8), tmp_path / "file" / "a", model="m", unembed=unembed)
