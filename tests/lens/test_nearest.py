"""Nearest neighbours are those of a float64 search, and their statistics those of all similarities."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lens_oracle import Oracle, all_logits, make_states, make_unembed
from test_memory import peak_bytes

from patchlens.errors import NumericsError, SelectionError, TargetError
from patchlens.lens.embedding import EmbeddingLens
from patchlens.lens.nearest import search
from patchlens.lens.similar import TokenBank, similarity_statistics
from patchlens.models.unembed import Unembed


def cosines(states, bank):
    """All cosine similarities in float64; 0 where a length is 0."""
    a, b = (x.double() / x.double().norm(dim=-1, keepdim=True).clamp_min(1e-300) for x in (states, bank))
    return a @ b.T


def brute(states, bank, k):
    """Best first, and of those equal in float32 the lower index first."""
    near, order = cosines(states, bank).round(decimals=9).float().sort(dim=-1, descending=True, stable=True)
    return order[:, :k], near[:, :k]


def vectors(n, d=24, *, seed=0, dtype=torch.float32):
    g = torch.Generator().manual_seed(seed)
    scale = torch.rand(n, 1, generator=g) * 5 + 0.1
    return (torch.randn(n, d, generator=g) * scale).to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize(("rows", "n", "k", "chunk"), [(7, 500, 5, 64), (600, 90, 90, None), (1, 1, 1, 1)])
def test_search_is_the_brute_force_one(rows, n, k, chunk, dtype):
    states, bank = vectors(rows, seed=1, dtype=dtype), vectors(n, seed=2, dtype=dtype)
    indices, near = search(states, bank, k, chunk)
    expected, similarity = brute(states, bank, k)
    torch.testing.assert_close(near, similarity, atol=1e-6, rtol=0)
    assert torch.equal(indices, expected)
    assert near.dtype == torch.float32


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 30), st.integers(6, 28))
def test_ties_go_to_the_lower_index_whatever_the_chunk(seed, chunk, k):
    g = torch.Generator().manual_seed(seed)
    kinds = torch.randint(-1, 2, (6, 8), generator=g).float()
    bank = kinds[torch.randint(0, 6, (28,), generator=g)] * 2.0 ** torch.randint(-3, 4, (28, 1), generator=g)
    indices, near = search(kinds, bank, k, chunk)
    expected, similarity = brute(kinds, bank, k)
    assert torch.equal(indices, expected)
    torch.testing.assert_close(near, similarity, atol=1e-7, rtol=0)


def test_equal_similarities_of_unlike_entries_are_ties():
    swaps = list(itertools.permutations((1.0, 2.0, 3.0, -6.0, 5.0, -5.0)))
    bank = torch.tensor(swaps[::28])  # all at a right angle to the ones, which no float64 sum finds of all
    assert search(torch.ones(1, 6), bank, 10)[0].tolist() == [list(range(10))]


def test_neither_chunk_nor_company_changes_a_result():
    states, bank = vectors(40, 64, seed=3), vectors(1000, 64, seed=4)
    whole = search(states, bank, 9)
    for chunk in (1, 37, 512, 1000):
        for one, other in zip(search(states, bank, 9, chunk), whole, strict=True):
            assert torch.equal(one, other)
    alone = [search(row[None], bank, 9) for row in states]
    assert torch.equal(torch.cat([ids for ids, _ in alone]), whole[0])


def test_nothing_is_near_a_state_of_length_zero():
    bank = vectors(5)
    bank[2] = 0
    indices, near = search(torch.zeros(1, 24), bank, 5)
    assert indices.tolist() == [[0, 1, 2, 3, 4]] and not near.any()
    assert float(search(bank[:1], bank, 5)[1][0].abs().min()) == 0


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"k": 0}, SelectionError, "choose 1 to 9"),
        ({"k": 10}, SelectionError, "choose 1 to 9"),
        ({"chunk": 0}, SelectionError, "chunk is 0"),
        ({"states": torch.ones(2, 23)}, SelectionError, "23 wide but the bank's entries 24"),
        ({"states": torch.ones(0, 24)}, SelectionError, "no state to look up"),
        ({"states": torch.full((2, 24), torch.inf)}, NumericsError, "a state is not finite"),
        ({"bank": torch.full((9, 24), torch.nan)}, NumericsError, "an entry of the bank is not finite"),
    ],
)
def test_what_cannot_be_searched_is_refused(change, error, says):
    asked = {"states": vectors(2), "bank": vectors(9), "k": 3, "chunk": None} | change
    with pytest.raises(error, match=says):
        search(asked["states"], asked["bank"], asked["k"], asked["chunk"])


@pytest.mark.parametrize("n", [20_000, 80_000])
def test_memory_does_not_grow_with_the_bank(n):
    states, bank = vectors(700, 32), vectors(n, 32, seed=1)
    peak, largest = peak_bytes(lambda: search(states, bank, 5))
    assert 1_000_000 < largest < 9_000_000
    assert peak < 30_000_000 < 4 * 700 * n
    _, naive = peak_bytes(lambda: states @ bank.T)
    assert naive >= 4 * 700 * n  # the measure sees it


# -- statistics --------------------------------------------------------------------------------------------

NAMED = [0, 3, 3, 3, 4, 9, 9, 11, 40, 41, 41, 96]


def make_bank(d_model=16, sources=3):
    tokens = torch.tensor(NAMED)
    states = vectors(sources * len(NAMED), d_model, seed=5).unflatten(0, (sources, -1))
    return TokenBank(states, tokens)


def logits_of(resid, bank, vocab, temperature):
    """Similarity of every token over the temperature in float64: its best state's, -1 without one."""
    scores = torch.full((*resid.shape[:2], vocab), -1.0, dtype=torch.float64)
    for source, (row, token) in itertools.product(bank.states, enumerate(bank.tokens.tolist())):
        own = cosines(resid.flatten(0, 1), source[row][None]).view(resid.shape[:2])
        scores[..., token] = torch.maximum(scores[..., token], own)
    return scores / temperature


def read(resid, unembed, bank, temperature=0.05, top_k=5, targets=(), **more):
    return similarity_statistics(
        resid, resid[-1], unembed, bank, temperature, top_k=top_k, target_ids=targets, **more
    )


@pytest.mark.parametrize("temperature", [0.02, 0.05, 1.0])
@pytest.mark.parametrize("head", [{}, {"bias": True, "softcap": 3.0, "scale": 0.5}])
def test_statistics_are_those_of_all_similarities(temperature, head):
    unembed, resid, bank = make_unembed(**head), make_states(), make_bank()
    targets = (9, 7, 96)
    got = read(resid, unembed, bank, temperature, targets=targets, chunk=13)
    expected = Oracle(
        logits_of(resid, bank, 100, temperature), all_logits(unembed.final_norm(resid[-1]), unembed)
    )
    values, ids = expected.top(5)
    assert torch.equal(got.top_ids.long(), ids)
    ranks = expected.ranks(targets)
    assert torch.equal(got.target_ranks.long(), ranks)
    unnamed = ranks[..., 1]
    assert torch.equal(unnamed, torch.full_like(unnamed, len(set(NAMED))))
    assert (got.target_ranks_upper[..., 1] == 99).all()
    close = {"atol": 1e-4, "rtol": 1e-5}
    torch.testing.assert_close(got.top_logprobs.double(), values, **close)
    torch.testing.assert_close(got.target_logprobs.double(), expected.logprobs[..., list(targets)], **close)
    torch.testing.assert_close(got.entropy.double(), expected.entropy, **close)
    torch.testing.assert_close(got.logsumexp.double(), expected.logsumexp, **close)
    torch.testing.assert_close(got.kl_to_final.double(), expected.kl, **close)
    assert all(torch.isfinite(getattr(got, name)).all() for name in ("kl_to_final", "target_logprobs"))


def test_similarity_can_be_had_back():
    unembed, resid, bank = make_unembed(), make_states(), make_bank()
    got = read(resid, unembed, bank, temperature=0.07, targets=(7, 9))
    back = 0.07 * (got.top_logprobs + got.logsumexp[..., None])
    expected = 0.07 * logits_of(resid, bank, 100, 0.07)
    torch.testing.assert_close(back.double(), expected.gather(-1, got.top_ids.long()), atol=1e-6, rtol=0)
    back = 0.07 * (got.target_logprobs + got.logsumexp[..., None])
    torch.testing.assert_close(back.double(), expected[..., [7, 9]], atol=1e-6, rtol=0)


def test_neither_chunk_nor_block_changes_a_reading():
    unembed, resid, bank = make_unembed(), make_states(4, 700), make_bank()
    told = []
    whole = read(resid, unembed, bank, targets=(3, 50), progress=lambda *at: told.append(at))
    part = read(resid[:, 600:], unembed, bank, targets=(3, 50), chunk=7)
    for name in ("top_ids", "target_ranks", "target_ranks_upper"):
        assert torch.equal(getattr(whole, name)[:, 600:], getattr(part, name))
    for name in ("top_logprobs", "entropy", "kl_to_final", "logsumexp", "target_logprobs"):
        torch.testing.assert_close(getattr(whole, name)[:, 600:], getattr(part, name), atol=2e-5, rtol=1e-5)
    assert told == [(i + 1, len(told)) for i in range(len(told))] and told


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_embedding_lens_compares_with_every_token(dtype):
    unembed, resid = make_unembed(dtype=dtype), make_states(dtype=dtype)
    embeddings = vectors(104, 16, seed=8, dtype=dtype)  # four more than the model has logits
    embeddings[17] = 0
    resid[1, 2] = embeddings[33] * 4
    lens = EmbeddingLens(embeddings)
    asked = {"layers": range(3), "n_layers": 2, "top_k": 7, "target_ids": [17, 33]}
    got = lens.read(resid, resid[-1], unembed, ["text"] * 5, **asked)
    near = cosines(resid.flatten(0, 1), embeddings[:100]).view(3, 5, 100)
    assert torch.equal(got.top_ids.long(), near.topk(7).indices)
    assert got.top_ids[1, 2, 0] == 33 and got.target_ranks[1, 2, 1] == 0
    expected = (near / 0.05).log_softmax(-1)
    torch.testing.assert_close(got.target_logprobs.double(), expected[..., [17, 33]], atol=1e-4, rtol=1e-5)
    assert "similarities turned into shares" in lens.notes()[0] and lens.params() == {"temperature": 0.05}


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"top_k": 0}, SelectionError, "choose 1 to 8"),
        ({"top_k": 9}, SelectionError, "choose 1 to 8"),
        ({"temperature": 0.0}, SelectionError, "the temperature is 0.0"),
        ({"temperature": float("nan")}, SelectionError, "the temperature is nan"),
        ({"targets": [100]}, TargetError, "ids 0 to 99"),
        ({"bank": make_bank(12)}, SelectionError, "12 wide but the model's 16"),
        ({"resid": torch.full((2, 3, 16), torch.nan)}, NumericsError, "a state is not finite"),
    ],
)
def test_what_cannot_be_read_is_refused(change, error, says):
    asked = {"resid": make_states(), "bank": make_bank()} | change
    with pytest.raises(error, match=says):
        read(asked.pop("resid"), make_unembed(), asked.pop("bank"), **asked)


@pytest.mark.parametrize("per_token", [10, 60])
def test_a_reading_s_memory_does_not_grow_with_the_bank(per_token):
    tokens = torch.arange(400).repeat_interleave(per_token)
    bank = TokenBank(vectors(2 * len(tokens), 32, seed=1).unflatten(0, (2, -1)), tokens)
    unembed: Unembed = make_unembed(600, 32)
    resid = make_states(6, 200, 32)
    peak, largest = peak_bytes(lambda: read(resid, unembed, bank))
    assert 1_000_000 < peak < 60_000_000
    assert largest < 35_000_000 < 4 * 1200 * 2 * 400 * 10
