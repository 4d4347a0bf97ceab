import itertools

import numpy as np
import pytest

from patchlens.scenes import phrases
from patchlens.scenes.questions import QUESTION_KINDS, ask, caption, neighbour
from patchlens.scenes.scene import PlacedObject, Scene, make_scene
from patchlens.scenes.vocabulary import CONCEPTS, LANGUAGES, names

EMPTY = np.zeros((140, 140), bool)


def placed(name: str, x: int, y: int, colour: str | None = None) -> PlacedObject:
    return PlacedObject(name, colour, (x - 15, y - 15, x + 15, y + 15), EMPTY)


def scene_of(*objects: PlacedObject, background: str = "grass", kind: str = "several") -> Scene:
    return Scene(np.zeros((140, 140, 3), np.uint8), kind, background, (), objects, 0)  # type: ignore[arg-type]


SCENE = scene_of(
    placed("cat", 30, 100), placed("circle", 100, 95, "red"), placed("dog", 35, 30), placed("dog", 105, 25)
)


def asked(scene: Scene, kind: str, language: str = "en", tries: int = 60):
    rng = np.random.default_rng(0)
    found = [ask(scene, rng, kind, language) for _ in range(tries)]
    return {(q.prompt, q.answer) for q in found if q is not None}


@pytest.mark.parametrize(
    ("start", "direction", "end"),
    [
        (0, "right", 1),
        (1, "left", 0),
        (0, "above", 2),
        (2, "below", 0),
        (2, "right", 3),
        (0, "left", None),
        (1, "above", 3),
    ],
)
def test_neighbours_of_a_scene_laid_out_by_hand(start, direction, end):
    assert neighbour(SCENE, start, direction) == end


def test_no_neighbour_where_two_are_about_as_near():
    scene = scene_of(placed("cat", 120, 70), placed("dog", 50, 50), placed("bus", 60, 90))
    assert neighbour(scene, 0, "left") is None


def test_neighbours_are_mutual_for_two_things():
    opposite = {"left": "right", "right": "left", "above": "below", "below": "above"}
    for seed in range(200):
        scene = make_scene(seed, "several")
        if len(scene.objects) != 2:
            continue
        for direction, back in opposite.items():
            if neighbour(scene, 0, direction) == 1:
                assert neighbour(scene, 1, back) == 0


def test_relation_answers_lie_on_the_side_they_say():
    sides = {words["en"]: d for d, words in phrases.SIDES.items()}
    for seed in range(300):
        scene = make_scene(seed)
        q = ask(scene, np.random.default_rng(seed), "relation", "en")
        if q is None:
            continue
        start, end = q.about
        (side,) = [d for words, d in sides.items() if f" {words} " in q.prompt]
        (x0, y0), (x1, y1) = scene.objects[start].centre, scene.objects[end].centre
        assert {"left": x1 < x0, "right": x1 > x0, "above": y1 < y0, "below": y1 > y0}[side]
        assert scene.objects[start].name in q.prompt
        assert q.answer == scene.objects[end].name


def test_what_by_hand():
    assert {a for _, a in asked(SCENE, "what")} == {"cat, two dogs and circle"}
    assert {a for _, a in asked(SCENE, "what", "de")} == {"Katze, zwei Hunde und Kreis"}
    assert {a for _, a in asked(SCENE, "what", "zh")} == {"猫,两个狗和圆形"}


def test_caption_by_hand():
    assert caption(SCENE, "en") == "a cat, two dogs and a red circle on grass"
    assert caption(SCENE, "de") == "eine Katze, zwei Hunde und ein roter Kreis auf Gras"
    assert caption(SCENE, "zh") == "猫,两个狗和红色圆形,背景是草地"


def test_count_by_hand():
    answers = dict(asked(SCENE, "count"))
    assert answers["How many dogs are there?"] == "two"
    assert answers["How many things do you see?"] == "four"


def test_colour_and_two_step_by_hand():
    assert {a for _, a in asked(SCENE, "colour")} == {"red"}
    two_step = dict(asked(SCENE, "two_step"))
    assert two_step["What colour is the thing right of the cat?"] == "red"
    assert two_step["What is left of the red thing?"] == "cat"


def test_no_colour_without_a_shape_and_no_relation_of_one_thing():
    assert not asked(scene_of(placed("cat", 70, 70)), "colour")
    assert not asked(scene_of(placed("cat", 70, 70)), "relation")


@pytest.mark.parametrize("language", LANGUAGES)
def test_yes_and_no_follow_the_scene_and_are_balanced(language):
    answers: list[str] = []
    for seed in range(300):
        scene = make_scene(seed, "several")
        q = ask(scene, np.random.default_rng(seed), "exists", language)
        there = {f for o in scene.objects for f in names(o.name)} | {"Hasen", "Elefanten"}
        words = q.prompt.replace("?", " ").split()
        yes = q.answer == phrases.YES[language]
        assert yes == bool(q.about)
        if language == "en":
            assert yes == bool(there & set(words))
        answers.append(q.answer)
    assert 0.4 < answers.count(phrases.YES[language]) / 300 < 0.6


@pytest.mark.parametrize(("kind", "language"), list(itertools.product(QUESTION_KINDS, LANGUAGES)))
def test_every_kind_in_every_language_is_filled_in(kind, language):
    made = [ask(make_scene(s), np.random.default_rng(s), kind, language) for s in range(120)]
    made = [q for q in made if q is not None]
    assert made
    for q in made:
        assert q.kind == kind and q.language == language
        assert "{" not in q.prompt + q.answer and "None" not in q.prompt + q.answer
        assert q.prompt == q.prompt.strip() and q.answer == q.answer.strip()


def test_questions_follow_from_the_generator():
    scene = make_scene(4)
    first, again = (ask(scene, np.random.default_rng(9)) for _ in range(2))
    assert first == again


@pytest.mark.parametrize(
    ("word", "article"), [("elephant", "an"), ("umbrella", "an"), ("cat", "a"), ("orange circle", "an")]
)
def test_english_article(word, article):
    assert phrases.english_article(word) == article


def test_german_oblique_nouns():
    assert (
        phrases.fill("Gibt es {einen} {oblique}?", "de", CONCEPTS["elephant"]) == "Gibt es einen Elefanten?"
    )
    assert phrases.fill("links von {dem} {oblique}", "de", CONCEPTS["cat"]) == "links von der Katze"


def test_forms_of_a_concept():
    assert names("cat") == ("cat", "cats", "Katze", "Katzen", "猫")
    assert names("red") == ("red", "rot", "roter", "rote", "rotes", "红色")
    with pytest.raises(KeyError):
        names("unicorn")
