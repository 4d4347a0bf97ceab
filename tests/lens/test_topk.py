"""The packed keys, which carry the order of scores and ids."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from patchlens.lens.engine.topk import decode, encode

SCORE = st.floats(width=32, allow_nan=False) | st.sampled_from([0.0, -0.0, 1.0])
PAIRS = st.lists(st.tuples(SCORE, st.integers(0, 2**31 - 1)), min_size=1, max_size=20)


@given(PAIRS)
def test_keys_sort_by_score_then_by_lower_id(pairs):
    scores, ids = torch.tensor([p[0] for p in pairs]), torch.tensor([p[1] for p in pairs])
    order = encode(scores, ids).argsort(descending=True, stable=True)
    got = [(float(scores[i]), int(ids[i])) for i in order]
    assert got == sorted(got, key=lambda pair: (-pair[0], pair[1]))


@given(PAIRS)
def test_keys_come_back_whole(pairs):
    scores, ids = torch.tensor([p[0] for p in pairs]), torch.tensor([p[1] for p in pairs])
    back = decode(encode(scores, ids))
    assert torch.equal(back[0], scores)
    assert torch.equal(back[1], ids)
