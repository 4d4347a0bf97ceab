"""Shares of languages are counts over what is known, and what is known is told; by hand on small readings."""

import numpy as np
import pytest
from spoken import spoken

from patchlens.concepts import Dictionary, languages
from patchlens.errors import SelectionError
from readings import make_reading

SILENT = [["?", "?"], ["?", "?"]]
PATCHES = [
    [["▁gira", "ffe"], ["?", "."]],
    [["▁Augen", "▁gira"], ["猫", "▁eyes"]],
    [["▁eyes", "▁Augen"], ["▁eyes", "▁snow"]],
]


def share(speech, layer, language):
    return speech.shares[layer, speech.languages.index(language)]


def test_the_best_word_of_each_patch_is_counted():
    speech = languages(spoken(PATCHES))
    assert (speech.at, speech.k, speech.total) == ("patches", 1, 2)
    np.testing.assert_allclose(speech.known, [0, 1, 1])
    assert np.isnan(speech.shares[0]).all()
    assert share(speech, 1, "de") == share(speech, 1, "zh") == 0.5
    assert share(speech, 1, "en") == 0
    assert share(speech, 2, "en") == 1
    assert speech.languages[0] == "en"


def test_more_words_of_each_patch_count_alike():
    speech = languages(spoken(PATCHES), k=2)
    assert speech.total == 4
    np.testing.assert_allclose(speech.known, [0, 3 / 4, 1])
    np.testing.assert_allclose([share(speech, 1, code) for code in ("de", "zh", "en")], 1 / 3)
    assert share(speech, 2, "en") == 3 / 4


def test_the_null_is_the_table_with_each_token_once():
    speech = languages(spoken(PATCHES))
    # of WORDS, English: what, is, this, cat and Cat spaced, dog, grass, sky, eyes, the, and, blue, snow;
    # German: Katze, Augen; Russian: кошка; Chinese: 猫; Hebrew: שלום
    assert dict(zip(speech.languages, speech.by_itself.tolist(), strict=True)) == {
        "en": 13,
        "de": 2,
        "ru": 1,
        "zh": 1,
        "he": 1,
    }
    assert speech.table == 38
    np.testing.assert_allclose(speech.null.sum(), 1)
    assert speech.null[0] == 13 / 18


def test_all_layers_together_and_the_token_that_spoke_most():
    reading = spoken(PATCHES)
    speech = languages(reading)
    pooled = dict(zip(speech.languages, speech.pooled.tolist(), strict=True))
    assert pooled == {"en": 0.5, "de": 0.25, "zh": 0.25, "ru": 0.0, "he": 0.0}
    most = dict(zip(speech.languages, speech.commonest, strict=True))
    assert (reading.pieces[most["en"][0]], most["en"][1]) == ("▁eyes", 2)
    assert most["ru"] is None


def test_where_the_answer_starts_and_at_text():
    reading = spoken([SILENT, SILENT], answer=[["▁Katze", "?"], ["▁cat", "▁Cat"]])
    at_answer = languages(reading, "answer")
    assert at_answer.total == 1
    assert share(at_answer, 0, "de") == share(at_answer, 1, "en") == 1
    at_text = languages(reading, "text")
    assert at_text.total == int((reading.positions.kind == "text").sum()) == 4
    np.testing.assert_allclose(at_text.known, 1 / 4)
    assert languages(reading, "patches").counts.sum() == 0


def test_an_own_dictionary_tells_more(tmp_path):
    path = tmp_path / "words.tsv"
    path.write_text("key\tsort\tit\nbeginning\tnoun\tgira\n")
    speech = languages(spoken(PATCHES), dictionary=Dictionary.open(path))
    assert share(speech, 0, "it") == 1
    np.testing.assert_allclose(speech.known, [1 / 2, 1, 1])


def test_a_table_without_any_word_has_no_null():
    silent = languages(spoken([SILENT, SILENT], words=("?", ".", *map(str, range(20)))))
    assert silent.languages == () and silent.shares.shape == (2, 0)
    assert silent.known.tolist() == [0, 0]


@pytest.mark.parametrize(
    ("at", "k", "error"),
    [
        ("sky", 1, "'sky' is none of patches, answer and text"),
        ("patches", 0, "k is 0: ask for 1 or more"),
        ("patches", 3, "k is 3, but this reading keeps the best 2"),
    ],
)
def test_what_a_reading_cannot_tell_is_refused(at, k, error):
    with pytest.raises(SelectionError, match=error):
        languages(spoken(PATCHES), at, k)


def test_a_reading_without_patches_says_why():
    with pytest.raises(SelectionError, match="no position of patches: the model reads the picture by cross"):
        languages(make_reading(cross=True))
    with pytest.raises(SelectionError, match=r"no position of patches$"):
        languages(make_reading(pictures=0))
