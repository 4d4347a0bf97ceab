"""Pieces keep what decoding loses; a word finds the one token that stands for it."""

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from patchlens.errors import TargetError
from patchlens.models.tokens import find_target, form_targets, piece_table
from tiny import tiny_tokenizer


@pytest.fixture(scope="module")
def byte_level():
    return tiny_tokenizer("<image>")


@pytest.fixture(scope="module")
def metaspace():
    raw = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.Metaspace()
    raw.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace()])
    special = ["<unk>", *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = trainers.BpeTrainer(vocab_size=330, special_tokens=special, show_progress=False)
    raw.train_from_iterator(["a cat and a cat and a gira gira ffe", "猫 cat 猫 cat"] * 9, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=raw, unk_token="<unk>")


def test_leading_space_stays_visible(byte_level, metaspace):
    for tokenizer in (byte_level, metaspace):
        ids = tokenizer.encode("a cat", add_special_tokens=False)
        pieces = piece_table(tokenizer, ids)
        assert pieces[ids[-1]] == "▁cat"


def test_bytes_that_are_no_character_stay_bytes(byte_level, metaspace):
    ids = byte_level.encode("猫", add_special_tokens=False)
    assert [piece_table(byte_level, [i])[i] for i in ids] == ["<0xE7>", "<0x8C>", "<0xAB>"]
    ids = metaspace.encode("й", add_special_tokens=False)
    assert [piece_table(metaspace, [i])[i] for i in ids][-2:] == ["<0xD0>", "<0xB9>"]


def test_text_of_a_byte_level_piece_is_decoded(byte_level):
    byte_level.add_tokens(["Ġadded"])
    for text in ("\n", "é", " "):
        ids = byte_level.encode(text, add_special_tokens=False)
        shown = "".join(piece_table(byte_level, ids)[i] for i in ids)
        assert shown in {text, "▁", "<0xC3><0xA9>"}
    added = byte_level.convert_tokens_to_ids("Ġadded")
    assert piece_table(byte_level, [added])[added] == "Ġadded"  # an added token is literal text


def test_ids_beyond_the_tokenizer_are_shown_as_such(byte_level):
    beyond = len(byte_level) + 5
    assert piece_table(byte_level, [beyond]) == {beyond: f"<id {beyond}>"}


def test_a_target_is_the_form_after_a_space(byte_level, metaspace):
    for tokenizer in (byte_level, metaspace):
        target = find_target(tokenizer, "cat")
        assert (target.word, target.pieces, target.is_whole) == ("cat", ("▁cat",), True)
        assert target.token == tokenizer.convert_tokens_to_ids("▁cat" if tokenizer is metaspace else "Ġcat")


def test_a_word_of_several_pieces_says_so(metaspace):
    target = find_target(metaspace, "giraffe")
    assert len(target.pieces) > 1 and not target.is_whole
    assert "".join(target.pieces) == "▁giraffe"
    assert piece_table(metaspace, [target.token])[target.token] == target.pieces[0]


def test_a_word_without_a_spaced_form_is_its_bare_form(metaspace):
    target = find_target(metaspace, "猫")
    assert target.pieces in {("▁猫",), ("猫",)}


def test_an_id_is_taken_as_it_is(byte_level):
    assert find_target(byte_level, 7).token == 7
    for wrong in (-1, 10**6):
        with pytest.raises(TargetError, match="outside the vocabulary"):
            find_target(byte_level, wrong)


@pytest.mark.parametrize("word", ["", "  ", "\n"])
def test_an_empty_target_is_refused(byte_level, word):
    with pytest.raises(TargetError, match="a target is empty"):
        find_target(byte_level, word)


@pytest.fixture(scope="module")
def words_of_a_list():
    listed = ["<unk>", "▁", *"catgirfe", "▁cat", "cat", "Cat", "▁Cat", "▁gira", "ffe", "猫", "▁dog"]
    raw = Tokenizer(models.Unigram([(word, -float(len(listed))) for word in listed], unk_id=0))
    raw.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never")
    raw.decoder = decoders.Metaspace()
    return PreTrainedTokenizerFast(tokenizer_object=raw, unk_token="<unk>")


def test_every_token_that_spells_a_form_is_a_target_of_its_own(words_of_a_list):
    found = form_targets(words_of_a_list, ["cat", "giraffe", "猫"])
    assert [(target.word, target.pieces) for target in found] == [
        ("cat", ("▁cat",)),
        ("cat", ("cat",)),
        ("cat", ("▁Cat",)),
        ("cat", ("Cat",)),
        ("giraffe", ("▁gira", "ffe")),
        ("猫", ("猫",)),
    ]
    assert found[0] == find_target(words_of_a_list, "cat")


def test_the_same_token_and_word_is_one_target(words_of_a_list):
    once = form_targets(words_of_a_list, ["cat"])
    assert form_targets(words_of_a_list, ["cat", "cat"]) == once
    both = form_targets(words_of_a_list, ["cat", "Cat"])
    assert len(both) == 2 * len(once) and {target.word for target in both} == {"cat", "Cat"}


def test_an_empty_form_is_refused(words_of_a_list):
    with pytest.raises(TargetError, match="a target is empty"):
        form_targets(words_of_a_list, ["cat", " "])
