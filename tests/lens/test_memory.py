"""Nothing of size layer x position x vocabulary is ever allocated, and the peak grows with none."""

import pytest
import torch
from lens_oracle import make_states, make_unembed, oracle, read


def peak_bytes(work) -> tuple[int, int]:
    """Peak of live bytes beyond those alive before, and the largest single allocation."""
    with torch.profiler.profile(profile_memory=True) as profile:
        work()
    live = peak = largest = 0
    for event in profile.profiler.kineto_results.events():
        if event.name() == "[memory]":
            live += event.nbytes()
            peak, largest = max(peak, live), max(largest, event.nbytes())
    return peak, largest


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    ("layers", "positions", "vocab"),
    [(12, 300, 6_000), (48, 300, 6_000), (12, 1200, 6_000), (12, 300, 24_000)],
)
def test_memory_is_bounded_whatever_the_size(layers, positions, vocab, dtype):
    unembed, resid = make_unembed(vocab, 32, dtype=dtype), make_states(layers, positions, 32, dtype=dtype)
    peak, largest = peak_bytes(lambda: read(resid, unembed, top_k=10, targets=[3, 4]))
    assert 1_000_000 < peak < 40_000_000
    assert largest < 10_000_000 < 4 * layers * positions * vocab / 8


def test_the_measure_sees_a_naive_computation():
    unembed, resid = make_unembed(5_000, 32), make_states(3, 600, 32)
    peak, largest = peak_bytes(lambda: oracle(resid, unembed).kl)
    assert largest >= 8 * 3 * 600 * 5_000
    assert peak > largest
