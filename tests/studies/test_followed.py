"""Forms of a concept that a study follows, and the language each is of."""

import pytest

import patchlens as pl
from patchlens.concepts.dictionary import Dictionary
from patchlens.data.item import Item
from patchlens.studies.work.followed import followed


@pytest.fixture(scope="module")
def tokenizer():
    return pl.load("demo").tokenizer


def languages(tokenizer, concept: str) -> dict[str, str | None]:
    words = followed(tokenizer, Item("a", "What?", concepts=(concept,)), (), Dictionary.builtin())
    return {word.target.word: word.language for word in words}


def test_a_form_has_the_language_it_is_a_word_of(tokenizer):
    found = languages(tokenizer, "cat")
    assert (found["cat"], found["Katze"], found["猫"]) == ("en", "de", "zh")


def test_a_form_of_several_languages_tells_none(tokenizer):
    found = languages(tokenizer, "triangle")  # English and French
    assert found["triangle"] is None
    assert found["Dreieck"] == "de"


def test_a_word_that_is_not_in_the_dictionary_is_followed_without_a_language(tokenizer):
    assert languages(tokenizer, "zzyzx") == {"zzyzx": None}
