"""What the scenes can show, and every word for it in English, German and Chinese."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Language = Literal["en", "de", "zh"]
LANGUAGES: tuple[Language, ...] = ("en", "de", "zh")
Sort = Literal["object", "shape", "colour", "background", "pattern"]
Gender = Literal["m", "f", "n", "p"]
"""German gender; ``p`` marks a noun that is used in the plural only."""


@dataclass(frozen=True)
class Concept:
    """One nameable thing: its key (the English word) and its surface forms.

    ``category`` groups objects ("animal", "food", ...); for other sorts it equals the sort.
    ``gender`` is the German gender. Colours hold the German stem that takes endings in
    ``german_plural``.
    """

    key: str
    sort: Sort
    category: str
    plural: str
    german: str
    gender: Gender
    german_plural: str
    chinese: str

    def word(self, language: Language) -> str:
        """The singular (or only) form in a language."""
        return {"en": self.key, "de": self.german, "zh": self.chinese}[language]


def _objects() -> tuple[Concept, ...]:
    rows: dict[str, str] = {
        "animal": """
            cat cats Katze f Katzen 猫
            dog dogs Hund m Hunde 狗
            horse horses Pferd n Pferde 马
            cow cows Kuh f Kühe 牛
            rabbit rabbits Hase m Hasen 兔子
            elephant elephants Elefant m Elefanten 大象
            giraffe giraffes Giraffe f Giraffen 长颈鹿
            bird birds Vogel m Vögel 鸟
            duck ducks Ente f Enten 鸭子
            penguin penguins Pinguin m Pinguine 企鹅
            fish fish Fisch m Fische 鱼
            turtle turtles Schildkröte f Schildkröten 乌龟
            frog frogs Frosch m Frösche 青蛙
            bee bees Biene f Bienen 蜜蜂
            butterfly butterflies Schmetterling m Schmetterlinge 蝴蝶""",
        "food": """
            apple apples Apfel m Äpfel 苹果
            banana bananas Banane f Bananen 香蕉
            strawberry strawberries Erdbeere f Erdbeeren 草莓
            pizza pizzas Pizza f Pizzen 披萨
            cake cakes Kuchen m Kuchen 蛋糕""",
        "vehicle": """
            car cars Auto n Autos 汽车
            bus buses Bus m Busse 公交车
            bicycle bicycles Fahrrad n Fahrräder 自行车
            boat boats Boot n Boote 船
            train trains Zug m Züge 火车
            plane planes Flugzeug n Flugzeuge 飞机""",
        "plant": """
            tree trees Baum m Bäume 树
            sunflower sunflowers Sonnenblume f Sonnenblumen 向日葵
            cactus cactuses Kaktus m Kakteen 仙人掌
            mushroom mushrooms Pilz m Pilze 蘑菇""",
        "thing": """
            house houses Haus n Häuser 房子
            ball balls Ball m Bälle 球
            umbrella umbrellas Regenschirm m Regenschirme 雨伞
            clock clocks Uhr f Uhren 钟
            guitar guitars Gitarre f Gitarren 吉他
            key keys Schlüssel m Schlüssel 钥匙""",
    }
    return tuple(c for group, text in rows.items() for c in _parse("object", group, text))


def _parse(sort: Sort, category: str, text: str) -> list[Concept]:
    concepts: list[Concept] = []
    for line in text.strip().splitlines():
        key, plural, german, gender, german_plural, chinese = line.split()
        if gender not in ("m", "f", "n", "p"):
            raise ValueError(f"expected a gender m, f, n or p for {key!r}, got {gender!r}")
        concepts.append(Concept(key, sort, category, plural, german, gender, german_plural, chinese))
    return concepts


OBJECTS: tuple[Concept, ...] = _objects()

SHAPES: tuple[Concept, ...] = tuple(
    _parse(
        "shape",
        "shape",
        """
        circle circles Kreis m Kreise 圆形
        square squares Quadrat n Quadrate 方形
        triangle triangles Dreieck n Dreiecke 三角形
        star stars Stern m Sterne 星形
        heart hearts Herz n Herzen 心形
        cross crosses Kreuz n Kreuze 十字形""",
    )
)

COLOURS: tuple[Concept, ...] = tuple(
    _parse(
        "colour",
        "colour",
        """
        red red rot n rot 红色
        orange orange orange n orang 橙色
        yellow yellow gelb n gelb 黄色
        green green grün n grün 绿色
        blue blue blau n blau 蓝色
        purple purple violett n violett 紫色
        black black schwarz n schwarz 黑色
        white white weiß n weiß 白色""",
    )
)

BACKGROUNDS: tuple[Concept, ...] = tuple(
    _parse(
        "background",
        "background",
        """
        grass grass Gras n Gras 草地
        sand sand Sand m Sand 沙子
        water water Wasser n Wasser 水
        bricks bricks Ziegel p Ziegel 砖墙
        snow snow Schnee m Schnee 雪
        flowers flowers Blumen p Blumen 花
        night night Nacht f Nacht 夜空
        wood wood Holz n Holz 木头""",
    )
)

PATTERNS: tuple[Concept, ...] = tuple(
    _parse(
        "pattern",
        "pattern",
        """
        stripes stripes Streifen p Streifen 条纹
        dots dots Punkte p Punkte 圆点
        checks checks Karos p Karos 格子""",
    )
)

CONCEPTS: dict[str, Concept] = {
    c.key: c for group in (OBJECTS, SHAPES, COLOURS, BACKGROUNDS, PATTERNS) for c in group
}

CATEGORIES: dict[str, dict[Language, str]] = {
    "animal": {"en": "animal", "de": "Tier", "zh": "动物"},
    "food": {"en": "food", "de": "Essen", "zh": "食物"},
    "vehicle": {"en": "vehicle", "de": "Fahrzeug", "zh": "交通工具"},
    "plant": {"en": "plant", "de": "Pflanze", "zh": "植物"},
    "thing": {"en": "thing", "de": "Ding", "zh": "东西"},
    "shape": {"en": "shape", "de": "Form", "zh": "形状"},
}


def names(concept: str) -> tuple[str, ...]:
    """Every surface form of a concept, without repeats.

    Args:
        concept: the key, e.g. ``"cat"``.

    Returns:
        English singular and plural, German singular and plural, Chinese: e.g.
        ``("cat", "cats", "Katze", "Katzen", "猫")``.

    Raises:
        KeyError: no such concept.
    """
    c = CONCEPTS[concept]
    forms = [c.key, c.plural, c.german, c.german_plural, c.chinese]
    if c.sort == "colour":
        forms = [c.key, c.german, *(c.german_plural + e for e in ("er", "e", "es")), c.chinese]
    return tuple(dict.fromkeys(forms))
