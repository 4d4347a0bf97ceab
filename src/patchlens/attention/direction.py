"""What direction of the residual stream raises a token's logit, the final norm's scale held fixed."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from patchlens.errors import UnsupportedModelError
from patchlens.models.unembed import Unembed

_LOUD = 1e3  # a probe beside which a norm's epsilon vanishes


@torch.no_grad()
def linearised(
    unembed: Unembed, final: Float[Tensor, "query d_model"], token_ids: Int[Tensor, " target"]
) -> Float[Tensor, "query target d_model"]:
    """Directions whose dot product with a part of a state is that part's share of a token's logit.

    A final norm scales a state by a number that depends on the whole of it. With that number held at its
    value for ``final``, norm and unembedding are linear, and the shares of all parts of the state sum to the
    logit (less the biases of norm and lm_head). For a root-mean-square norm the direction is
    ``gamma * W_U[w] / rms(final)``; a layer norm also takes off its mean. The lm_head's scale is applied, a
    soft-cap is not.

    Args:
        unembed: the model's unembedding; the final norm is applied in this sense, once.
        final: residual states of the last layer, before the final norm.
        token_ids: the tokens.

    Returns:
        In float32, or float64 in a float64 model, on the unembed's device.

    Raises:
        UnsupportedModelError: the final norm is no scale times a fixed linear map.
    """
    weight = unembed.weight.detach()
    exact = torch.float64 if weight.dtype == torch.float64 else torch.float32
    state = final.to(weight.device, exact)
    gamma, centred = _shape_of(unembed, exact)
    direct = gamma * (state - centred * state.mean(-1, keepdim=True))
    offset = unembed.norm(torch.zeros_like(weight[:1])).to(exact)
    normed = unembed.norm(final).to(exact) - offset
    scale = (direct * normed).sum(-1, keepdim=True) / direct.square().sum(-1, keepdim=True)
    misfit = (scale * direct - normed).abs().max() / normed.abs().max()
    if not misfit <= max(1e-5, 8 * torch.finfo(weight.dtype).eps):
        raise UnsupportedModelError(
            f"the final norm ({type(unembed.final_norm).__name__}) is no scale times a fixed linear map, so "
            "a logit cannot be split into shares"
        )
    rows = weight[token_ids.to(weight.device)].to(exact) * gamma * unembed.scale
    rows = rows - centred * rows.mean(-1, keepdim=True)
    return rows * scale[:, None]


def _shape_of(unembed: Unembed, exact: torch.dtype) -> tuple[Float[Tensor, " d_model"], float]:
    """Return a norm's gamma, and 1.0 if it takes off the mean, else 0.0, from how it treats two probes."""
    weight = unembed.weight
    signs = torch.ones_like(weight[0])
    signs[1::2] = -1

    def odd_part(probe: Tensor) -> Tensor:
        return ((unembed.norm(probe) - unembed.norm(-probe)) / 2).to(exact)

    gamma = odd_part(signs[None] * _LOUD)[0] * signs.to(exact)
    flat = odd_part(torch.full_like(signs, _LOUD)[None])[0]
    return gamma, float(flat.abs().mean() < 0.5 * gamma.abs().mean())
