"""The tuned lens as a lens: its two forms, stand-ins, the last layer, and the engine that reads it."""

import pytest
import torch
from fitted import D_MODEL, N_LAYERS, Rotated, closed, plain_unembed
from lens_oracle import all_logits, make_states, make_unembed

from patchlens.capture import capture
from patchlens.errors import FormatError, SelectionError
from patchlens.fit.closed_form import ClosedForm
from patchlens.lens import LogitLens, stream_statistics
from patchlens.lens.tuned import Translators, TunedLens
from tiny import BUILDERS, tiny_llama


def made(form, kinds=("text",), d_model=16, n_layers=2, seed=0):
    g = torch.Generator().manual_seed(seed)
    parts = {
        kind: Translators(
            torch.randn(n_layers, d_model, d_model, generator=g) / d_model**0.5,
            torch.randn(n_layers, d_model, generator=g),
        )
        for kind in kinds
    }
    return TunedLens(form, parts, how="made", data="none", seed=seed)


def test_after_norm_is_an_affine_map_of_the_normed_state():
    unembed, resid, lens = make_unembed(bias=True), make_states(3, 4), made("after_norm")
    own = lens.kinds["text"]
    for layer in (0, 1):
        expected = torch.stack([own.weight[layer] @ unembed.norm(h) + own.bias[layer] for h in resid[layer]])
        torch.testing.assert_close(lens.for_kind("text").normed(resid[layer], layer, unembed), expected)


def test_before_norm_is_the_papers_formula():
    unembed, resid, lens = make_unembed(bias=True), make_states(3, 4), made("before_norm")
    own = lens.kinds["text"]
    for layer in (0, 1):
        moved = torch.stack([h + own.weight[layer] @ h + own.bias[layer] for h in resid[layer]])
        torch.testing.assert_close(
            lens.for_kind("text").normed(resid[layer], layer, unembed), unembed.norm(moved)
        )


@pytest.mark.parametrize("form", ["after_norm", "before_norm"])
def test_the_last_layer_is_the_logit_lens_bit_for_bit(form):
    unembed, resid, lens = (
        make_unembed(dtype=torch.bfloat16),
        make_states(3, 4).bfloat16(),
        made(form).for_kind("text"),
    )
    assert torch.equal(lens.normed(resid[2], 2, unembed), LogitLens().normed(resid[2], 2, unembed))
    assert not torch.equal(lens.normed(resid[1], 1, unembed), LogitLens().normed(resid[1], 1, unembed))
    assert lens.normed(resid[1], 1, unembed).dtype == torch.bfloat16
    with pytest.raises(SelectionError, match="layer 3 does not exist: this lens has layers 0 to 2"):
        lens.normed(resid[2], 3, unembed)


@pytest.mark.parametrize("form", ["after_norm", "before_norm"])
def test_identity_is_the_logit_lens(form):
    unembed, resid = make_unembed(), make_states(3, 4)
    lens = TunedLens.identity(2, 16, form=form).for_kind("patch")
    for layer in range(3):
        torch.testing.assert_close(
            lens.normed(resid[layer], layer, unembed), LogitLens().normed(resid[layer], layer, unembed)
        )


@pytest.mark.parametrize(
    ("fitted", "readers"),
    [
        (("text", "patch", "answer"), ("text", "patch", "answer")),
        (("text",), ("text", "text", "text")),
        (("patch",), ("patch", "patch", "patch")),
        (("answer",), ("answer", "answer", "answer")),
        (("text", "patch"), ("text", "patch", "text")),
        (("patch", "answer"), ("answer", "patch", "answer")),
        (("text", "answer"), ("text", "text", "answer")),
    ],
)
def test_a_kind_that_was_not_fitted_is_read_by_a_stated_one(fitted, readers):
    lens = made("after_norm", fitted)
    params = lens.params()
    for kind, reader in zip(("text", "patch", "answer"), readers, strict=True):
        assert lens.for_kind(kind).translators is lens.kinds[reader]
        assert params[f"{kind}_read_by"] == reader


def test_it_is_a_lens_by_kind_whose_params_are_plain_values():
    lens = made("before_norm")
    assert lens.params() == {
        "form": "before_norm",
        "how": "made",
        "data": "none",
        "seed": 0,
        "note": "",
        "text_read_by": "text",
        "patch_read_by": "text",
        "answer_read_by": "text",
        "file": None,
    }
    assert (lens.n_layers, lens.d_model) == (2, 16)
    assert (lens.to("meta").kinds["text"].weight.device.type, lens.to("meta").how) == ("meta", "made")


def test_arrays_and_params_make_the_lens_again():
    lens = made("before_norm", ("text", "answer"))
    again = TunedLens.from_arrays(lens.to_arrays(), {**lens.params(), "answer_positions": 7})
    assert again.params() == {**lens.params(), "answer_positions": 7}
    for kind, own in lens.kinds.items():
        assert torch.equal(again.kinds[kind].weight, own.weight)
        assert torch.equal(again.kinds[kind].bias, own.bias)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"text.bias": None}, "holds weight and bias"),
        ({"ear.weight": torch.zeros(1)}, "holds weight and bias"),
        ({"text.bias": torch.zeros(3, 16)}, r"text.bias .* expected \(2, 16\)"),
        ({"text.weight": torch.zeros(2, 16, 15)}, "text.weight"),
        ({"text.weight": torch.zeros(2, 16, 16).double()}, "float64"),
        ({"text.bias": torch.full((2, 16), torch.inf)}, "finite"),
    ],
)
def test_wrong_arrays_are_refused(change, words):
    lens = made("after_norm")
    arrays = {name: array for name, array in (lens.to_arrays() | change).items() if array is not None}
    with pytest.raises(FormatError, match=words):
        TunedLens.from_arrays(arrays, lens.params())


def test_an_unknown_form_and_an_empty_lens_are_refused():
    lens = made("after_norm")
    with pytest.raises(FormatError, match="of form 'sideways'"):
        TunedLens.from_arrays(lens.to_arrays(), {**lens.params(), "form": "sideways"})
    with pytest.raises(SelectionError, match="at least one kind"):
        TunedLens("after_norm", {})


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_engine_reads_it_as_float64_does(dtype):
    unembed = make_unembed(dtype=dtype, bias=True, softcap=8.0)
    resid, lens = make_states(3, 6, dtype=dtype), made("after_norm")
    stats = lens.read(resid, resid[-1], unembed, ["text"] * 6, layers=range(3), n_layers=2, top_k=4)
    normed = torch.stack([lens.for_kind("text").normed(resid[i], i, unembed) for i in range(3)])
    logprobs = all_logits(normed, unembed).log_softmax(-1)
    kl = (logprobs[-1].exp() * (logprobs[-1] - logprobs)).sum(-1)
    torch.testing.assert_close(
        stats.kl_to_final.double(), kl, atol=1e-4 if dtype == torch.float32 else 0.1, rtol=1e-4
    )
    raw = stream_statistics(resid, resid[-1], LogitLens(), unembed, layers=range(3), n_layers=2, top_k=4)
    assert torch.equal(stats.kl_to_final[-1], raw.kl_to_final[-1])
    assert torch.equal(stats.top_logprobs[-1], raw.top_logprobs[-1])
    assert not torch.equal(stats.kl_to_final[0], raw.kl_to_final[0])


@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma2", "granite"])
def test_it_comes_closer_to_the_answer_of_a_tiny_model(family):
    adapter = BUILDERS[family]()
    fit = ClosedForm(adapter.n_layers, adapter.d_model, adapter.unembed)
    g = torch.Generator().manual_seed(0)

    def states():
        ids = torch.randint(3, 200, (60,), generator=g)
        inputs = adapter.encode("a red cat", [], answer_ids=ids.tolist())
        return capture(adapter, inputs, positions=range(1, len(inputs)))

    for _ in range(25):
        captured = states()
        fit.add(captured.resid, captured.final, ["text"] * len(captured.final))
    lens, fresh = fit.solve(), states()
    asked = {"layers": fresh.layers, "n_layers": adapter.n_layers, "top_k": 3}
    kinds = ["text"] * len(fresh.final)
    raw = LogitLens().read(fresh.resid, fresh.final, adapter.unembed, kinds, **asked).kl_to_final
    tuned = lens.read(fresh.resid, fresh.final, adapter.unembed, kinds, **asked).kl_to_final
    assert (tuned[:-1].mean(1) < 0.8 * raw[:-1].mean(1)).all()
    assert torch.equal(tuned[-1], raw[-1])


def test_it_reads_patches_answers_and_text_of_a_picture_by_themselves():
    states, unembed = Rotated(kinds=("text", "patch", "answer")), plain_unembed()
    lens, batch = closed(states.batches(), unembed), states.batch(60)
    asked = {"layers": range(N_LAYERS + 1), "n_layers": N_LAYERS, "top_k": 2}
    right = lens.read(batch.resid, batch.final, unembed, batch.kinds, **asked)
    turned = [batch.kinds[(i + 1) % 3] for i in range(60)]
    wrong = lens.read(batch.resid, batch.final, unembed, turned, **asked)
    assert right.kl_to_final[:-1].mean() < 0.01
    assert wrong.kl_to_final[:-1].mean() > 1
    assert lens.d_model == D_MODEL


def test_a_lens_of_a_wider_model_cannot_read_another():
    adapter = tiny_llama()
    lens = made("after_norm", d_model=adapter.d_model, n_layers=2).for_kind("text")
    with pytest.raises(SelectionError, match="layers 0 to 2"):
        lens.normed(torch.zeros(1, adapter.d_model), adapter.n_layers, adapter.unembed)
