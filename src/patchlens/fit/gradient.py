"""The tuned lens by gradient descent, from any lens of either form."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from patchlens.axes import FIT_KINDS, FitKind
from patchlens.errors import FitError
from patchlens.fit.states import StateBatch
from patchlens.lens.engine.divergence import kl_to_final
from patchlens.lens.tuned import Form, Translators, TunedLens, translated
from patchlens.models.unembed import Unembed

AfterEpoch = Callable[[int, int, Mapping[FitKind, float]], None]
_POOLED_STEPS = 4
_MOMENTUM, _CLIPPED_TO = 0.9, 1.0
_LEAST_GAIN = 1e-3


def refine(
    lens: TunedLens,
    batches: Callable[[], Iterable[StateBatch]],
    held_out: Callable[[], Iterable[StateBatch]],
    unembed: Unembed,
    *,
    seed: int = 0,
    epochs: int = 20,
    rate: float = 1.0,
    patience: int | None = None,
    rows: int = 128,
    progress: AfterEpoch | None = None,
) -> TunedLens:
    """Lower the mean ``KL(p_final || p_lens)`` of every layer and kind, the unembed frozen.

    Minimises the loss of Belrose et al. 2023 (arXiv 2303.08112, section 3) as their package does, but for its
    slight weight decay: SGD with Nesterov momentum, clipped gradients and a learning rate that falls
    linearly; from the lens given, such as `before_norm` makes of the closed form, or from
    `TunedLens.identity`. Other than there, each layer and kind keeps the translator that was best on the
    held-out states, the one it came with included, so none gets worse there. The form stays as it is. Memory
    holds four times the lens.

    Args:
        lens: where to start.
        batches: gives the states to fit on, anew for each epoch.
        held_out: gives states of other pictures, on which the best is chosen.
        unembed: the model's unembedding; work is done on its device.
        seed: of the order in which positions are taken.
        epochs: passes over ``batches``.
        rate: learning rate of the first step, as the package counts it: a tenth of it goes to SGD.
        patience: stop after this many epochs in which no layer of any kind got better; None for never.
        rows: positions of one kind per step.
        progress: called with (epochs done, epochs, mean held-out KL of each kind).

    Raises:
        FitError: a kind of the lens has no held-out positions, or there is nothing to fit on.
    """
    start = lens.to(unembed.weight.device)
    fits: dict[FitKind, _Descent] = {
        kind: _Descent(start.form, start.kinds[kind], lowest, rate * (1 - _MOMENTUM))
        for kind, lowest in mean_kl(start, held_out, unembed).items()
    }
    if not fits:
        raise FitError("no held-out position of a kind that this lens was made for: hold out more pictures")
    draw = torch.Generator().manual_seed(seed)
    stale = 0
    for epoch in range(epochs):
        for fit in fits.values():
            fit.slow_down(epoch / epochs)
        for kind, step in _steps(batches(), tuple(fits), rows, draw):
            fits[kind].step(step, unembed)
        now: dict[FitKind, Translators] = {kind: fit.now for kind, fit in fits.items()}
        current = mean_kl(replace(start, kinds=now), held_out, unembed)
        better = [fit.keep(current[kind]) for kind, fit in fits.items()]
        stale = 0 if any(better) else stale + 1
        if progress is not None:
            told: dict[FitKind, float] = {kind: float(fit.lowest.mean()) for kind, fit in fits.items()}
            progress(epoch + 1, epochs, told)
        if patience is not None and stale >= patience:
            break
    kinds = dict(start.kinds) | {kind: fit.best for kind, fit in fits.items()}
    return replace(start, kinds=kinds, how=f"{lens.how}+gradient", seed=seed, file=None)


@torch.no_grad()
def before_norm(lens: TunedLens, batches: Iterable[StateBatch], unembed: Unembed) -> TunedLens:
    """Return a lens of the paper's form that says nearly what one of the form ``after_norm`` says.

    For states of about the usual size of their layer and kind; how sure it is, is left to the final norm,
    which now comes last. Layers at which the lens is the logit lens stay so exactly.

    Args:
        lens: of the form ``after_norm``.
        batches: states to take the sizes from.
        unembed: the model's, with an elementwise gain (and perhaps a shift) in its final norm.
    """
    sizes = _sizes(lens, batches)
    turns = torch.ones(lens.d_model, device=unembed.weight.device)
    turns[1::2] = -1
    up, down = (unembed.norm(signs[None])[0].float() for signs in (turns, -turns))
    gain, shift = (up - down) / 2 * turns, (up + down) / 2
    gain = torch.where(gain < 0, -1, 1) * gain.abs().clamp_min(_LEAST_GAIN * gain.abs().max())
    kinds: dict[FitKind, Translators] = {}
    for kind, own in lens.to(gain.device).kinds.items():
        weight = own.weight * gain / gain[:, None] - torch.eye(lens.d_model, device=gain.device)
        bias = sizes[kind].to(gain)[:, None] * (own.weight @ shift + own.bias - shift) / gain
        kinds[kind] = Translators(weight, bias)
    return replace(lens, form="before_norm", kinds=kinds)


def _sizes(lens: TunedLens, batches: Iterable[StateBatch]) -> dict[FitKind, Float[Tensor, " layer"]]:
    """Mean over positions of the states' root mean squares."""
    found: dict[FitKind, list[Tensor]] = {kind: [] for kind in lens.kinds}
    for batch in batches:
        for kind, own in _by_kind(batch, lens.kinds):
            found[kind].append(own.first_layers(lens.n_layers).float().square().mean(-1).sqrt())
    return {kind: torch.cat(sizes, 1).mean(1) for kind, sizes in found.items()}


def lowest(
    lenses: Sequence[TunedLens], held_out: Callable[[], Iterable[StateBatch]], unembed: Unembed
) -> TunedLens:
    """Put the first lens together anew, of whichever has the lowest mean KL at each layer and kind."""
    found = [mean_kl(lens, held_out, unembed) for lens in lenses]
    kinds = dict(lenses[0].kinds)
    for kind in found[0]:
        best = torch.stack([kl[kind] for kl in found]).argmin(0).tolist()
        parts = [lenses[number].kinds[kind] for number in best]
        kinds[kind] = Translators(
            torch.stack([own.weight[layer] for layer, own in enumerate(parts)]),
            torch.stack([own.bias[layer] for layer, own in enumerate(parts)]),
        )
    return replace(lenses[0], kinds=kinds)


def mean_kl(
    lens: TunedLens, batches: Callable[[], Iterable[StateBatch]], unembed: Unembed
) -> dict[FitKind, Float[Tensor, " layer"]]:
    """Return the mean ``KL(p_final || p_lens)`` in nats of layers 0 to ``n_layers - 1``, by kind of position.

    Kinds that the lens was not fitted for, or that do not occur, are left out. Work is done on the unembed's
    device.
    """
    lens = lens.to(unembed.weight.device)
    sums: dict[FitKind, Tensor] = {}
    counts: dict[FitKind, int] = {}
    with torch.no_grad():
        for batch in batches():
            for kind, own in _by_kind(batch, tuple(lens.kinds)):
                kl = _kl(lens.form, lens.kinds[kind], own, unembed).sum(-1, dtype=torch.float64)
                sums[kind] = sums[kind] + kl if kind in sums else kl
                counts[kind] = counts.get(kind, 0) + len(own.kinds)
    return {kind: (sums[kind] / counts[kind]).float() for kind in FIT_KINDS if kind in sums}


class _Descent:
    """The translators of one kind on their way, and the best of each layer so far."""

    def __init__(self, form: Form, start: Translators, lowest: Float[Tensor, " layer"], lr: float) -> None:
        self.form: Form = form
        self.best = Translators(start.weight.clone(), start.bias.clone())
        self.now = Translators(start.weight.clone().requires_grad_(), start.bias.clone().requires_grad_())
        self.lowest = lowest
        self._lr = lr
        self._parts = [self.now.weight, self.now.bias]
        self._optimiser = torch.optim.SGD(self._parts, lr=lr, momentum=_MOMENTUM, nesterov=True)

    def slow_down(self, done: float) -> None:
        for group in self._optimiser.param_groups:
            group["lr"] = self._lr * (1 - done)

    def step(self, batch: StateBatch, unembed: Unembed) -> None:
        # layers share nothing, so the sum over them fits each by its own mean
        loss = _kl(self.form, self.now, batch, unembed).mean(-1).sum()
        for part, gradient in zip(self._parts, torch.autograd.grad(loss, self._parts), strict=True):
            part.grad = gradient
        torch.nn.utils.clip_grad_norm_(self._parts, _CLIPPED_TO)
        self._optimiser.step()

    def keep(self, current: Float[Tensor, " layer"]) -> bool:
        better = current < self.lowest
        with torch.no_grad():
            self.best.weight[better] = self.now.weight[better]
            self.best.bias[better] = self.now.bias[better]
        self.lowest = torch.where(better, current, self.lowest)
        return bool(better.any())


def _kl(
    form: Form, translators: Translators, batch: StateBatch, unembed: Unembed
) -> Float[Tensor, "layer pos"]:
    resid = batch.first_layers(len(translators.bias)).to(unembed.weight.device)
    with torch.no_grad():
        final = unembed.norm(batch.final)
    return kl_to_final(translated(form, resid, translators.weight, translators.bias, unembed), final, unembed)


def _by_kind(batch: StateBatch, kinds: Iterable[FitKind]) -> Iterator[tuple[FitKind, StateBatch]]:
    for kind in kinds:
        if kind in batch.kinds:
            yield kind, batch.of_kind(kind)


def _steps(
    batches: Iterable[StateBatch], kinds: tuple[FitKind, ...], rows: int, draw: torch.Generator
) -> Iterator[tuple[FitKind, StateBatch]]:
    """Pool positions of many pictures, so that no step is about one picture alone, and deal them out."""
    waiting: dict[FitKind, list[StateBatch]] = {kind: [] for kind in kinds}
    for batch in batches:
        for kind, own in _by_kind(batch, kinds):
            waiting[kind].append(own)
            if sum(len(part.kinds) for part in waiting[kind]) >= _POOLED_STEPS * rows:
                yield from _dealt(kind, waiting[kind], rows, draw)
                waiting[kind] = []
    for kind, rest in waiting.items():
        if rest:
            yield from _dealt(kind, rest, rows, draw)


def _dealt(
    kind: FitKind, parts: list[StateBatch], rows: int, draw: torch.Generator
) -> Iterator[tuple[FitKind, StateBatch]]:
    resid, final = torch.cat([part.resid for part in parts], 1), torch.cat([part.final for part in parts])
    order = torch.randperm(len(final), generator=draw).to(final.device)
    for at in order.tensor_split(max(1, round(len(order) / rows))):
        yield kind, StateBatch(resid[:, at], final[at], (kind,) * len(at))
