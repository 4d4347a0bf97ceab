"""Teach a bundled model's domain check what a scene looks like from inside the model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from patchlens.demo.domain import SceneDomain
from patchlens.scenes.scene import make_scene
from patchlens.scenes.seeds import DOMAIN_SEEDS
from train.evaluate import Loaded
from train.strangers import SORTS, strangers

SCENES = 5000
STRANGERS = 5000
CALIBRATION = 5000
HIDDEN = 24
EPOCHS = 30
PASS = 0.995
PatchStates = Callable[[np.ndarray], Tensor]
"""Pictures ``[picture, height, width, 3]`` to states ``[picture, patch, d]``."""


class DeepSet(nn.Module):
    """The network of ``SceneDomain``, in torch."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.patch = nn.Linear(width, HIDDEN)
        self.picture = nn.Linear(2 * HIDDEN, HIDDEN)
        self.score = nn.Linear(HIDDEN, 1, bias=False)

    def forward(self, states: Tensor) -> Tensor:
        """Log-odds ``[picture]`` of being a stranger."""
        patches = self.patch(states).relu()
        pooled = torch.cat([patches.mean(1), patches.amax(1)], -1)
        return self.score(self.picture(pooled).relu())[:, 0]


def llava_patch_states(loaded: Loaded) -> PatchStates:
    """Projected image features, as they enter LLaVA's language model."""

    def states(pictures: np.ndarray) -> Tensor:
        images = list(pictures)
        made = loaded.processor.image_processor(images=images, return_tensors="pt")["pixel_values"]
        model = loaded.model.model
        with torch.no_grad():
            vision = model.vision_tower(made, output_hidden_states=True).hidden_states[-1][:, 1:]
            return model.multi_modal_projector(vision)

    return states


def mllama_patch_states(loaded: Loaded) -> PatchStates:
    """Vision states as given to cross-attention, without CLS."""

    def states(pictures: np.ndarray) -> Tensor:
        images = [[p] for p in pictures]
        made = loaded.processor.image_processor(images=images, return_tensors="pt")
        model = loaded.model.model
        with torch.no_grad():
            vision = model.vision_model(
                made["pixel_values"], made["aspect_ratio_ids"], made["aspect_ratio_mask"]
            ).last_hidden_state
            return model.multi_modal_projector(vision)[:, 0, :, 1:].flatten(1, 2)

    return states


def _states_of(pictures: np.ndarray, states: PatchStates) -> Tensor:
    return torch.cat([states(pictures[i : i + 100]) for i in range(0, len(pictures), 100)])


def _scenes(first: int, count: int) -> np.ndarray:
    return np.stack([make_scene(first + i).picture for i in range(count)])


def fit_domain(states: PatchStates, folder: Path) -> dict[str, float]:
    """Train, set the limit on fresh scenes, save beside the weights.

    Returns:
        The share of further fresh scenes that pass, and of fresh strangers of each sort caught.
    """
    torch.manual_seed(20)
    inside = _states_of(_scenes(DOMAIN_SEEDS, SCENES), states)
    outside = _states_of(strangers(STRANGERS, 21), states)
    both = torch.cat([inside, outside])
    label = torch.cat([torch.zeros(len(inside)), torch.ones(len(outside))])
    mean, scale = inside.mean((0, 1)), inside.std((0, 1)) + 1e-4
    net = _train(DeepSet(both.shape[-1]), (both - mean) / scale, label)
    domain = _exported(net, mean, scale, 0.0)
    calibration = _states_of(_scenes(DOMAIN_SEEDS + 100_000, CALIBRATION), states).numpy()
    limit = float(np.quantile([domain.score(s) for s in calibration], PASS))
    domain = _exported(net, mean, scale, limit)
    domain.save(folder)
    fresh = _states_of(_scenes(DOMAIN_SEEDS + 200_000, 2000), states).numpy()
    rates = {"scenes passed": float(np.mean([not domain.unlike(s) for s in fresh]))}
    rng = np.random.default_rng(22)
    for sort in dict.fromkeys(SORTS):
        pictures = np.stack([sort(rng) for _ in range(100)])
        caught = [domain.unlike(s) for s in _states_of(pictures, states).numpy()]
        rates[f"{sort.__name__} caught"] = float(np.mean(caught))
    return rates


def _train(net: DeepSet, states: Tensor, label: Tensor) -> DeepSet:
    optimizer = torch.optim.AdamW(net.parameters(), lr=2e-3, weight_decay=0.02)
    for epoch in range(EPOCHS):
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * (1 - epoch / EPOCHS)
        for picked in torch.randperm(len(states)).split(100):
            loss = nn.functional.binary_cross_entropy_with_logits(net(states[picked]), label[picked])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return net


def _exported(net: DeepSet, mean: Tensor, scale: Tensor, limit: float) -> SceneDomain:
    def array(t: Tensor) -> np.ndarray:
        return np.ascontiguousarray(t.detach().numpy().astype(np.float32))

    return SceneDomain(
        array(mean),
        array(scale),
        array(net.patch.weight.T),
        array(net.patch.bias),
        array(net.picture.weight.T),
        array(net.picture.bias),
        array(net.score.weight[0]),
        limit,
    )
