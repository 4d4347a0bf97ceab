"""Training sequences: one picture (or none) and as many questions as fit.

Each question sees the picture and itself only and starts at the same position, so every one is
trained exactly as it will be asked.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from patchlens.scenes.questions import ask
from patchlens.scenes.scene import Scene
from patchlens.scenes.vocabulary import CONCEPTS, names
from train.architectures import END_ID, PAD_ID, START_ID
from train.texts import text_only
from train.tokens import first_pieces, languages_of_forms

KIND_WEIGHTS = {
    "what": 0.18,
    "colour": 0.14,
    "count": 0.09,
    "exists": 0.1,
    "relation": 0.22,
    "background": 0.07,
    "two_step": 0.13,
    "caption": 0.07,
}
RELATION_WEIGHTS = {**KIND_WEIGHTS, "relation": 0.6, "two_step": 0.25}
"""More of what is learnt last. Weights need not sum to one."""
IGNORE = -100


@dataclass(frozen=True)
class Batch:
    """Packed sequences. All ``[sequence, position]`` but ``mask`` and ``patches``.

    ``targets`` is the next token where it is trained, else ``IGNORE``. ``mask`` is
    ``[sequence, 1, query, key]`` bool. ``patches`` is ``[patches]``, the picture's positions,
    empty for sequences without one. ``scenes`` are indices of the scenes shown.
    """

    ids: Tensor
    positions: Tensor
    targets: Tensor
    mask: Tensor
    patches: Tensor
    scenes: np.ndarray


class Packer:
    """Makes batches of one fixed length from scenes.

    ``patch_tokens`` is how many image tokens a picture has in the sequence: all its patches for
    LLaVA, one marker for Mllama.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerFast,
        image_id: int,
        patch_tokens: int,
        length: int,
        weights: dict[str, float] = KIND_WEIGHTS,
    ) -> None:
        self.kinds = tuple(weights)
        self.kind_p = np.asarray(list(weights.values())) / sum(weights.values())
        self.tokenizer = tokenizer
        self.length = length
        self.cache: dict[str, list[int]] = {}
        opening = [START_ID, *self.encode("USER: ")]
        self.first_patch = len(opening)
        self.prefix = [*opening, *[image_id] * patch_tokens, *self.encode("\n")]
        self.patches = torch.arange(patch_tokens) + self.first_patch
        self.words = {key: _word_table(tokenizer, key) for key in CONCEPTS}

    def encode(self, text: str) -> list[int]:
        """Token ids without specials."""
        if text not in self.cache:
            if len(self.cache) > 400_000:
                self.cache.clear()
            self.cache[text] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return self.cache[text]

    def _turn(self, prompt: str, answer: str, head: list[int]) -> tuple[list[int], int]:
        asked = [*head, *self.encode(f"{prompt} ASSISTANT:")]
        return [*asked, *self.encode(f" {answer}"), END_ID], len(asked)

    def picture_turns(self, scene: Scene, rng: np.random.Generator) -> list[tuple[list[int], int]]:
        """Different questions on one scene until the sequence is full."""
        room = self.length - len(self.prefix)
        turns: list[tuple[list[int], int]] = []
        asked: set[str] = set()
        for _ in range(40):
            q = ask(scene, rng, self.kinds[int(rng.choice(len(self.kinds), p=self.kind_p))])
            if q is None or q.prompt in asked:
                continue
            asked.add(q.prompt)
            turn = self._turn(_casual(q.prompt, rng), q.answer, [])
            if len(turn[0]) > room:
                if room < 16:
                    break
                continue
            turns.append(turn)
            room -= len(turn[0])
        return turns

    def text_turns(self, scenes: list[Scene], rng: np.random.Generator) -> list[tuple[list[int], int]]:
        """Prompts without a picture until the sequence is full."""
        room, turns = self.length, []
        for scene in scenes:
            prompt, answer = text_only(scene, rng)
            # After "USER:" a prompt without a picture begins with a leading-space piece.
            turn = self._turn(f" {_casual(prompt, rng)}", answer, [START_ID, *self.encode("USER:")])
            if len(turn[0]) <= room:
                turns.append(turn)
                room -= len(turn[0])
        return turns

    def raster(self, scene: Scene, coverage: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """A word for each patch, drawn by what covers it: ``[patch]`` token ids."""
        owner = (rng.random(coverage.shape[1]) > np.cumsum(coverage.astype(np.float32), 0)).sum(0)
        owner = np.minimum(owner, len(coverage) - 1)
        mixed = rng.random() < 0.15
        language = int(rng.choice(3, p=(0.6, 0.2, 0.2)))
        out = np.empty(coverage.shape[1], np.int64)
        for slot in np.unique(owner):
            at = np.flatnonzero(owner == slot)
            ground = slot == len(coverage) - 1
            keys = scene.background_keys if ground else scene.objects[slot].keys
            key = rng.integers(len(keys), size=len(at))
            langs = rng.choice(3, len(at), p=(0.6, 0.2, 0.2)) if mixed else np.full(len(at), language)
            form = rng.random(len(at))
            for k, lang in {(int(a), int(b)) for a, b in zip(key, langs, strict=True)}:
                here = (key == k) & (langs == lang)
                forms = self.words[keys[k]][lang]
                # The plain form comes first and is four times as likely as each other one.
                pick = np.minimum((form[here] * (len(forms) + 3)).astype(int) - 3, len(forms) - 1)
                out[at[here]] = forms[np.maximum(pick, 0)]
        return out

    def batch(self, turns: list[list[tuple[list[int], int]]], scenes: np.ndarray, picture: bool) -> Batch:
        """Lay turns out in sequences, after the picture's prefix if there is one."""
        count, length = len(turns), self.length
        ids = np.full((count, length), PAD_ID, np.int64)
        positions = np.zeros((count, length), np.int64)
        targets = np.full((count, length), IGNORE, np.int64)
        block = np.full((count, length), -1, np.int64)
        start = len(self.prefix) if picture else 0
        if picture:
            ids[:, :start], positions[:, :start], block[:, :start] = self.prefix, np.arange(start), 0
        for row, some in enumerate(turns):
            at = start
            for number, (turn, answer_at) in enumerate(some, 1):
                end = at + len(turn)
                ids[row, at:end] = turn
                positions[row, at:end] = start + np.arange(len(turn))
                block[row, at:end] = number
                targets[row, at + answer_at - 1 : end - 1] = turn[answer_at:]
                at = end
        mask = block[:, :, None] == block[:, None, :]
        if picture:
            mask |= block[:, None, :] == 0
        mask &= np.tri(length, dtype=bool)
        return Batch(
            torch.from_numpy(ids),
            torch.from_numpy(positions),
            torch.from_numpy(targets),
            torch.from_numpy(mask)[:, None],
            self.patches if picture else self.patches[:0],
            scenes,
        )


def _casual(prompt: str, rng: np.random.Generator) -> str:
    """Now and then as people type: no capital, no question mark."""
    draw = rng.random()
    if draw < 0.1:
        prompt = prompt[0].lower() + prompt[1:]
    return prompt.rstrip("?.") if 0.06 < draw < 0.16 else prompt


def _word_table(tokenizer: PreTrainedTokenizerFast, key: str) -> list[np.ndarray]:
    pieces = first_pieces(tokenizer, key)
    languages = languages_of_forms(key)
    table: list[np.ndarray] = []
    for language in ("en", "de", "zh"):
        own = [pieces[f] for f in names(key) if languages[f] == language]
        table.append(np.asarray(own or list(pieces.values())[:1]))
    return table
