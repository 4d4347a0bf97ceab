"""Nouns are found with their tokens, and swapped for others without touching the rest."""

import numpy as np
import pytest

from patchlens.cause.hallucination.nouns import Noun, content_words, known_nouns, noun_ids, swapped
from patchlens.models.tokens import content_ids
from patchlens.run import load


@pytest.fixture(scope="module")
def tokenizer():
    return load("demo").adapter.tokenizer


def text(tokenizer, ids):
    return tokenizer.decode(list(ids)).strip()


@pytest.mark.parametrize(
    ("caption", "keys"),
    [
        ("a cat and two elephants on grass", ["cat", "elephant"]),
        ("eine Katze und ein roter Kreis im Schnee", ["cat", "circle"]),
        ("nine things: sunflower, ball and star", ["sunflower", "ball", "star"]),
        ("grass", []),
    ],
)
def test_things_are_known_in_any_language_and_number(tokenizer, caption, keys):
    ids = content_ids(tokenizer, f" {caption}")
    nouns = known_nouns(tokenizer, ids)
    assert [noun.key for noun in nouns] == keys
    for noun in nouns:
        said = text(tokenizer, [ids[step] for step in noun.steps])
        assert said in caption and " " not in said


def test_content_words_leave_function_words_out_and_cover_their_tokens(tokenizer):
    ids = content_ids(tokenizer, " a giraffe and the red star in the picture")
    words = content_words(tokenizer, ids)
    assert [noun.key for noun in words] == ["giraffe", "red", "star"]
    for noun in words:
        assert text(tokenizer, [ids[step] for step in noun.steps]) == noun.key


def test_a_swapped_noun_is_of_its_sort_and_all_else_stays(tokenizer):
    ids = content_ids(tokenizer, " a giraffe, two elephants and a red circle on grass")
    nouns = known_nouns(tokenizer, ids)
    there = frozenset({"giraffe", "elephant", "circle"})
    swaps, longer = set(), set()
    for seed in range(12):
        caption, (new, *around) = swapped(tokenizer, ids, nouns, there, np.random.default_rng(seed))
        (old,) = [noun for noun in nouns if noun.key not in {other.key for other in around}]
        assert new.key not in there and new.key in {n.key for n in known_nouns(tokenizer, caption)}
        before, after = text(tokenizer, ids).split(), text(tokenizer, caption).split()
        assert len(before) == len(after) and sum(a != b for a, b in zip(before, after, strict=True)) == 1
        assert caption[new.steps[0]] in noun_ids(tokenizer, new.key)
        assert {*known_nouns(tokenizer, caption)} == {new, *around}
        swaps.add(old.key)
        longer.add(len(caption) - len(ids))
    assert len(swaps) > 1 and len(longer) > 1
    assert swapped(tokenizer, ids, nouns, frozenset(), np.random.default_rng(0)) is None
    _, kept = swapped(tokenizer, ids, nouns, frozenset({"giraffe", "circle"}), np.random.default_rng(0))
    assert "elephant" not in {noun.key for noun in kept}
    assert isinstance(nouns[0], Noun)
