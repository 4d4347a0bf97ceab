"""The training loop every stage shares."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

Step = Callable[[int], tuple[Tensor, dict[str, float]]]


def optimizers(
    modules: list[nn.Module], rate: float, hidden_rate: float | None = None
) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside blocks, AdamW for everything else."""
    hidden: list[nn.Parameter] = []
    other: list[nn.Parameter] = []
    for module in modules:
        for name, weight in module.named_parameters():
            if not weight.requires_grad:
                continue
            inside = weight.ndim == 2 and ".layers." in f".{name}" and "embed" not in name
            (hidden if inside else other).append(weight)
    made: list[torch.optim.Optimizer] = []
    if hidden:
        made.append(
            torch.optim.Muon(
                hidden, lr=hidden_rate or rate, weight_decay=0.05, adjust_lr_fn="match_rms_adamw", ns_steps=4
            )
        )
    if other:
        made.append(torch.optim.AdamW(other, lr=rate, betas=(0.9, 0.98), weight_decay=0.01, fused=True))
    return made


def fit(
    name: str,
    step: Step,
    modules: list[nn.Module],
    *,
    rate: float,
    steps: int,
    log: Path,
    hidden_rate: float | None = None,
    warmup: int = 60,
    clip: float = 1.0,
    every: int = 50,
    final: float = 0.05,
    check: Callable[[int], None] | None = None,
) -> None:
    """Run ``steps`` optimiser steps with linear warm-up and cosine decay to ``final`` of the rate."""
    made = optimizers(modules, rate, hidden_rate)
    base = [[g["lr"] for g in o.param_groups] for o in made]
    weights = [w for o in made for g in o.param_groups for w in g["params"]]
    sums: dict[str, float] = {}
    began = time.time()
    with log.open("a", encoding="utf-8") as out:
        for index in range(steps):
            done = index / steps
            scale = final + (1 - final) * 0.5 * (1 + math.cos(math.pi * done))
            scale *= min(1.0, (index + 1) / warmup)
            for optimizer, rates in zip(made, base, strict=True):
                for group, lr in zip(optimizer.param_groups, rates, strict=True):
                    group["lr"] = lr * scale
            loss, figures = step(index)
            loss.backward()
            nn.utils.clip_grad_norm_(weights, clip)
            for optimizer in made:
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
            for key, value in figures.items():
                sums[key] = sums.get(key, 0.0) + value
            if (index + 1) % every == 0:
                shown = " ".join(f"{k} {v / every:.4f}" for k, v in sums.items())
                out.write(f"{name} {index + 1}/{steps} {time.time() - began:.0f}s {shown}\n")
                out.flush()
                sums = {}
            if check is not None and (index + 1) % (every * 10) == 0:
                check(index + 1)
