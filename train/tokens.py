"""The tokenizer of both bundled models: small BPE with leading-space pieces and byte fallback."""

from __future__ import annotations

import json

import numpy as np
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

from patchlens.scenes.questions import QUESTION_KINDS, ask
from patchlens.scenes.scene import make_scene
from patchlens.scenes.seeds import CORPUS_SEEDS
from patchlens.scenes.vocabulary import CONCEPTS, LANGUAGES, names

UNKNOWN, START, END, PAD = "<unk>", "<s>", "</s>", "<pad>"
SPLIT_WORDS = ("giraffe", "strawberry", "sunflower", "butterfly", "Schmetterling")
"""Words kept in two pieces, as rare words are in real models."""
TRAIN_VOCABULARY = 1500
CORPUS_SCENES = 6000

_ROLES = """\
{%- for message in messages -%}
{%- if message['role'] == 'user' -%}USER: {% else -%}ASSISTANT: {% endif -%}
{%- if message['content'] is string -%}{{ message['content'] | trim }}
{%- else -%}
{%- for part in message['content'] if part['type'] == 'image' -%}IMAGE{{ '\\n' }}{%- endfor -%}
{%- for part in message['content'] if part['type'] == 'text' -%}{{ part['text'] | trim }}{%- endfor -%}
{%- endif -%}
{%- if message['role'] == 'user' %} {% else %}</s>{% endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}ASSISTANT:{%- endif -%}"""


def chat_template(image_token: str, with_start: bool) -> str:
    """LLaVA's roles; a generation prompt ends in a colon, never in a space.

    ``with_start`` writes the start token out, as Llama 3.2's template does and LLaVA's does not.
    """
    return ("{{- bos_token -}}\n" if with_start else "") + _ROLES.replace("IMAGE", image_token)


def train_tokenizer() -> Tokenizer:
    """Train BPE on questions, answers and word lists of the scenes; same result each time."""
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token=UNKNOWN, fuse_unk=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"\n"), "isolated"),
            pre_tokenizers.Metaspace(prepend_scheme="never"),
            pre_tokenizers.Split(Regex(r"[^\w▁]"), "isolated"),
        ]
    )
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    special = [UNKNOWN, START, END, PAD]
    trainer = trainers.BpeTrainer(
        vocab_size=TRAIN_VOCABULARY,
        special_tokens=[*special, *(f"<0x{byte:02X}>" for byte in range(256))],
        initial_alphabet=[chr(c) for c in range(32, 127)],
        min_frequency=4,
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus(), trainer)
    return _without_merges_into(tokenizer, SPLIT_WORDS)


def corpus() -> list[str]:
    """Text as the models see it, and each form of each concept a number of times."""
    lines: list[str] = []
    rng = np.random.default_rng(11)
    for seed in range(CORPUS_SEEDS, CORPUS_SEEDS + CORPUS_SCENES):
        scene = make_scene(seed)
        for kind in QUESTION_KINDS:
            if q := ask(scene, rng, kind):
                lines.append(f"USER: \n{q.prompt} ASSISTANT: {q.answer}")
    for concept in CONCEPTS:
        lines += [f" {form}" for form in names(concept) for _ in range(300)]
    return lines


def _without_merges_into(tokenizer: Tokenizer, words: tuple[str, ...]) -> Tokenizer:
    """Drop the last merge into each word, renumber the vocabulary and mark the specials."""
    state = json.loads(tokenizer.to_str())
    whole = {f"▁{w}" for w in words} | set(words)
    model = state["model"]
    merges: list[list[str]] = []
    for pair in model["merges"]:
        # What is built from a dropped piece goes with it.
        if "".join(pair) in whole or whole & set(pair):
            whole.add("".join(pair))
        else:
            merges.append(pair)
    model["merges"] = merges
    kept = [piece for piece, _ in sorted(model["vocab"].items(), key=lambda kv: kv[1]) if piece not in whole]
    model["vocab"] = {piece: i for i, piece in enumerate(kept)}
    specials = (UNKNOWN, START, END, PAD)
    state["added_tokens"] = [t for t in state["added_tokens"] if t["content"] in specials]
    return Tokenizer.from_str(json.dumps(state))


def wrap(tokenizer: Tokenizer, image_token: str, with_start: bool = False) -> PreTrainedTokenizerFast:
    """The transformers tokenizer, with the image token as the last id."""
    tokenizer = Tokenizer.from_str(tokenizer.to_str())
    tokenizer.post_processor = TemplateProcessing(
        single=f"{START} $A", pair=f"{START} $A $B", special_tokens=[(START, tokenizer.token_to_id(START))]
    )
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token=UNKNOWN,
        bos_token=START,
        eos_token=END,
        pad_token=PAD,
        padding_side="left",
        model_max_length=512,
        extra_special_tokens={"image_token": image_token},
    )
    wrapped.chat_template = chat_template(image_token, with_start)
    return wrapped


def first_pieces(tokenizer: PreTrainedTokenizerFast, concept: str) -> dict[str, int]:
    """The id of the first leading-space piece of each form of a concept."""
    return {form: tokenizer(f" {form}", add_special_tokens=False)["input_ids"][0] for form in names(concept)}


def languages_of_forms(concept: str) -> dict[str, str]:
    """Which language each form of a concept belongs to (the first that has it)."""
    c = CONCEPTS[concept]
    own = {"en": {c.key, c.plural}, "zh": {c.chinese}}
    return {
        form: next((lang for lang in LANGUAGES if form in own.get(lang, ())), "de") for form in names(concept)
    }
