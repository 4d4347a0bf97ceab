"""How the three languages ask and answer: templates, articles, endings."""

from __future__ import annotations

from typing import Literal

from patchlens.scenes.vocabulary import CONCEPTS, Concept, Gender, Language

QuestionKind = Literal["what", "colour", "count", "exists", "relation", "background", "two_step", "caption"]
Direction = Literal["left", "right", "above", "below"]

ASK: dict[str, dict[Language, tuple[str, ...]]] = {
    "what": {
        "en": (
            "What is this?",
            "What is in the picture?",
            "What do you see?",
            "What is shown here?",
            "What is in this image?",
        ),
        "de": ("Was ist das?", "Was ist auf dem Bild?", "Was siehst du?"),
        "zh": ("这是什么?", "图片里有什么?", "你看到了什么?"),
    },
    "what_category": {
        "en": ("What {category} is this?", "Which {category} is this?"),
        "de": ("Was für {ein} {category} ist das?",),
        "zh": ("这是什么{category}?",),
    },
    "caption": {
        "en": ("Describe the picture.", "Describe this image.", "Write a caption."),
        "de": ("Beschreibe das Bild.", "Was zeigt das Bild?"),
        "zh": ("描述这张图片。", "请描述图片。"),
    },
    "colour": {
        "en": (
            "What colour is the {thing}?",
            "What color is the {thing}?",
            "Which colour does the {thing} have?",
        ),
        "de": ("Welche Farbe hat {der} {thing}?",),
        "zh": ("{thing}是什么颜色?",),
    },
    "count": {
        "en": ("How many {things} are there?", "How many {things} do you see?"),
        "de": ("Wie viele {things} gibt es?", "Wie viele {things} siehst du?"),
        "zh": ("有几个{thing}?",),
    },
    "exists": {
        "en": ("Is there {a} {thing}?", "Do you see {a} {thing}?", "Is there {a} {thing} in the picture?"),
        "de": ("Gibt es {einen} {oblique}?", "Siehst du {einen} {oblique}?"),
        "zh": ("有{thing}吗?", "图片里有{thing}吗?"),
    },
    "relation": {
        "en": ("What is {side} the {thing}?", "Which thing is {side} the {thing}?"),
        "de": ("Was ist {side} {dem} {oblique}?",),
        "zh": ("{thing}的{side}是什么?",),
    },
    "background": {
        "en": ("What is the background?", "What is behind the {thing}?", "Where is this?"),
        "de": ("Was ist der Hintergrund?", "Wo ist das?"),
        "zh": ("背景是什么?", "这是在哪里?"),
    },
    "two_step_colour": {
        "en": (
            "What colour is the thing {side} the {thing}?",
            "Which colour does the thing {side} the {thing} have?",
        ),
        "de": ("Welche Farbe hat das Ding {side} {dem} {oblique}?",),
        "zh": ("{thing}的{side}的东西是什么颜色?",),
    },
    "two_step_thing": {
        "en": ("What is {side} the {colour} thing?",),
        "de": ("Was ist {side} dem {colour}en Ding?",),
        "zh": ("{colour}东西的{side}是什么?",),
    },
}

SIDES: dict[Direction, dict[Language, str]] = {
    "left": {"en": "left of", "de": "links von", "zh": "左边"},
    "right": {"en": "right of", "de": "rechts von", "zh": "右边"},
    "above": {"en": "above", "de": "über", "zh": "上边"},
    "below": {"en": "below", "de": "unter", "zh": "下边"},
}

NUMBERS: dict[int, dict[Language, str]] = {
    1: {"en": "one", "de": "eins", "zh": "一"},
    2: {"en": "two", "de": "zwei", "zh": "两"},
    3: {"en": "three", "de": "drei", "zh": "三"},
    4: {"en": "four", "de": "vier", "zh": "四"},
    9: {"en": "nine", "de": "neun", "zh": "九"},
}

YES: dict[Language, str] = {"en": "yes", "de": "ja", "zh": "有"}
NO: dict[Language, str] = {"en": "no", "de": "nein", "zh": "没有"}
THINGS: dict[Language, str] = {"en": "things", "de": "Dinge", "zh": "东西"}

_GROUND: dict[str, dict[Language, str]] = {
    "grass": {"en": "on grass", "de": "auf Gras"},
    "sand": {"en": "on sand", "de": "auf Sand"},
    "water": {"en": "on water", "de": "im Wasser"},
    "bricks": {"en": "on bricks", "de": "auf Ziegeln"},
    "snow": {"en": "in snow", "de": "im Schnee"},
    "flowers": {"en": "on flowers", "de": "auf Blumen"},
    "night": {"en": "at night", "de": "bei Nacht"},
    "wood": {"en": "on wood", "de": "auf Holz"},
    "stripes": {"en": "on stripes", "de": "auf Streifen"},
    "dots": {"en": "on dots", "de": "auf Punkten"},
    "checks": {"en": "on checks", "de": "auf Karos"},
}

_NOMINATIVE: dict[Gender, str] = {"m": "der", "f": "die", "n": "das", "p": "die"}
_DATIVE: dict[Gender, str] = {"m": "dem", "f": "der", "n": "dem", "p": "den"}
_A_NOMINATIVE: dict[Gender, str] = {"m": "ein", "f": "eine", "n": "ein", "p": ""}
_A_ACCUSATIVE: dict[Gender, str] = {"m": "einen", "f": "eine", "n": "ein", "p": ""}
_ENDING: dict[Gender, str] = {"m": "er", "f": "e", "n": "es", "p": "e"}
_OBLIQUE = {"elephant": "Elefanten", "rabbit": "Hasen"}
"""Nouns that change in the accusative and dative singular."""
_CATEGORY_GENDER: dict[str, str] = {"plant": "eine", "shape": "eine"}


def english_article(word: str) -> str:
    """``"a"`` or ``"an"``."""
    return "an" if word[0] in "aeio" or word == "umbrella" else "a"


def fill(template: str, language: Language, thing: Concept | None = None, **words: str) -> str:
    """Put a concept, with its articles and plural, and further words into a template.

    Args:
        template: one of the texts of ``ASK``.
        language: the template's language; it decides the form of ``thing``.
        thing: the concept asked about, if the template names one.
        words: values for the template's other fields.

    Raises:
        KeyError: the template has a field that is not given.
    """
    if thing is not None:
        word = thing.word(language)
        plural = {"en": thing.plural, "de": thing.german_plural, "zh": thing.chinese}[language]
        forms = {
            "thing": word,
            "things": plural,
            "a": english_article(word),
            "der": _NOMINATIVE[thing.gender],
            "dem": _DATIVE[thing.gender],
            "oblique": _OBLIQUE.get(thing.key, word),
            "einen": _A_ACCUSATIVE[thing.gender],
        }
        words = {**forms, **words}
    return template.format(**words)


def category_article(category: str) -> str:
    """German ``ein`` or ``eine`` before the word of a category of objects."""
    return _CATEGORY_GENDER.get(category, "ein")


def noun_phrase(name: str, colour: str | None, count: int, language: Language) -> str:
    """A thing as a caption says it: "a red circle", "zwei Katzen".

    Raises:
        KeyError: ``count`` above 1 without an entry in ``NUMBERS``.
    """
    thing = CONCEPTS[name]
    if language == "zh":
        tint = CONCEPTS[colour].chinese if colour else ""
        return (NUMBERS[count]["zh"] + "个" if count > 1 else "") + tint + thing.chinese
    if language == "de":
        gender: Gender = "p" if count > 1 else thing.gender
        article = NUMBERS[count]["de"] if count > 1 else _A_NOMINATIVE[gender]
        tint = CONCEPTS[colour].german_plural + _ENDING[gender] if colour else ""
        noun = thing.german_plural if count > 1 else thing.german
        return " ".join(w for w in (article, tint, noun) if w)
    noun = thing.plural if count > 1 else thing.key
    rest = f"{colour} {noun}" if colour else noun
    return f"{NUMBERS[count]['en'] if count > 1 else english_article(rest)} {rest}"


def listed(words: list[str], language: Language) -> str:
    """Words joined by commas and the language's own "and": "cat, dog and circle"."""
    joiner = {"en": " and ", "de": " und ", "zh": "和"}[language]
    comma = "," if language == "zh" else ", "
    return joiner.join(w for w in (comma.join(words[:-1]), words[-1]) if w)


def on_ground(phrase: str, background: str, language: Language) -> str:
    """A caption's words for things, set on a ground: "a cat on grass"."""
    if language == "zh":
        return f"{phrase},背景是{CONCEPTS[background].chinese}"
    return f"{phrase} {_GROUND[background][language]}"
