"""Words of one meaning, in six languages and any case; a user's file adds to them or is refused by line."""

import pytest

from patchlens.concepts.dictionary import NAMELESS, Dictionary
from patchlens.errors import DataError, SelectionError
from patchlens.scenes.vocabulary import CONCEPTS, names

HEADER = "key\tsort\ten\tit\n"


@pytest.fixture(scope="module")
def builtin():
    return Dictionary.builtin()


def spelled(forms, language):
    return [form.word for form in forms if form.language == language]


def own_file(tmp_path, text):
    path = tmp_path / "words.tsv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize("word", ["eye", "EYES", "Augen", "yeux", "ojo", "глаза", "眼睛"])
def test_any_form_leads_to_all_forms_of_its_meaning(builtin, word):
    forms = builtin.forms(word)
    assert {form.key for form in forms} == {"eye"}
    assert spelled(forms, "en") == ["eye", "eyes"]
    assert spelled(forms, "de") == ["Auge", "Augen"]
    assert spelled(forms, "ru") == ["глаз", "глаза"]


def test_a_word_of_several_meanings_leads_to_all_of_them(builtin):
    assert {form.key for form in builtin.forms("Bank")} == {"bank", "bench"}
    assert {form.key for form in builtin.forms("bank", "en")} == {"bank"}
    assert {form.key for form in builtin.forms("pie")} == {"foot"}
    assert builtin.forms("pie", "de") == ()
    assert {form.key for form in builtin.forms("rosa", "es")} == {"rose", "pink"}


def test_a_word_that_names_nothing_has_no_forms_but_a_language(builtin):
    assert builtin.forms("und") == builtin.forms("gira") == ()
    assert builtin.languages_of("und") == {"de"}
    assert builtin.languages_of("gira") == frozenset()
    assert "und" not in builtin.words("de") and "Hund" in builtin.words("de")


def test_letters_that_several_languages_share_are_known_in_each(builtin):
    assert builtin.languages_of("hand") == {"en", "de"}
    assert builtin.languages_of("Die") == {"en", "de"}
    assert builtin.languages_of("red") == {"en", "es"}
    assert builtin.languages_of("orange") == {"en", "de", "fr"}


@pytest.mark.parametrize("key", CONCEPTS)
def test_every_word_of_the_drawn_scenes_is_a_form_of_one_meaning(builtin, key):
    meanings = [{form.key for form in builtin.forms(word)} for word in names(key)]
    assert set.intersection(*meanings)


def test_every_meaning_has_a_word_in_all_six_languages(builtin):
    assert builtin.languages == ("en", "de", "fr", "es", "ru", "zh")
    named = [entry for entry in builtin.entries if entry.sort not in NAMELESS]
    assert sum(entry.sort == "noun" for entry in named) >= 200
    assert sum(entry.sort == "colour" for entry in named) >= 11
    for entry in named:
        assert {form.language for form in entry.forms} == set(builtin.languages), entry.key


def test_every_word_is_written_in_the_letters_of_its_language(builtin):
    for entry in builtin.entries:
        for form in entry.forms:
            letters = form.word.replace(" ", "").replace("-", "")
            assert letters.isalpha() and form.word == form.word.strip()
            points = [ord(letter) for letter in letters]
            if form.language == "ru":
                assert all(0x400 <= point < 0x460 for point in points), form
            elif form.language == "zh":
                assert all(0x4E00 <= point < 0xA000 for point in points), form
            else:
                assert all(point < 0x180 for point in points), form


def test_words_alike_are_listed_only_against_a_word_of_another_language(builtin):
    alike = next(entry for entry in builtin.entries if entry.sort == "alike")
    assert alike.forms
    for form in alike.forms:
        assert len(builtin.languages_of(form.word)) > 1, form


def test_a_word_begins_as_many_words_as_there_are(builtin):
    assert set(builtin.beginning("gira")) == {"giraffe", "giraffes", "giraffen", "girafe", "girafes"} | {
        "girasol",
        "girasoles",
    }
    assert builtin.beginning("Schild") == builtin.beginning("schild") != ()


def test_a_file_adds_forms_languages_and_meanings(builtin, tmp_path):
    path = own_file(tmp_path, HEADER + "cat\tnoun\tkitty\tgatto, gatti\n\nsavanna\tnoun\tsavanna\tsavana\n")
    extended = Dictionary.open(path)
    assert extended.languages == (*builtin.languages, "it")
    assert spelled(extended.forms("кошка"), "it") == ["gatto", "gatti"]
    assert spelled(extended.forms("gatti"), "en") == ["cat", "cats", "kitty"]
    assert {form.key for form in extended.forms("savana")} == {"savanna"}
    assert len(extended.entries) == len(builtin.entries) + 1
    assert builtin.forms("kitty") == ()


def test_a_file_that_repeats_a_form_changes_nothing(builtin, tmp_path):
    path = own_file(tmp_path, "key\tsort\ten\ncat\tnoun\tcat\n")
    assert Dictionary.open(path).forms("cat") == builtin.forms("cat")


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "line 1: expected the columns key, sort"),
        ("word\tsort\ten\n", "line 1: expected the columns"),
        ("key\tsort\n", "line 1: expected the columns"),
        ("key\tsort\ten\ten\n", "line 1: .* each once"),
        ("key\tsort\tEnglish\n", "line 1: .* codes of languages"),
        (HEADER + "cat\tnoun\tcat\n", "line 2: expected 4 cells, found 3"),
        (HEADER + "\n\tnoun\tcat\tgatto\n", "line 3: expected a key"),
        (HEADER + "cat\t\tcat\tgatto\n", "line 2: expected a key and a sort"),
        (HEADER + "cat\tfoo\tcat\tgatto\n", "line 2: expected a sort out of alike, colour, .*, found 'foo'"),
        (HEADER + "cat\tnoun\t\t\n", "line 2: 'cat' has no word"),
        (HEADER + "cat\tnoun\tcat,,kitty\t\n", "line 2: expected words with a comma"),
        (HEADER + "cat\tnoun\tcat\t\ncat\tnoun\t\tgatto\n", "line 3: the key 'cat' stands in an earlier"),
        (HEADER.encode() + b"cat\tnoun\tcat\t\xff\n", "line 2: not UTF-8"),
    ],
)
def test_a_wrong_file_is_refused_by_its_line(tmp_path, text, error):
    path = own_file(tmp_path, text)
    with pytest.raises(DataError, match=error) as caught:
        Dictionary.open(path)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(DataError, match=r"cannot read the dictionary .*none\.tsv"):
        Dictionary.open(tmp_path / "none.tsv")


def test_an_unknown_language_is_refused(builtin):
    with pytest.raises(SelectionError, match="no language 'it': it has en, de"):
        builtin.forms("cat", "it")
    with pytest.raises(SelectionError, match="no language 'it'"):
        builtin.words("it")
