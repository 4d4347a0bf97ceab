"""Tokens that stand for a form: those that spell it, and first pieces where it is said how they go on."""

from dataclasses import replace

import pytest
from spoken import spoken

from patchlens.concepts import Dictionary, first_forms, form_tokens
from patchlens.errors import SelectionError, TargetError
from patchlens.reading.records import Answer
from readings import WORDS, make_reading

NOTHING = ["?", "?"]


def ids(*pieces):
    return tuple(WORDS.index(piece) for piece in pieces)


def by_word(forms):
    return {form.word: form for form in forms}


def test_tokens_that_spell_a_form_in_any_case_with_or_without_space():
    forms = by_word(form_tokens(spoken([[NOTHING, NOTHING]]), "Katze"))
    assert forms["cat"].whole == ids("▁cat", "cat", "▁Cat")
    assert forms["Katze"].whole == ids("▁Katze")
    assert forms["кошка"].whole == ids("▁кошка")
    assert forms["猫"].whole == ids("猫")
    assert forms["gato"].whole == ()
    assert forms["cat"].languages == ("en",) and forms["cat"].keys == ("cat",)


def test_forms_of_the_same_letters_are_one():
    forms = form_tokens(spoken([[NOTHING, NOTHING]]), "pink")
    assert by_word(forms)["pink"].languages == ("en", "de")
    assert by_word(forms)["rosa"].languages == ("de", "es")
    rose = by_word(form_tokens(spoken([[NOTHING, NOTHING]]), "rosa"))["rose"]
    assert (rose.languages, rose.keys) == (("en", "de", "fr"), ("rose", "pink"))
    german = form_tokens(spoken([[NOTHING, NOTHING]]), "rosa", language="de")
    assert {key for form in german for key in form.keys} == {"pink"}


def test_a_first_piece_is_only_partial_and_says_how_many_words_it_begins():
    forms = by_word(form_tokens(spoken([[NOTHING, NOTHING]]), "giraffe"))
    giraffe = forms["giraffe"]
    assert giraffe.whole == giraffe.joined == ()
    gira, a = ids("▁gira")[0], ids("▁a")[0]
    assert giraffe.partial == {gira: len(Dictionary.builtin().beginning("gira"))}
    assert giraffe.partial[gira] == 7  # giraffe(s), Giraffen, girafe(s), girasol(es)
    assert a not in giraffe.partial
    assert forms["жираф"].partial == {}


def test_a_piece_without_the_mark_of_a_word_begins_none():
    words = tuple("gira" if word == "▁gira" else word for word in WORDS)
    assert by_word(form_tokens(spoken([[NOTHING, NOTHING]], words=words), "giraffe"))["giraffe"].partial == {}
    unmarked = spoken([[NOTHING, NOTHING]], words=tuple(word.replace("▁", "") for word in WORDS))
    assert list(by_word(form_tokens(unmarked, "giraffe"))["giraffe"].partial.values()) == [7]


def test_han_begins_words_without_a_mark():
    words = tuple("长" if word == "ffe" else word for word in WORDS)
    forms = by_word(form_tokens(spoken([[NOTHING, NOTHING]], words=words), "giraffe"))
    assert list(forms["长颈鹿"].partial) == [words.index("长")]


def test_a_target_of_several_pieces_makes_its_first_piece_stand_for_it():
    reading = make_reading(targets=("giraffe",))
    assert not reading.targets[0].is_whole
    assert by_word(form_tokens(reading, "giraffe"))["giraffe"].joined == ids("▁gira")
    assert by_word(form_tokens(reading, "giraffe"))["giraffe"].partial == {}


def test_an_unknown_word_is_refused():
    with pytest.raises(TargetError, match=r"'gira' is not in the dictionary; add"):
        form_tokens(spoken([[NOTHING, NOTHING]]), "gira")
    with pytest.raises(TargetError, match=r"'pie' is not in the dictionary of de"):
        form_tokens(spoken([[NOTHING, NOTHING]]), "pie", language="de")


def test_augen_comes_before_eyes():
    reading = spoken(
        [
            [NOTHING, ["?", "▁gira"]],
            [NOTHING, ["?", "▁Augen"]],
            [["▁Augen", "?"], NOTHING],
            [["?", "▁eyes"], ["▁eyes", "▁Augen"]],
        ]
    )
    augen, eyes = first_forms(reading, "eye", k=2)
    assert (augen.word, augen.languages, augen.keys) == ("Augen", ("de",), ("eye",))
    assert (augen.layer, augen.rank, augen.row, augen.col, augen.places) == (1, 1, 0, 1, 1)
    assert (eyes.word, eyes.layer, eyes.rank, eyes.col, eyes.places) == ("eyes", 3, 0, 1, 2)
    assert augen.position == reading.positions.index[reading.patch_row(0, 1)]
    assert augen.is_whole and augen.piece == "▁Augen"
    first = first_forms(reading, "eye", k=1)
    assert [(form.word, form.layer) for form in first] == [("Augen", 2), ("eyes", 3)]


def test_forms_of_the_same_layer_go_by_rank():
    reading = spoken([[NOTHING, NOTHING], [["▁Augen", "▁eyes"], NOTHING]])
    assert [(form.word, form.layer, form.rank) for form in first_forms(reading, "eye", k=2)] == [
        ("Augen", 1, 0),
        ("eyes", 1, 1),
    ]


def test_the_best_token_of_a_form_is_told():
    reading = spoken([[["?", "cat"], ["▁Cat", "▁cat"]]])
    (cat,) = first_forms(reading, "cat", k=2)
    assert (cat.piece, cat.rank, cat.col, cat.places) == ("▁Cat", 0, 1, 2)


def test_a_piece_of_a_word_is_no_evidence_at_a_patch():
    assert first_forms(spoken([[["▁gira", "ffe"], ["▁gira", "ffe"]]]), "giraffe", k=2) == ()


def test_a_first_piece_counts_at_the_answer_that_goes_on_to_spell_the_word():
    said = [["?", "▁gira"], ["▁gira", "ffe"]]
    reading = spoken([[["▁gira", "?"], NOTHING]] * 2, answer=said)
    gira, ffe, end = ids("▁gira", "ffe", "</s>")
    goes_on = replace(reading, answer=Answer("giraffe", (gira, ffe, end)))
    assert first_forms(goes_on, "giraffe", at="patches", k=2) == ()
    (giraffe,) = first_forms(goes_on, "Giraffe", at="answer", k=2)
    assert (giraffe.word, giraffe.layer, giraffe.is_whole, giraffe.row) == ("giraffe", 0, False, None)
    for other in ((gira, end), (gira, ffe, ffe), (ffe, gira), ()):
        assert first_forms(replace(reading, answer=Answer("", other)), "giraffe", at="answer", k=2) == ()


def test_a_target_counts_at_patches_by_its_first_piece():
    reading = replace(spoken([[["▁gira", "?"], NOTHING]]), targets=())
    followed = make_reading(rows=1, cols=2, n_layers=0, k=2, targets=("giraffe",))
    ranks = followed.target_ranks * 0 + 50
    ranks[0, reading.patch_row(0, 1)] = 1
    followed = replace(followed, target_ranks=ranks, top_ids=reading.top_ids, pieces=reading.pieces)
    (giraffe,) = first_forms(followed, "giraffe", k=2)
    assert (giraffe.piece, giraffe.is_whole, giraffe.col, giraffe.rank) == ("▁gira", False, 1, 1)


def test_what_a_reading_cannot_tell_is_refused():
    with pytest.raises(SelectionError, match="k is 3"):
        first_forms(spoken([[NOTHING, NOTHING]]), "cat", k=3)
