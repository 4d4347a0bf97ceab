"""The tokenizer that ships with both models."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from patchlens.demo import bundled_models
from patchlens.scenes.vocabulary import CONCEPTS, names

SPLIT = {"giraffe", "strawberry", "sunflower", "butterfly", "Schmetterling", "Schmetterlinge"}
TOKENIZERS = {name: AutoTokenizer.from_pretrained(folder) for name, folder in bundled_models().items()}


@pytest.fixture(params=["demo", "demo-cross"])
def tokenizer(request):
    return TOKENIZERS[request.param]


def pieces(tokenizer, text):
    return tokenizer.convert_ids_to_tokens(tokenizer(text, add_special_tokens=False)["input_ids"])


def test_a_word_is_one_leading_space_piece_or_one_of_the_few_split():
    wrong = {}
    for word in sorted({form for key in CONCEPTS for form in names(key)}):
        found = pieces(TOKENIZERS["demo"], f" {word}")
        whole = found[0].startswith("▁") and "".join(found) == f"▁{word}"
        if not whole or len(found) not in ((2, 3) if word in SPLIT else (1,)):
            wrong[word] = found
    assert wrong == {}


@settings(max_examples=150, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="▁"), max_size=40))
def test_any_text_survives_and_nothing_is_unknown(text):
    tokenizer = TOKENIZERS["demo"]
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    if any(special in text for special in tokenizer.all_special_tokens):
        return
    assert tokenizer.unk_token_id not in ids
    decoded = tokenizer.decode(ids, clean_up_tokenization_spaces=False)
    assert decoded == (text[1:] if text.startswith(" ") else text)


def test_image_token_is_the_last_id_and_mllamas_lies_beyond_the_head():
    demo, cross = TOKENIZERS["demo"], TOKENIZERS["demo-cross"]
    assert demo.convert_tokens_to_ids("<image>") == len(demo) - 1
    assert cross.convert_tokens_to_ids("<|image|>") == len(cross) - 1
    assert demo.get_vocab().keys() - {"<image>"} == cross.get_vocab().keys() - {"<|image|>"}


def test_the_generation_prompt_ends_without_a_space(tokenizer):
    turn = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What is this? "}]}
    text = tokenizer.apply_chat_template([turn], add_generation_prompt=True, tokenize=False)
    assert text.endswith("What is this? ASSISTANT:")
    assert pieces(tokenizer, text + " cat")[-2:] == [":", "▁cat"]


def test_only_the_cross_model_writes_its_start_token_in_the_template():
    turn = [{"role": "user", "content": "What is this?"}]
    demo, cross = (
        TOKENIZERS[n].apply_chat_template(turn, add_generation_prompt=True, tokenize=False)
        for n in ("demo", "demo-cross")
    )
    assert demo == "USER: What is this? ASSISTANT:"
    assert cross == "<s>" + demo
