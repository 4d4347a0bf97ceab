"""Time and held-out KL of ways to fit a tuned lens, on the same states of the bundled model `demo`.

Scenes are drawn, asked about and answered by the model; each kind of position is fitted apart by every
contender. All take the same positions: the closed form once, ``--method gradient`` as often from each of its
two starts as the package does altogether, which is therefore also given twice the passes. "as the tuned-lens
package trains" is the loss and optimiser of its version 0.2.0, written plainly: a full softmax, SGD with
Nesterov momentum, a learning rate of 1 that falls linearly, weight decay 1e-3, and gradients clipped to norm
1; its mixed precision is left out. Before anything is timed, its KL, ours and the engine's are held against
float64 on the same states. ``--method gradient`` chooses by validation scenes; the KL printed is that of
scenes that none has seen, and beside it the least that anything computed from the states of layer 0 could
reach. ``--quick`` shrinks everything to seconds.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

import patchlens as pl
from measure import machine, table
from patchlens.axes import FIT_KINDS, FitKind
from patchlens.fit.closed_form import ClosedForm
from patchlens.fit.gradient import before_norm, lowest, mean_kl, refine
from patchlens.fit.states import StateBatch
from patchlens.lens import LogitLens, stream_statistics
from patchlens.lens.engine.divergence import kl_to_final
from patchlens.lens.tuned import Translators, TunedLens
from patchlens.models.unembed import Unembed
from patchlens.scenes.questions import ask
from patchlens.scenes.scene import make_scene
from patchlens.scenes.seeds import FIT_BENCHMARK_SEEDS

TOLERANCE = 1e-4


@dataclass(frozen=True)
class Data:
    """States of three sets of scenes, and the unembedding they go to."""

    unembed: Unembed
    train: list[StateBatch]
    validation: list[StateBatch]
    held_out: list[StateBatch]
    epochs: int
    rows: int

    @property
    def n_layers(self) -> int:
        """Number of the last layer."""
        return len(self.train[0].resid) - 1

    @property
    def d_model(self) -> int:
        """Width of the residual stream."""
        return self.unembed.d_model

    def of_kind(self, kind: FitKind) -> StateBatch:
        """All training positions of one kind."""
        parts = [batch.of_kind(kind) for batch in self.train]
        resid = torch.cat([part.resid for part in parts], 1)
        return StateBatch(resid, torch.cat([part.final for part in parts]), (kind,) * resid.shape[1])


def scene_states(model: pl.Model, seed: int, patches: int) -> StateBatch:
    """States of a drawn scene, a question and the model's answer: some patches, all else but the first."""
    scene, rng, question = make_scene(seed), np.random.default_rng(seed), None
    while question is None:
        question = ask(scene, rng)
    trace = model.trace(scene.image, question.prompt, steps=True)
    kinds = trace.fit_kinds
    own = [i for i, kind in enumerate(kinds) if kind == "patch"]
    kept = set(rng.choice(own, min(patches, len(own)), replace=False).tolist())
    at = [i for i, kind in enumerate(kinds) if i > 0 and (kind != "patch" or i in kept)]
    return StateBatch(trace.resid[:, at], trace.captured.final[at], tuple(kinds[i] for i in at))


def gather(scenes: int, patches: int, epochs: int, rows: int) -> Data:
    model = pl.load("demo")
    counts = (scenes, max(4, scenes // 8), max(8, scenes // 4))
    states = [scene_states(model, FIT_BENCHMARK_SEEDS + i, patches) for i in range(sum(counts))]
    first, second = counts[0], counts[0] + counts[1]
    return Data(model.adapter.unembed, states[:first], states[first:second], states[second:], epochs, rows)


def package_kl(states: Tensor, final: Tensor, unembed: Unembed) -> Tensor:
    """The package's loss per position, for states before the final norm."""
    labels = unembed.logits(final).float().log_softmax(-1)
    return (labels.exp() * (labels - unembed.logits(states).log_softmax(-1))).sum(-1)


def check(data: Data) -> float:
    """Assert that every KL in this benchmark is the same number; return the largest error in nats."""
    batch, unembed = data.held_out[0], data.unembed
    resid, layers = batch.resid, range(data.n_layers + 1)
    with torch.no_grad():
        normed, final = unembed.norm(resid), unembed.norm(batch.final)
        logits = normed.double() @ unembed.weight.double().T
        exact = logits.log_softmax(-1)
        truth = (exact[-1].exp() * (exact[-1] - exact)).sum(-1)
        found = {
            "the engine": stream_statistics(
                resid, batch.final, LogitLens(), unembed, layers=layers, n_layers=data.n_layers, top_k=1
            ).kl_to_final,
            "ours": kl_to_final(normed, final, unembed),
            "the package's": package_kl(resid, batch.final, unembed),
        }
    errors = {name: float((kl - truth).abs().max()) for name, kl in found.items()}
    for name, error in errors.items():
        assert error < TOLERANCE, f"KL of {name} is off by {error} nats"
    return max(errors.values())


def closed_form(data: Data) -> TunedLens:
    fit = ClosedForm(data.n_layers, data.d_model, data.unembed)
    for batch in data.train:
        fit.add(batch.resid, batch.final, batch.kinds)
    return fit.solve()


def gradient(data: Data, start: TunedLens) -> TunedLens:
    return refine(
        start, lambda: data.train, lambda: data.validation, data.unembed, epochs=data.epochs, rows=data.rows
    )


def both_starts(data: Data) -> TunedLens:
    """What ``patchlens fit tuned --method gradient`` does."""
    near = before_norm(closed_form(data), data.train, data.unembed)
    plain = TunedLens.identity(data.n_layers, data.d_model)
    found = [gradient(data, start) for start in (near, plain)]
    return lowest(found, lambda: data.validation, data.unembed)


def as_the_package(data: Data) -> TunedLens:
    """The training loop of the package, one kind of position at a time."""
    fitted = {kind: package_translators(data, data.of_kind(kind)) for kind in FIT_KINDS}
    return TunedLens("before_norm", fitted, how="as the tuned-lens package trains")


def package_translators(data: Data, states: StateBatch) -> Translators:
    d_model, n_layers, draw = data.d_model, data.n_layers, torch.Generator().manual_seed(0)
    weight = torch.zeros(n_layers, d_model, d_model, requires_grad=True)
    bias = torch.zeros(n_layers, d_model, requires_grad=True)
    optimiser = torch.optim.SGD([weight, bias], lr=0.1, momentum=0.9, nesterov=True, weight_decay=1e-3)
    per_epoch = -(-len(states.final) // data.rows)
    falling = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: max(0.0, 1 - step / (data.epochs * per_epoch))
    )
    for _ in range(data.epochs):
        for at in torch.randperm(len(states.final), generator=draw).tensor_split(per_epoch):
            for layer in range(n_layers):
                resid = states.resid[layer, at]
                moved = resid + resid @ weight[layer].T + bias[layer]
                loss = package_kl(moved, states.final[at], data.unembed).mean()
                loss.backward(inputs=[weight, bias])
            torch.nn.utils.clip_grad_norm_([weight, bias], 1.0)
            optimiser.step()
            optimiser.zero_grad(set_to_none=False)
            falling.step()
    return Translators(weight.detach(), bias.detach())


def contenders(data: Data) -> dict[str, Callable[[], TunedLens]]:
    identity = TunedLens.identity(data.n_layers, data.d_model)
    return {
        "none: the logit lens": lambda: identity,
        "closed form": lambda: closed_form(data),
        "--method gradient: from both, the better of each layer": lambda: both_starts(data),
        "as the tuned-lens package trains": lambda: as_the_package(data),
        "the same, twice the passes": lambda: as_the_package(replace(data, epochs=2 * data.epochs)),
    }


def report(data: Data) -> str:
    """Time each contender and judge it on the held-out scenes; return Markdown tables, the last by layer."""
    rows, half, found = [], data.n_layers // 2, {}
    for name, fit in contenders(data).items():
        wall, busy = time.perf_counter(), time.process_time()
        lens = fit()
        wall, busy = time.perf_counter() - wall, time.process_time() - busy
        kl = found[name] = mean_kl(lens, lambda: data.held_out, data.unembed)
        told = (f"{float(kl[kind].mean()):.3f} / {float(kl[kind][:half].mean()):.3f}" for kind in FIT_KINDS)
        rows.append((name, f"{wall:.1f}", f"{busy:.1f}", *told))
    heads = (f"held-out KL, {kind}: all layers / first half" for kind in FIT_KINDS)
    tables = [table(("fit", "s", "CPU s", *heads), rows)]
    for kind in FIT_KINDS:
        layers = [
            (f"{layer}", *(f"{float(kl[kind][layer]):.3f}" for kl in found.values()))
            for layer in range(data.n_layers)
        ]
        tables.append(table((f"{kind}, layer", *found), layers))
    return "\n\n".join(tables)


@torch.no_grad()
def floors(data: Data) -> str:
    """Say how low the KL at layer 0 can be made at all, where states are alike.

    Positions whose state is the same must be told the same, so at best the mean of their final distributions.
    """
    told = []
    for kind in FIT_KINDS:
        parts = [batch.of_kind(kind) for batch in (*data.train, *data.validation, *data.held_out)]
        first, final = torch.cat([p.resid[0] for p in parts]), torch.cat([p.final for p in parts])
        states, which = first.unique(dim=0, return_inverse=True)
        if len(states) == len(first):
            continue
        log_p = data.unembed.logits(final).float().log_softmax(-1)
        total = torch.zeros(len(states), log_p.shape[1]).index_add_(0, which, log_p.exp())
        mean = (total / which.bincount()[:, None])[which]
        kl = float((log_p.exp() * (log_p - mean.log())).sum(-1).mean())
        told.append(f"{kl:.2f} nats on {len(first)} {kind} positions ({len(states)} different states)")
    return "; ".join(told)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few scenes and epochs")
    parser.add_argument("--scenes", type=int, default=1000, help="scenes to fit on")
    parser.add_argument("--patches", type=int, default=25, help="patches of each scene")
    parser.add_argument("--epochs", type=int, default=20, help="passes of the gradient fits")
    parser.add_argument("--rows", type=int, default=128, help="positions per step of the gradient fits")
    parser.add_argument("--threads", type=int, default=0, help="threads of torch, 0 for its default")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    scenes, epochs = (16, 2) if options.quick else (options.scenes, options.epochs)
    data = gather(scenes, options.patches, epochs, options.rows)
    print(f"{machine()}\n")
    print(f"every KL agrees with float64 within {check(data):.0e} nats\n")
    counts = ", ".join(f"{len(data.of_kind(kind).final)} {kind}" for kind in FIT_KINDS)
    print(
        f"{scenes} scenes: {counts} positions; {data.n_layers} layers, d_model {data.d_model}, "
        f"{epochs} passes, {options.rows} positions per step\n"
    )
    print(f"at layer 0 no function of the state gets below {floors(data)}\n")
    print(report(data), flush=True)


if __name__ == "__main__":
    main()
