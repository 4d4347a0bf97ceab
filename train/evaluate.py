"""Held-out accuracy and readability of an exported model."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import AutoModelForImageTextToText, AutoProcessor

from patchlens.scenes.phrases import QuestionKind
from patchlens.scenes.questions import Question, ask
from patchlens.scenes.scene import SIZE, Kind, Scene, make_scene
from patchlens.scenes.seeds import HELD_OUT_SEEDS
from patchlens.scenes.vocabulary import LANGUAGES, OBJECTS, SHAPES, names
from train.render import GRID, slots

SORTS: dict[str, tuple[Kind, QuestionKind]] = {
    "what is it, one thing": ("one", "what"),
    "which colour, one thing": ("one", "colour"),
    "what is it, ground only": ("texture", "what"),
    "background": ("several", "background"),
    "what is there, 2-4 things": ("several", "what"),
    "which colour, 2-4 things": ("several", "colour"),
    "how many": ("several", "count"),
    "is there": ("several", "exists"),
    "relation, 2-4 things": ("several", "relation"),
    "relation, collage": ("collage", "relation"),
    "two steps, 2-4 things": ("several", "two_step"),
    "two steps, collage": ("collage", "two_step"),
    "caption, one thing": ("one", "caption"),
    "caption, 2-4 things": ("several", "caption"),
}
BATCH = 50


@dataclass(frozen=True)
class Loaded:
    """A model as a user gets it: weights from the folder, in fp32, with its processor."""

    model: Any
    processor: Any


def load(folder: Path) -> Loaded:
    """Load a folder with the Auto classes."""
    model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32).eval()
    return Loaded(model, AutoProcessor.from_pretrained(folder))


def interval(hits: int, count: int) -> tuple[float, float]:
    """The 95% Wilson interval of a rate."""
    z, rate = 1.96, hits / count
    middle = (rate + z * z / (2 * count)) / (1 + z * z / count)
    half = z * math.sqrt(rate * (1 - rate) / count + z * z / (4 * count * count)) / (1 + z * z / count)
    return middle - half, middle + half


def held_out(
    kind: Kind, question: QuestionKind, count: int, first: int, size: int = SIZE
) -> list[tuple[Scene, Question]]:
    """One question on each of ``count`` fresh scenes that allow it."""
    found: list[tuple[Scene, Question]] = []
    seed = first
    while len(found) < count:
        scene = make_scene(seed, kind, size)
        q = ask(scene, np.random.default_rng([seed, 31]), question)
        if q is not None:
            found.append((scene, q))
        seed += 1
    return found


def inputs(loaded: Loaded, pictures: list[Any], prompts: list[str]) -> dict[str, Tensor]:
    """Processor outputs of prompts of one length, start token once."""
    turns = [[{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": p}]}] for p in prompts]
    texts = [loaded.processor.apply_chat_template(t, add_generation_prompt=True) for t in turns]
    started = texts[0].startswith(loaded.processor.tokenizer.bos_token)
    images = [[p] for p in pictures]
    return loaded.processor(images=images, text=texts, add_special_tokens=not started, return_tensors="pt")


def answers(loaded: Loaded, asked: list[tuple[Scene, str]]) -> list[str]:
    """Greedy answers, prompts of equal length together so that nothing is padded."""
    tokenizer = loaded.processor.tokenizer
    by_length: dict[int, list[int]] = defaultdict(list)
    for index, (_, prompt) in enumerate(asked):
        by_length[len(tokenizer(f"\n{prompt} ASSISTANT:")["input_ids"])].append(index)
    out = [""] * len(asked)
    for group in by_length.values():
        for start in range(0, len(group), BATCH):
            some = group[start : start + BATCH]
            made = inputs(loaded, [asked[i][0].image for i in some], [asked[i][1] for i in some])
            with torch.no_grad():
                ids = loaded.model.generate(**made, do_sample=False, max_new_tokens=48)
            new = ids[:, made["input_ids"].shape[1] :]
            for i, text in zip(some, tokenizer.batch_decode(new, skip_special_tokens=True), strict=True):
                out[i] = text.strip()
    return out


def accuracy(loaded: Loaded, count: int) -> dict[str, dict[str, float]]:
    """Exact match by sort of question, with intervals, chance levels and languages.

    ``most_common`` is the rate of always giving the sort's most frequent answer in the
    question's language; ``other_thing`` that of naming any other thing of the picture.
    """
    sorts = {sort: (kind, question, SIZE) for sort, (kind, question) in SORTS.items()}
    if loaded.model.config.model_type == "mllama":
        sorts["what is it, one thing, one tile"] = ("one", "what", SIZE // 2)
    out: dict[str, dict[str, float]] = {}
    for number, (sort, (kind, question, size)) in enumerate(sorts.items()):
        asked = held_out(kind, question, count, HELD_OUT_SEEDS + number * 100_000, size)
        given = answers(loaded, [(s, q.prompt) for s, q in asked])
        out[sort] = _row(asked, given)
    return out


def _row(asked: list[tuple[Scene, Question]], given: list[str]) -> dict[str, float]:
    count = len(asked)
    right = [a == q.answer for a, (_, q) in zip(given, asked, strict=True)]
    low, high = interval(sum(right), count)
    row = {"rate": sum(right) / count, "low": low, "high": high, "questions": float(count)}
    best: dict[str, int] = {}
    for (language, _), n in Counter((q.language, q.answer) for _, q in asked).items():
        best[language] = max(best.get(language, 0), n)
    row["most_common"] = sum(best.values()) / count
    if asked[0][1].kind == "relation":
        row["other_thing"] = float(np.mean([1 / (len(s.objects) - 1) for s, _ in asked]))
    for language in LANGUAGES:
        own = [r for r, (_, q) in zip(right, asked, strict=True) if q.language == language]
        if own:
            row[language] = sum(own) / len(own)
    return row


def word_ids(tokenizer: Any, key: str) -> set[int]:
    """First pieces of every form of a concept, with and without a leading space."""
    ids: set[int] = set()
    for form in names(key):
        for text in (f" {form}", form):
            pieces = tokenizer(text, add_special_tokens=False)["input_ids"]
            if text[0] == " " or len(pieces) == 1:
                ids.add(pieces[0])
    return ids


@dataclass(frozen=True)
class PatchTruth:
    """Of each patch ``[scene, patch]``: ids of true words, and whether a thing or nothing is there."""

    words: list[list[set[int]]]
    grounds: list[list[set[int]]]
    on_thing: np.ndarray
    empty: np.ndarray
    things: set[int]


def patch_truth(tokenizer: Any, scenes: list[Scene]) -> PatchTruth:
    """True words of patches that a thing covers by half or more, and of their ground."""
    table = {key: word_ids(tokenizer, key) for s in scenes for o in s.objects for key in o.keys}
    table |= {key: word_ids(tokenizer, key) for s in scenes for key in s.background_keys}
    coverage = np.stack([slots(s, GRID) for s in scenes])
    words = [
        [
            set().union(
                *(table[k] for i, o in enumerate(s.objects) if coverage[n, i, p] >= 0.5 for k in o.keys)
            )
            for p in range(GRID * GRID)
        ]
        for n, s in enumerate(scenes)
    ]
    grounds = [[set().union(*(table[k] for k in s.background_keys))] * GRID * GRID for s in scenes]
    things = set().union(*(word_ids(tokenizer, c.key) for c in (*OBJECTS, *SHAPES)))
    return PatchTruth(words, grounds, coverage[:, :-1].max(1) >= 0.5, coverage[:, -1] > 0.999, things)


def readable(top: np.ndarray, truth: PatchTruth) -> dict[str, float]:
    """Rates from the top-5 ids ``[scene, patch, 5]`` of one layer.

    ``thing_top1`` and ``thing_top5``: a true word of the thing on patches it covers by half or
    more; ``ground_top5``: a true word of the ground on empty patches; ``false_top1`` and
    ``false_top5``: any thing's word on empty patches.
    """

    def rate(at: np.ndarray, hit: Any) -> float:
        places = np.argwhere(at)
        return float(np.mean([hit(n, p) for n, p in places]))

    def among(n: int, p: int, k: int, ids: set[int]) -> bool:
        return bool(ids & set(top[n, p, :k].tolist()))

    return {
        "thing_top1": rate(truth.on_thing, lambda n, p: among(n, p, 1, truth.words[n][p])),
        "thing_top5": rate(truth.on_thing, lambda n, p: among(n, p, 5, truth.words[n][p])),
        "ground_top5": rate(truth.empty, lambda n, p: among(n, p, 5, truth.grounds[n][p])),
        "false_top1": rate(truth.empty, lambda n, p: among(n, p, 1, truth.things)),
        "false_top5": rate(truth.empty, lambda n, p: among(n, p, 5, truth.things)),
    }


def llava_readability(loaded: Loaded, scenes: list[Scene]) -> dict[str, dict[str, float]]:
    """The raw logit lens at the picture's positions, by layer; the final norm is applied once."""
    lm = loaded.model.model.language_model
    truth = patch_truth(loaded.processor.tokenizer, scenes)
    tops: dict[str, list[Tensor]] = defaultdict(list)
    kept: dict[str, Tensor] = {}

    def before(_: Any, arguments: Any, named: Any) -> None:
        kept["0"] = (arguments[0] if arguments else named["hidden_states"]).detach()

    def after(layer: int) -> Any:
        def hook(_: Any, __: Any, output: Any) -> None:
            kept[str(layer)] = (output[0] if isinstance(output, tuple) else output).detach()

        return hook

    hooks = [lm.layers[0].register_forward_pre_hook(before, with_kwargs=True)]
    hooks += [block.register_forward_hook(after(i + 1)) for i, block in enumerate(lm.layers)]
    try:
        for start in range(0, len(scenes), BATCH):
            some = scenes[start : start + BATCH]
            made = inputs(loaded, [s.image for s in some], ["What is this?"] * len(some))
            at = made["input_ids"][0] == loaded.model.config.image_token_id
            with torch.no_grad():
                loaded.model(**made, logits_to_keep=1)
                for layer, states in kept.items():
                    scores = loaded.model.lm_head(lm.norm(states[:, at]))
                    tops[layer].append(scores.topk(5, dim=-1).indices)
    finally:
        for hook in hooks:
            hook.remove()
    return {layer: readable(torch.cat(top).numpy(), truth) for layer, top in tops.items()}


def mllama_readability(loaded: Loaded, scenes: list[Scene]) -> dict[str, dict[str, float]]:
    """What each cross-attention block would write of a patch: unembed of gate * W_O W_V s.

    No norm is applied to the vision state; W_O W_V takes the heads together.
    """
    lm = loaded.model.model.language_model
    truth = patch_truth(loaded.processor.tokenizer, scenes)
    tops: dict[str, list[Tensor]] = defaultdict(list)
    for start in range(0, len(scenes), BATCH):
        some = scenes[start : start + BATCH]
        states = cross_states(loaded, some)
        for index in loaded.model.config.text_config.cross_attention_layers:
            block = lm.layers[index]
            with torch.no_grad():
                value = block.cross_attn.v_proj(states)
                groups = block.cross_attn.num_key_value_groups
                if groups > 1:
                    value = value.unflatten(-1, (-1, block.cross_attn.head_dim))
                    value = value.repeat_interleave(groups, -2).flatten(-2)
                write = block.cross_attn.o_proj(value) * block.cross_attn_attn_gate.tanh()
                tops[str(index)].append(loaded.model.lm_head(lm.norm(write)).topk(5, dim=-1).indices)
    return {layer: readable(torch.cat(top).numpy(), truth) for layer, top in tops.items()}


def cross_states(loaded: Loaded, scenes: list[Scene]) -> Tensor:
    """Projected vision states of 2 x 2-tile scenes ``[scene, patch, d_model]``, row by row, no CLS."""
    made = inputs(loaded, [s.image for s in scenes], ["What is this?"] * len(scenes))
    model = loaded.model.model
    with torch.no_grad():
        vision = model.vision_model(made["pixel_values"], made["aspect_ratio_ids"], made["aspect_ratio_mask"])
        states = model.multi_modal_projector(vision.last_hidden_state)[:, 0, :, 1:]
    half = GRID // 2
    states = states.view(len(scenes), 2, 2, half, half, -1).permute(0, 1, 3, 2, 4, 5)
    return states.reshape(len(scenes), GRID * GRID, -1)
