"""Average Jacobians of the last layer with respect to every earlier one, from vector-Jacobian products.

Let ``v_l`` be a shift added to the state of layer ``l`` at every source position, and ``y`` the sum of the
last layer's states (before the final norm) over the target positions. Then ``dy/dv_l``, divided by the number
of sources, is the mean over sources ``t`` of the sum over targets ``t'`` of ``d h_L[t'] / d h_l[t]``: the
Jacobian of one prompt. A causal model has nothing to add for ``t' < t``. So one forward pass serves a prompt,
and one backward pass gives the rows of some output directions at all layers at once.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from operator import length_hint

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from patchlens.axes import PositionKind
from patchlens.errors import FitError, NumericsError, SelectionError
from patchlens.lens.jacobian import VERSIONS, JacobianLens, Jacobians, Version
from patchlens.models.adapter import Adapter
from patchlens.models.inputs import Inputs

EARLY = 16
"""Positions left out at the start of a text without pictures, if it is at least twice as long."""

Positions = NDArray[np.int64]
Allowed = Callable[[Inputs], Sequence[bool] | NDArray[np.bool_]]


@torch.inference_mode(False)
def mean_jacobians(
    adapter: Adapter,
    inputs: Iterable[Inputs],
    version: Version,
    *,
    cotangents: int = 32,
    probes: int | None = None,
    seed: int = 0,
    keep: Allowed | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> JacobianLens:
    """Fit one version of the Jacobian lens: the mean over prompts of their Jacobians, each weighing the same.

    The model is left as it was, weights, modes, hooks and ``requires_grad``, also after an error.

    Args:
        adapter: the model.
        inputs: prompts, about 100; taken one at a time, so a generator saves memory.
        version: which positions are sources and targets; see `JacobianLens`.
        cotangents: output directions per backward pass. Beside the sums, 2 x layers x d_model² numbers, and
            one forward pass's graph, the memory of one such batch is all that is needed.
        probes: directions per prompt; None takes all ``d_model``, which is exact for the prompts given. With
            fewer, each prompt is asked about that many random directions: unbiased, with an error that falls
            as prompts x probes grows past ``d_model``; `Jacobians.errors` holds it.
        seed: of the random directions.
        keep: says of each position of a prompt whether it may be a source or a target; by default `settled`.
        progress: called after each prompt with how many are done, and of how many as far as that is known.

    Raises:
        SelectionError: an unknown version, a prompt without positions of its kinds, or counts out of range.
        FitError: there are no prompts.
        IdentityCheckError: the model's states do not unembed to its logits.
        NumericsError: a Jacobian is not finite.
    """
    _check(adapter, version, cotangents, probes)
    halves = _Sum(adapter), _Sum(adapter)
    dealt = [_deal(adapter.d_model, probes, 2 * seed + half) for half in (0, 1)]
    expected = length_hint(inputs)
    for number, one in enumerate(inputs):
        half = number % 2
        sources, targets = positions(one, version, keep)
        halves[half].add(NudgedPass(adapter, one, sources, targets), next(dealt[half]), cotangents)
        if progress is not None:
            progress(number + 1, max(expected, number + 1))
    return JacobianLens({version: _averaged(*halves)}, probes=probes, seed=seed)


def _check(adapter: Adapter, version: Version, cotangents: int, probes: int | None) -> None:
    if version not in VERSIONS:
        raise SelectionError(f"there is no version {version!r}: choose {', '.join(VERSIONS)}")
    if cotangents < 1:
        raise SelectionError(f"a backward pass needs at least 1 cotangent, got {cotangents}")
    if probes is not None and not 1 <= probes < adapter.d_model:
        raise SelectionError(
            f"got {probes} probes: choose 1 to {adapter.d_model - 1}, or None for all {adapter.d_model} "
            "directions"
        )


def settled(inputs: Inputs) -> NDArray[np.bool_]:
    """Leave out the first position, and the first `EARLY` of a long text without pictures.

    Attention rests there without meaning it, which would weigh in the mean.
    """
    is_long_text = not inputs.grids and len(inputs) > 2 * EARLY
    return np.arange(len(inputs)) >= (EARLY if is_long_text else 1)


def positions(inputs: Inputs, version: Version, keep: Allowed | None = None) -> tuple[Positions, Positions]:
    """Source and target positions of a version.

    "text" and "image" take the text or the patches that ``keep`` allows as both; "answer" takes those patches
    as sources and, as targets, all positions that predict a token of the answer.

    Raises:
        SelectionError: the prompt has none.
    """
    kind = PositionKind.TEXT if version == "text" else PositionKind.PATCH
    sources = np.flatnonzero((inputs.places.kind == kind) & np.asarray((keep or settled)(inputs)))
    if not sources.size:
        raise SelectionError(
            f"version {version!r} starts from {'text' if version == 'text' else 'patches'}, but the prompt "
            f"{inputs.prompt!r:.60} has no such position; where patches are not part of the sequence, "
            "'text' is the only version"
        )
    return sources, np.arange(inputs.n_prompt - 1, len(inputs)) if version == "answer" else sources


class NudgedPass:
    """One forward pass of a prompt, kept for as many backward passes as are wanted.

    The graph starts at the embeddings, so the vision tower and the weights have no part in it.
    """

    def __init__(self, adapter: Adapter, inputs: Inputs, sources: Positions, targets: Positions) -> None:
        dtype = torch.promote_types(adapter.dtype, torch.float32)
        self._n_layers = adapter.n_layers
        self._scale = 1 / len(sources)
        self._mask = torch.zeros(len(inputs), 1, dtype=dtype)
        self._mask[torch.from_numpy(sources)] = 1
        self._nudges: dict[int, Tensor] = {}
        self._prompt = inputs.prompt
        with _differentiable(adapter), adapter.watched(self._after, self._before):
            output = adapter.model(**inputs.tensors, use_cache=False, logits_to_keep=1)
            self._total = self._last[0, torch.from_numpy(targets)].to(dtype).sum(0)
        self._check_finite(self._total)
        adapter.check_pass(
            {layer - 1 for layer in self._nudges if layer}, self._last[0, -1:].detach(), output.logits[0, -1:]
        )

    def rows(
        self, directions: Float[Tensor, "direction d_model"]
    ) -> Float[Tensor, "layer direction d_model"]:
        """Multiply output directions into the prompt's Jacobians of layers 0 to ``n_layers - 1``, on the CPU.

        Raises:
            NumericsError: a product is not finite.
        """
        layers = [layer for layer in self._nudges if layer < self._n_layers]
        found = torch.autograd.grad(
            self._total,
            [self._nudges[layer] for layer in layers],
            directions.to(self._total),
            retain_graph=True,
            is_grads_batched=True,
        )
        by_layer = {layer: rows.cpu() * self._scale for layer, rows in zip(layers, found, strict=True)}
        for layer in range(self._n_layers):  # a block left out gives the state it would have taken
            by_layer.setdefault(layer, by_layer[layer - 1] if layer else found[0].cpu() * self._scale)
        stacked = torch.stack([by_layer[layer] for layer in range(self._n_layers)])
        self._check_finite(stacked)
        return stacked

    def _check_finite(self, found: Tensor) -> None:
        if not torch.isfinite(found).all():
            raise NumericsError(
                f"states or Jacobian of the prompt {self._prompt!r:.60} are not finite; if the model runs in "
                "float16, load it in bfloat16 or float32"
            )

    def _before(self, block: int, state: Tensor) -> None:
        if not self._nudges:
            self._nudge(0, state)

    def _after(self, block: int, state: Tensor) -> None:
        self._nudge(block + 1, state)
        self._last = state

    def _nudge(self, layer: int, state: Tensor) -> None:
        # In place, because a hook that watches gives nothing back; the shift is zero, so no value changes.
        nudge = torch.zeros(state.shape[-1], dtype=self._mask.dtype, device=state.device, requires_grad=True)
        self._nudges[layer] = nudge
        state.add_((self._mask.to(state.device) * nudge).to(state.dtype))


@contextmanager
def _differentiable(adapter: Adapter) -> Generator[None, None, None]:
    """Gradients of states, not of weights, inside; through attention that is batched on every device."""
    trained = [parameter for parameter in adapter.model.parameters() if parameter.requires_grad]
    for parameter in trained:
        parameter.requires_grad_(False)
    try:
        with (
            adapter.undisturbed(),
            torch.enable_grad(),
            sdpa_kernel(SDPBackend.MATH),
        ):
            yield
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)


def _deal(d_model: int, probes: int | None, seed: int) -> Iterator[Float[Tensor, "direction d_model"]]:
    """Directions ``z`` for one prompt after the other, so scaled that the expected sum of ``z zᵀ`` is 1.

    Random ones are the rows of random rotations, dealt until each is used up: prompts share out a whole
    basis between them, which leaves less error than drawing anew for each.
    """
    if probes is None:
        while True:
            yield torch.eye(d_model)
    generator = torch.Generator().manual_seed(seed)
    left = torch.empty(0, d_model)
    while True:
        if len(left) < probes:
            left = torch.cat([left, _rotation(d_model, generator)])
        yield left[:probes] * (d_model / probes) ** 0.5
        left = left[probes:]


def _rotation(d_model: int, generator: torch.Generator) -> Float[Tensor, "d_model d_model"]:
    q, r = torch.linalg.qr(torch.randn(d_model, d_model, generator=generator))
    return q * r.diagonal().sign()  # without the signs some rotations would come up more often


class _Sum:
    """Sum of the Jacobians of ``prompts`` prompts."""

    def __init__(self, adapter: Adapter) -> None:
        dtype = torch.promote_types(adapter.dtype, torch.float32)
        self.total = torch.zeros(adapter.n_layers, adapter.d_model, adapter.d_model, dtype=dtype)
        self.prompts = 0

    def add(
        self, nudged: NudgedPass, directions: Float[Tensor, "direction d_model"], cotangents: int
    ) -> None:
        for batch in directions.split(cotangents):
            for total, rows in zip(self.total, nudged.rows(batch), strict=True):
                total.addmm_(batch.to(rows).T, rows)
        self.prompts += 1


def _averaged(first: _Sum, second: _Sum) -> Jacobians:
    """Mean over both halves of the prompts, with the standard error that their difference tells of."""
    prompts = first.prompts + second.prompts
    if not prompts:
        raise FitError("a Jacobian lens needs at least one prompt to be fitted on, better about 100")
    n_layers, d_model = first.total.shape[:2]
    matrices = torch.eye(d_model, dtype=first.total.dtype).repeat(n_layers + 1, 1, 1)
    errors = torch.zeros(n_layers + 1)
    for layer, (one, other) in enumerate(zip(first.total, second.total, strict=True)):
        torch.add(one, other, out=matrices[layer]).div_(prompts)
        if second.prompts:
            apart = (one / first.prompts - other / second.prompts).norm()
            share = (first.prompts * second.prompts) ** 0.5 / prompts
            errors[layer] = share * apart / matrices[layer].norm().clamp_min(1e-30)
    return Jacobians(matrices, prompts, errors if second.prompts else None)
