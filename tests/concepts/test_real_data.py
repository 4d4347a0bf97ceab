"""Emergence, first forms and languages on real readings of LLaVA-1.5-7B, against values counted by hand.

Literals were read off the data by eye; loops here go over the data itself and share no code with the package.
"""

from collections import Counter

import pytest
from real_data import DATA, SIDE, raw, reading

from patchlens.concepts import first_forms, form_tokens, languages
from patchlens.reading.validate import check

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="the readings of LLaVA-1.5-7B are not here")


@pytest.fixture(scope="module")
def skiers():
    return reading("1")


@pytest.fixture(scope="module")
def giraffe():
    return reading("3")


def first_by_hand(name, *texts, k=5):
    """First row, then (rank, row and column of the patch) of the best hit there, and the number of hits."""
    data = raw(name)
    patches = [i for i, label in enumerate(data["labels"]) if label.startswith("<IMG")]
    for layer, row in enumerate(data["top5"]):
        hits = []
        for number, position in enumerate(patches):
            said = [text for text, _ in row[position][:k]]
            ranks = [said.index(text) for text in texts if text in said]
            if ranks:
                hits.append((min(ranks), divmod(number, SIDE)))
        if hits:
            return layer, *min(hits), len(hits)
    return None


def test_the_readings_are_whole(skiers, giraffe):
    for made in (skiers, giraffe):
        check(made)
        assert (made.positions.kind == "patch").sum() == SIDE * SIDE
        assert made.top_ids.shape[0] == 33


def test_emergence_at_the_answer(skiers, giraffe):
    # skiers: layer 20 says snow, 21 snow, ski; ski leads from 22, as Ski from 29
    assert [skiers.emergence("snow", k) for k in (1, 5)] == [20, 20]
    assert [skiers.emergence("ski", k) for k in (1, 5)] == [22, 21]
    assert skiers.leads_from("ski") == 22
    assert skiers.leads_from("snow") is None
    # giraffe: Africa leads at 16, 17 and 19 to 22, grass at 23 and 24, Africa at 25, then sav and Sav
    assert [giraffe.emergence("Africa", k) for k in (1, 5)] == [16, 16]
    assert [giraffe.emergence("grass", k) for k in (1, 5)] == [23, 20]
    assert [giraffe.emergence("sav", k) for k in (1, 5)] == [26, 24]
    assert giraffe.leads_from("sav") == 26
    assert giraffe.leads_from("Africa") is None


def test_augen_comes_twelve_layers_before_eyes(skiers, giraffe):
    forms = first_forms(giraffe, "eyes")
    assert [(form.word, form.layer, form.rank, (form.row, form.col), form.places) for form in forms] == [
        ("Augen", 9, 1, (4, 12), 2),
        ("eyes", 21, 0, (6, 16), 2),
        ("eye", 24, 3, (4, 12), 1),
    ]
    for form in forms:
        seen = first_by_hand("3", form.word)
        assert (form.layer, form.rank, (form.row, form.col), form.places) == seen
    assert [(form.word, form.layer) for form in first_forms(giraffe, "eyes", k=1)] == [
        ("Augen", 10),
        ("eyes", 21),
    ]
    assert first_forms(skiers, "eyes") == ()


@pytest.mark.parametrize(
    ("name", "word", "forms"),
    [
        ("1", "grass", [("grass", 13), ("草", 15)]),
        ("3", "grass", [("grass", 7), ("草", 15)]),
        ("1", "snow", [("snow", 2), ("雪", 10)]),
        ("3", "snow", []),
        ("3", "neck", [("cou", 6), ("neck", 16)]),
    ],
)
def test_first_forms_of_other_words(name, word, forms):
    found = first_forms(reading(name), word)
    assert [(form.word, form.layer) for form in found] == forms
    for form in found:
        seen = first_by_hand(name, *{form.word, form.word.capitalize(), form.word.upper()})
        assert (form.layer, form.rank, (form.row, form.col), form.places) == seen


def test_no_piece_spells_giraffe_and_ffe_alone_is_no_evidence(giraffe):
    texts = {text for row in raw("3")["top5"] for cell in row for text, _ in cell}
    assert "ffe" in texts and not {"gira", "giraffe", "Giraffe"} & texts
    assert first_forms(giraffe, "giraffe") == ()
    begins = {giraffe.pieces[t] for form in form_tokens(giraffe, "giraffe") for t in form.partial}
    assert {"▁g", "▁gir", "▁Gir"} <= begins and "ffe" not in begins


def test_grass_and_chinese_grass_at_the_answer(giraffe):
    found = first_forms(giraffe, "grass", at="answer")
    assert [(form.word, form.layer, form.rank) for form in found] == [("grass", 20, 3), ("草", 23, 4)]


def test_languages_of_one_layer_word_by_word(giraffe):
    data = raw("3")
    said = Counter(
        cell[0][0]
        for cell, label in zip(data["top5"][12], data["labels"], strict=True)
        if label.startswith("<IMG")
    )
    by_hand = {
        "en": ("dust", "Background", "black", "my", "MY", "grass"),
        "de": ("Augen", "Fuß"),
        "fr": ("clés",),
        "ru": ("круп", "гу", "тики", "фев", "гли", "его", "би", "рами", "гар"),
        "zh": ("巴", "松", "身"),
        "ko": ("식",),
    }
    counted = {language: sum(said[word] for word in words) for language, words in by_hand.items()}
    assert counted == {"en": 9, "de": 6, "fr": 11, "ru": 12, "zh": 5, "ko": 3}
    speech = languages(giraffe)
    told = dict(zip(speech.languages, speech.counts[12].tolist(), strict=True))
    assert {language: count for language, count in told.items() if count} == counted
    assert speech.known[12] == 46 / 576
    assert said["olas"] == 157  # Spanish for waves, were it not the end of a word here


def test_late_layers_speak_english_and_one_token_is_most_of_the_french(giraffe):
    speech = languages(giraffe)
    english = speech.languages.index("en")
    assert (speech.shares[24:, english] > 0.98).all()
    assert (speech.shares[9:13, english] < speech.null[english]).all()
    french = speech.languages.index("fr")
    token, count = speech.commonest[french]
    data = raw("3")
    by_hand = sum(
        cell[0][0] == "clés"
        for row in data["top5"]
        for cell, label in zip(row, data["labels"], strict=True)
        if label.startswith("<IMG")
    )
    assert giraffe.pieces[token] == "▁clés" and count == by_hand
