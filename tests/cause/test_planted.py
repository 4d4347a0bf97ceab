"""What is planted is known from how the scenes' language is built, not from a model."""

import itertools

import numpy as np
import pytest

from patchlens.cause.cases import drawn_cases
from patchlens.cause.grounding.planted import ask_planted, planted_tokens, settled
from patchlens.models.load import load_adapter
from patchlens.models.tokens import content_ids, piece_table
from patchlens.scenes.questions import Question, caption
from patchlens.scenes.scene import make_scene
from patchlens.scenes.truth import labelled_scene

VALIDATION = 9_000_000


@pytest.fixture(scope="module", params=["demo", "demo-cross"])
def tokenizer(request):
    return load_adapter(request.param).tokenizer


def pairs(tokenizer):
    follows = settled(tokenizer)
    pieces = piece_table(tokenizer, [*follows, *follows.values()])
    return {pieces[token]: pieces[after] for token, after in follows.items()}


def test_second_pieces_and_fixed_turns_are_settled_and_open_words_are_not(tokenizer):
    found = pairs(tokenizer)
    assert found["▁g"] == "iraffe" and found["▁nine"] == "▁things" and found["▁at"] == "▁night"
    for word in ("▁a", "▁on", "▁two", "▁red", "▁im", "▁cat", ",", "和"):
        assert word not in found


def test_no_caption_of_many_scenes_goes_against_what_is_settled(tokenizer):
    follows = settled(tokenizer)
    met = set()
    for seed in range(VALIDATION + 5000, VALIDATION + 5300):
        scene = make_scene(seed)
        for language in ("en", "de", "zh"):
            ids = content_ids(tokenizer, f" {caption(scene, language)}")
            for token, after in itertools.pairwise(ids):
                assert follows.get(token, after) == after
                met |= {token} & follows.keys()
    assert len(met) >= 8


def labelled(prompt, answer):
    return labelled_scene(make_scene(VALIDATION), Question("caption", "en", prompt, answer, ()))


def test_tokens_count_only_as_far_as_the_answer_is_true(tokenizer):
    follows = settled(tokenizer)

    def found(prompt, true, said):
        return planted_tokens(tokenizer, labelled(prompt, true), content_ids(tokenizer, f" {said}"), follows)

    ask, tell = "What is this?", "Describe the picture."
    assert found(ask, "giraffe", "giraffe") == {"open": [0], "settled": []}
    assert found(ask, "giraffe", "cat") == {"open": [], "settled": []}
    assert found(tell, "a giraffe at night", "a giraffe at night") == {"open": [], "settled": [2]}
    assert found(tell, "a cat on sand", "a giraffe on sand") == {"open": [], "settled": []}
    true = "nine things: cat, dog and cow"
    assert found(tell, true, "nine things: dog") == {"open": [], "settled": [1, 2]}
    assert planted_tokens(tokenizer, None, [5, 6], follows) == {"open": [], "settled": []}


def test_questions_leave_their_answer_open_and_captions_do_not(tokenizer):
    cases = drawn_cases(ask_planted, 1, 60, first=VALIDATION)
    follows = settled(tokenizer)
    kinds = []
    for case in cases:
        prompt, ids = case.prompt, content_ids(tokenizer, f" {case.known().answer}")
        found = planted_tokens(tokenizer, case.known(), ids, follows)
        kinds.append((bool(found["open"]), bool(found["settled"])))
        if prompt.startswith("How many"):
            assert "things" in prompt
    share = np.mean(kinds, 0)
    assert 0.3 < share[0] < 0.7 and share[1] > 0.15
    assert not any(opened and fixed for opened, fixed in kinds)
