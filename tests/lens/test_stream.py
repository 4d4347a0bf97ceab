"""The engine against a naive float64 computation, and what it promises about ties, chunks and bad states."""

from dataclasses import dataclass, fields, replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lens_oracle import all_logits, make_states, make_unembed, oracle, read

from patchlens.errors import NumericsError, SelectionError, TargetError
from patchlens.lens import Lens, LogitLens, stream_statistics
from patchlens.models.unembed import Unembed

FLOAT32 = {"atol": 1e-4, "rtol": 1e-5}
HEADS = {
    "plain": {},
    "bias": {"bias": True},
    "softcap": {"softcap": 5.0},
    "scale": {"scale": 0.25},
    "all": {"bias": True, "softcap": 3.0, "scale": 0.5},
}


def close(got, want, **kwargs):
    torch.testing.assert_close(got.double(), want, **kwargs)


def check(statistics, truth, targets, top_k, **tolerance):
    logprobs, _ = truth.top(top_k)
    close(statistics.top_logprobs, logprobs, **tolerance)
    # the named ids carry those log-probabilities: says which ids, near-ties apart
    close(truth.logprobs.gather(-1, statistics.top_ids.long()), logprobs, **tolerance)
    close(statistics.entropy, truth.entropy, **tolerance)
    close(statistics.kl_to_final, truth.kl, **tolerance)
    close(statistics.logsumexp, truth.logsumexp, **tolerance)
    close(statistics.target_logprobs, truth.logprobs[..., list(targets)], **tolerance)


def check_ranks(statistics, truth, targets, slack):
    """Each rank lies between those that the true logits allow when they move by ``slack``."""
    own = truth.logits[..., list(targets)][..., None]
    least = (truth.logits[..., None, :] > own + slack).sum(-1)
    most = (truth.logits[..., None, :] > own - slack).sum(-1) - 1
    assert (statistics.target_ranks >= least).all()
    assert (statistics.target_ranks <= most).all()


@settings(max_examples=40, deadline=None)
@given(
    layers=st.integers(1, 5),
    positions=st.integers(1, 9),
    d_model=st.integers(1, 24),
    vocab=st.integers(2, 300),
    chunk=st.none() | st.integers(1, 320),
    head=st.sampled_from(sorted(HEADS)),
    seed=st.integers(0, 1000),
    data=st.data(),
)
def test_float32_equals_the_oracle(layers, positions, d_model, vocab, chunk, head, seed, data):
    top_k = data.draw(st.integers(1, min(vocab, 40)))
    targets = data.draw(st.lists(st.integers(0, vocab - 1), max_size=3))
    unembed = make_unembed(vocab, d_model, seed=seed, **HEADS[head])
    resid = make_states(layers, positions, d_model, seed=seed + 1)
    statistics = read(resid, unembed, top_k=top_k, targets=targets, chunk=chunk)
    truth = oracle(resid, unembed)
    check(statistics, truth, targets, top_k, **FLOAT32)
    check_ranks(statistics, truth, targets, 1e-5)


@pytest.mark.parametrize("head", HEADS)
def test_ids_and_ranks_are_exact_in_float32(head):
    unembed, resid, targets = make_unembed(1003, 64, **HEADS[head]), make_states(4, 37, 64), (3, 999, 3, 500)
    statistics, truth = read(resid, unembed, top_k=10, targets=targets, chunk=96), oracle(resid, unembed)
    assert torch.equal(statistics.top_ids.long(), truth.top(10)[1])
    assert torch.equal(statistics.target_ranks.long(), truth.ranks(targets))
    assert torch.equal(statistics.target_ranks_upper, statistics.target_ranks)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize(("dtype", "error"), [(torch.bfloat16, 4e-3), (torch.float16, 6e-4)])
def test_16_bit_weights_give_exact_words_and_bracketed_ranks(dtype, error, head):
    unembed = make_unembed(1003, 64, dtype=dtype, **HEADS[head])
    resid, targets = make_states(4, 37, 64, dtype=dtype), (3, 999, 3, 500)
    statistics, truth = read(resid, unembed, top_k=10, targets=targets, chunk=96), oracle(resid, unembed)
    assert torch.equal(statistics.top_ids.long(), truth.top(10)[1])
    check(statistics, truth, targets, 10, atol=error, rtol=0)
    assert (statistics.target_ranks.long() <= truth.ranks(targets)).all()
    assert (truth.ranks(targets) <= statistics.target_ranks_upper.long()).all()
    settled = truth.ranks(targets) < 10
    assert torch.equal(statistics.target_ranks.long()[settled], truth.ranks(targets)[settled])
    assert torch.equal(statistics.target_ranks_upper[settled], statistics.target_ranks[settled])


def test_16_bit_without_settling_would_miss():
    """The test above can fail: the rounded logits alone name other words."""
    unembed = make_unembed(1003, 64, dtype=torch.bfloat16)
    resid = make_states(4, 37, 64, dtype=torch.bfloat16)
    rounded = unembed.logits(resid).float().sort(dim=-1, descending=True, stable=True).indices[..., :10]
    assert not torch.equal(rounded, oracle(resid, unembed).top(10)[1])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_16_bit_product_may_round_as_it_will(dtype, monkeypatch):
    """Kernels sum in their own order: here one product in seven is rounded to the next number up."""
    unembed = make_unembed(1003, 64, dtype=dtype)
    unembed = Unembed(unembed.final_norm, unembed.weight * 4)  # so sure that one logit decides
    resid, multiply = make_states(4, 37, 64, dtype=dtype), torch.mm

    def rounding_up(rows, columns, *, out):
        multiply(rows, columns, out=out)
        if out.dtype == dtype:
            some = out.view(torch.int16).view(-1)[::7]
            some += 1

    expected, truth = read(resid, unembed, chunk=96), oracle(resid, unembed)
    monkeypatch.setattr(torch, "mm", rounding_up)
    got = read(resid, unembed, chunk=96)
    assert torch.equal(got.top_ids, expected.top_ids)
    torch.testing.assert_close(got.kl_to_final.double(), truth.kl, atol=1.5e-3, rtol=1e-5)
    assert got.kl_to_final[-1].max() < 1e-4
    torch.testing.assert_close(got.entropy.double(), truth.entropy, atol=2e-3, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("head", ["plain", "all"])
def test_the_best_token_has_rank_zero_and_the_same_logprob(dtype, head):
    unembed, resid = make_unembed(517, 48, dtype=dtype, **HEADS[head]), make_states(3, 40, 48, dtype=dtype)
    best = read(resid, unembed, top_k=3, chunk=64).top_ids
    for layer in range(3):
        targets = sorted(set(best[layer].flatten().tolist()))
        statistics = read(resid, unembed, top_k=3, targets=targets, chunk=64)
        assert torch.equal(statistics.top_ids, best)
        for rank in range(3):
            slots = torch.tensor([targets.index(i) for i in best[layer, :, rank].tolist()])[:, None]
            ranks = statistics.target_ranks[layer].gather(1, slots)[:, 0]
            assert torch.equal(ranks, torch.full_like(ranks, rank))
            logprobs = statistics.target_logprobs[layer].gather(1, slots)[:, 0]
            assert torch.equal(logprobs, statistics.top_logprobs[layer, :, rank])


@pytest.mark.parametrize("chunk", [None, 50, 64])
def test_ties_go_to_the_lower_id(chunk):
    # small whole numbers: every product is exact, so equal rows give equal logits
    row = torch.arange(7).repeat(30)
    unembed = Unembed(lambda x: x, torch.stack([row, -row], 1).float())
    resid = torch.tensor([[[3.0, 0.0], [0.0, 2.0]], [[1.0, 0.0], [2.0, 3.0]]])
    statistics = read(resid, unembed, top_k=40, targets=[11, 18], chunk=chunk)
    truth = oracle(resid, unembed)
    assert torch.equal(statistics.top_ids.long(), truth.top(40)[1])
    assert torch.equal(statistics.top_ids[0, 0, :30].long(), 6 + 7 * torch.arange(30))
    assert statistics.target_ranks[:, :, 0].tolist() == [[60, 120], [60, 120]]
    assert statistics.target_ranks_upper[:, :, 0].tolist() == [[89, 149], [89, 149]]
    assert torch.equal(statistics.target_ranks[..., 0], statistics.target_ranks[..., 1])


@pytest.mark.parametrize("chunk", [None, 1, 33, 64])
def test_all_logits_equal(chunk):
    unembed = make_unembed(100, 8)
    statistics = read(torch.zeros(2, 3, 8), unembed, top_k=70, targets=[42], chunk=chunk)
    assert torch.equal(statistics.top_ids, torch.arange(70).int().expand(2, 3, 70))
    assert (statistics.target_ranks == 0).all()
    assert (statistics.target_ranks_upper == 99).all()
    close(statistics.entropy, torch.full((2, 3), 100.0).double().log())


def test_the_last_layer_is_the_models_own():
    unembed, resid = make_unembed(300, 32, softcap=4.0), make_states(3, 6, 32)
    statistics = read(resid, unembed, top_k=300)
    own = unembed.logits(resid[-1]).log_softmax(-1).sort(descending=True).values
    torch.testing.assert_close(statistics.top_logprobs[-1], own, atol=1e-5, rtol=0)
    assert (statistics.kl_to_final[-1] < 1e-6).all()
    assert (statistics.kl_to_final[:-1] > 0.1).all()


@dataclass(frozen=True)
class Doubling(Lens):
    """A lens that changes the last layer too."""

    name = "doubling"

    def params(self):
        return {"factor": 2}

    def normed(self, resid_layer, layer, unembed):
        return 2 * unembed.norm(resid_layer + layer)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_kl_is_to_the_model_not_to_the_lens(dtype):
    unembed, resid = make_unembed(200, 16, dtype=dtype), make_states(3, 5, 16, dtype=dtype)
    statistics = read(resid, unembed, lens=Doubling())
    final = all_logits(unembed.norm(resid[-1]), unembed).log_softmax(-1)
    shifted = resid + torch.arange(3, dtype=dtype)[:, None, None]
    through = all_logits(2 * unembed.norm(shifted), unembed).log_softmax(-1)
    close(statistics.kl_to_final, (final.exp() * (final - through)).sum(-1), atol=2e-2, rtol=1e-3)
    assert (statistics.kl_to_final[-1] > 0.01).all()


def test_chosen_layers_without_the_last():
    unembed, resid = make_unembed(200, 16), make_states(6, 5, 16)
    whole = read(resid, unembed, targets=[7])
    part = stream_statistics(
        resid[[1, 3]],
        resid[5],
        LogitLens(),
        unembed,
        layers=[1, 3],
        n_layers=5,
        top_k=5,
        target_ids=torch.tensor([7]),
    )
    for field in fields(part):
        torch.testing.assert_close(
            getattr(part, field.name), getattr(whole, field.name)[[1, 3]], atol=1e-5, rtol=1e-5
        )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_chunks_and_position_blocks_change_nothing(dtype):
    unembed, resid = make_unembed(1000, 24, dtype=dtype), make_states(9, 250, 24, dtype=dtype)
    whole = read(resid, unembed, targets=[3, 700])
    assert whole.entropy.shape == (9, 250)
    for got in (
        read(resid, unembed, targets=[3, 700], chunk=130),
        read(resid[:, 101:140], unembed, targets=[3, 700]),
    ):
        same = slice(None) if got.entropy.shape[1] == 250 else slice(101, 140)
        for field in fields(whole):
            torch.testing.assert_close(
                getattr(got, field.name), getattr(whole, field.name)[:, same], atol=2e-5, rtol=1e-5
            )


def test_extreme_logits_stay_finite():
    unembed, resid = make_unembed(400, 32), make_states(2, 4, 32)
    sharp = replace(unembed, scale=1e4)
    statistics, truth = read(resid, sharp, targets=[0], chunk=70), oracle(resid, sharp)
    close(statistics.kl_to_final, truth.kl, atol=1e-2, rtol=1e-5)
    close(statistics.entropy, truth.entropy, atol=1e-3, rtol=0)
    close(statistics.top_logprobs, truth.top(5)[0], atol=2e-2, rtol=1e-5)


def test_progress_counts_to_the_end():
    seen = []
    unembed, resid = make_unembed(1000, 24), make_states(9, 250, 24)
    read(resid, unembed, chunk=300, progress=lambda done, total: seen.append((done, total)))
    total = seen[0][1]
    assert total > 4
    assert seen == [(i + 1, total) for i in range(total)]


def test_no_position_is_no_work():
    assert read(torch.zeros(3, 0, 8), make_unembed(20, 8)).top_ids.shape == (3, 0, 5)


def test_results_are_ordinary_tensors_and_inputs_stay():
    unembed, resid = make_unembed(50, 8), make_states(2, 3, 8)
    unembed = replace(unembed, weight=torch.nn.Parameter(unembed.weight))
    before = resid.clone(), unembed.weight.detach().clone()
    statistics = read(resid, unembed)
    statistics.entropy.add_(1)
    assert not statistics.entropy.is_inference()
    assert torch.equal(resid, before[0])
    assert torch.equal(unembed.weight, before[1])


@pytest.mark.parametrize("top_k", [0, 101, -1])
def test_top_k_outside_the_vocabulary(top_k):
    with pytest.raises(SelectionError, match="1 to 100"):
        read(make_states(), make_unembed(), top_k=top_k)


@pytest.mark.parametrize("token", [-1, 100])
def test_target_outside_the_vocabulary(token):
    with pytest.raises(TargetError, match="0 to 99"):
        read(make_states(), make_unembed(), targets=[3, token])


def test_layers_that_do_not_fit():
    for layers in ([0, 1], [0, 1, 3]):
        with pytest.raises(SelectionError, match="0 to 2"):
            stream_statistics(
                make_states(3),
                make_states(3)[-1],
                LogitLens(),
                make_unembed(),
                layers=layers,
                n_layers=2,
                top_k=1,
            )


def test_chunk_must_be_positive():
    with pytest.raises(SelectionError, match="chunk"):
        read(make_states(), make_unembed(), chunk=0)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_states_that_are_not_finite_are_named(bad, dtype):
    resid = make_states(4, 300, 16, dtype=dtype)
    resid[2, 250, 3] = bad
    with pytest.raises(NumericsError, match="layer 2 at position 250"):
        read(resid, make_unembed(dtype=dtype))


def test_a_bad_last_state_is_named_even_if_not_read():
    final = make_states()[-1].clone()
    final[4] = torch.nan
    with pytest.raises(NumericsError, match="layer 2 at position 4"):
        stream_statistics(
            make_states(3)[:1], final, LogitLens(), make_unembed(), layers=[0], n_layers=2, top_k=1
        )


def test_the_logit_lens_is_a_lens():
    lens = LogitLens()
    assert isinstance(lens, Lens)
    assert (lens.name, lens.params()) == ("logit", {})


def test_unembed_logits_follow_the_stated_order():
    unembed, state = make_unembed(20, 8, bias=True, scale=0.5, softcap=2.0), make_states(1, 1, 8)[0, 0]
    raw = unembed.weight @ unembed.final_norm(state) + unembed.bias
    torch.testing.assert_close(unembed.logits(state), 2 * torch.tanh(raw * 0.5 / 2))
    plain = Unembed(lambda x: x, torch.eye(3))
    assert torch.equal(plain.logits(torch.tensor([1.0, 2.0, 3.0])), torch.tensor([1.0, 2.0, 3.0]))
    assert (plain.vocab, plain.d_model) == (3, 3)
