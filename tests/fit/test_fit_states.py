"""What is left out of a fit, and that only that is."""

import torch

from patchlens.data.item import Item
from patchlens.fit.states import EARLY, LONG, Keep, StateStore, collect, exclusions, kept_positions
from patchlens.run import Model
from pictures_of import noise
from tiny import tiny_llama, tiny_llava, tiny_mllama


def states(n, layers=3, d_model=8, seed=0):
    return torch.randn(layers, n, d_model, generator=torch.Generator().manual_seed(seed))


def test_the_first_position_and_sinks_are_left_out():
    resid, kinds = states(20), ["text"] * 5 + ["patch"] * 12 + ["answer"] * 3
    resid[1, 7] *= 100
    resid[0, 18] *= 100
    kept, excluded = kept_positions(resid, kinds, Keep(), has_picture=True)
    assert kept.tolist() == [i for i in range(20) if i not in {0, 7, 18}]
    assert excluded == [1, 1 - 1, 2, 0]


def test_patches_are_sinks_among_patches_only():
    resid, kinds = states(20), ["text"] * 12 + ["patch"] * 8
    resid[:, 12:] *= 50  # as where image features enter with other lengths than words
    assert not exclusions(resid, kinds, has_picture=True)[2].any()
    resid[2, 14] *= 50
    assert exclusions(resid, kinds, has_picture=True)[2].nonzero().tolist() == [[14]]


def test_long_texts_lose_their_start_and_nothing_else_does():
    long, short = states(LONG + 1), states(LONG)
    assert kept_positions(long, ["text"] * (LONG + 1), Keep(), has_picture=False)[0].tolist() == list(
        range(EARLY, LONG + 1)
    )
    assert kept_positions(long, ["text"] * (LONG + 1), Keep(), has_picture=False)[1] == [1, EARLY - 1, 0, 0]
    for resid, has_picture in ((short, False), (long, True)):
        kept, _ = kept_positions(resid, ["text"] * resid.shape[1], Keep(), has_picture=has_picture)
        assert kept.tolist() == list(range(1, resid.shape[1]))


def test_kinds_and_patches_are_chosen():
    resid, kinds = states(30), ["text"] * 4 + ["patch"] * 20 + ["text"] * 4 + ["answer"] * 2
    kept, excluded = kept_positions(resid, kinds, Keep(("patch", "answer"), 5, 1), has_picture=True)
    assert [kinds[i] for i in kept] == ["patch"] * 5 + ["answer"] * 2
    assert excluded == [0, 0, 0, 15]
    others = [
        kept_positions(resid, kinds, Keep(("patch", "answer"), 5, seed), has_picture=True, index=index)[0]
        for seed, index in ((1, 1), (2, 0))
    ]
    assert all(other.tolist() != kept.tolist() for other in others)


def test_stored_states_are_those_of_the_trace(tmp_path):
    for number, (adapter, n_pictures) in enumerate(
        ((tiny_llava(), 1), (tiny_mllama(), 1), (tiny_llama(), 0))
    ):
        model, store = Model(adapter), StateStore(tmp_path / str(number))
        item = Item("an item", "what is this", (noise(1),) * n_pictures)
        collect(model, [item], store, Keep(), max_new_tokens=4, progress=lambda *_: None)
        trace = model.trace(list(item.pictures), item.prompt, max_new_tokens=4, steps=True)
        batch = store.batch(0)
        assert batch.kinds == tuple(trace.fit_kinds[1:])
        torch.testing.assert_close(batch.resid, trace.resid[:, 1:], rtol=0, atol=0)
        torch.testing.assert_close(batch.final, trace.captured.final[1:], rtol=0, atol=0)
        assert batch.kinds.count("answer") == max(1, len(trace.answer.ids))
        assert store.excluded([0]) == dict.fromkeys(store.excluded([0]), 0) | {"first position": 1}
