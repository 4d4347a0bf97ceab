"""Each kind of position is read through its own lens, and comes back to its own place."""

from dataclasses import dataclass

import pytest
import torch

from patchlens.axes import fit_kind
from patchlens.lens import Lens, LogitLens, stream_statistics
from patchlens.models.unembed import Unembed


@dataclass(frozen=True)
class Scaled(LogitLens):
    by: float = 1.0

    def normed(self, resid_layer, layer, unembed):
        return self.by * unembed.norm(resid_layer)


class PerKind(Lens):
    name = "per kind"

    def for_kind(self, kind):
        return Scaled({"text": 1.0, "patch": 0.5, "answer": -1.0}[kind])


@pytest.fixture
def states():
    generator = torch.Generator().manual_seed(0)
    resid = torch.randn(3, 7, 8, generator=generator)
    weight = torch.randn(50, 8, generator=generator)
    return resid, Unembed(torch.nn.LayerNorm(8), weight)


def test_positions_are_read_by_kind(states):
    resid, unembed = states
    kinds = ["patch", "text", "patch", "answer", "text", "patch", "answer"]
    asked = {"layers": (0, 1, 2), "n_layers": 2, "top_k": 4, "target_ids": (3, 9)}
    lens = PerKind()
    told = []
    mixed = lens.read(resid, resid[-1], unembed, kinds, **asked, progress=lambda *at: told.append(at))
    for kind in ("text", "patch", "answer"):
        whole = stream_statistics(resid, resid[-1], lens.for_kind(kind), unembed, **asked)
        at = [i for i, own in enumerate(kinds) if own == kind]
        for name in ("top_ids", "top_logprobs", "entropy", "kl_to_final", "target_ranks", "target_logprobs"):
            torch.testing.assert_close(getattr(mixed, name)[:, at], getattr(whole, name)[:, at])
    done, total = zip(*told, strict=True)
    assert list(done) == sorted(done)
    assert done[-1] == total[-1]


def test_a_plain_lens_reads_all_alike(states):
    resid, unembed = states
    asked = {"layers": (0, 1, 2), "n_layers": 2, "top_k": 4}
    one = LogitLens().read(resid, resid[-1], unembed, ["text"] * 7, **asked)
    other = stream_statistics(resid, resid[-1], LogitLens(), unembed, **asked)
    assert torch.equal(one.top_ids, other.top_ids)


def test_an_answer_position_counts_as_such_wherever_it_stands():
    assert fit_kind("text", 0) == fit_kind("special", 2) == "answer"
    assert fit_kind("patch", -1) == "patch"
    assert fit_kind("image_other", -1) == fit_kind("special", -1) == fit_kind("text", -1) == "text"
