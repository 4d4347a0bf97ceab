"""A piece is evidence of a language or of none; what is not known is never guessed."""

import pytest

from patchlens.concepts import Dictionary, language_of


@pytest.mark.parametrize(
    ("piece", "language"),
    [
        ("▁the", "en"),
        ("▁eyes", "en"),
        (" eyes", "en"),
        ("▁EYES", "en"),
        ("Eyes", "en"),
        ("The", "en"),
        ("▁olas", "es"),
        ("▁Augen", "de"),
        ("▁und", "de"),
        ("▁Straße", "de"),
        ("▁yeux", "fr"),
        ("▁avec", "fr"),
        ("▁cielo", "es"),
        ("▁los", None),  # Spanish and German, and the Los of Los Angeles
        ("▁кошка", "ru"),
        ("▁еще", "ru"),
        ("тори", "ru"),
        ("猫", "zh"),
        ("▁天空", "zh"),
        ("ねこ", "ja"),
        ("の", "ja"),
        ("食べる", "ja"),
        ("カー", "ja"),
        ("고양이", "ko"),
        ("γάτα", "el"),
        ("חתול", "he"),
        ("แมว", "th"),
    ],
)
def test_words_and_scripts_that_tell_a_language(piece, language):
    assert language_of(piece, Dictionary.builtin()) == language


@pytest.mark.parametrize(
    "piece",
    [
        "▁gira",
        "ffe",
        "olas",
        "schließ",
        "▁Andrew",
        "▁Hand",  # English and German
        "▁die",
        "▁rot",
        "▁table",
        "▁la",
        "der",  # without a space: perhaps the end of "under"
        "eyes",
        "cat",
        "ER",
        "▁a",
        "и",
        "α",
        "Хронологија",  # Cyrillic, and not Russian
        "▁і",
        "العربية",
        "हिन्दी",
        "кот-cat",
        "<0xE7>",
        "<s>",
        "▁",
        "",
        "\n",
        "123",
        "&=\\",
        "🦒",
    ],
)
def test_what_tells_no_language(piece):
    assert language_of(piece, Dictionary.builtin()) is None


def test_words_of_an_own_file_are_evidence_too(tmp_path):
    path = tmp_path / "words.tsv"
    path.write_text("key\tsort\tuk\tja\ncat\tnoun\tкіт\t猫\ncar\tnoun\tмашина\t\n")
    extended = Dictionary.open(path)
    assert language_of("▁кіт", extended) == "uk"
    assert language_of("猫", extended) is None  # now of two languages
    assert language_of("▁машина", extended) is None
    assert language_of("▁кошка", extended) == "ru"
