"""The run-time check of array shapes is on: a tensor of the wrong rank is refused at the border."""

import jaxtyping
import pytest
import torch

from patchlens.lens import LogitLens
from patchlens.models.unembed import Unembed


def test_a_tensor_of_the_wrong_rank_is_refused():
    unembed = Unembed(torch.nn.Identity(), torch.ones(5, 3))
    assert LogitLens().normed(torch.ones(2, 3), 0, unembed).shape == (2, 3)
    with pytest.raises(jaxtyping.TypeCheckError):
        LogitLens().normed(torch.ones(2, 2, 3), 0, unembed)
