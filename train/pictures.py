"""Draw the bundled pictures and list their prompts: ``python -m train.pictures``."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from patchlens.demo import bundled_models
from patchlens.scenes.scene import Kind, make_scene
from train.evaluate import answers, load

FOLDER = Path(__file__).parents[1] / "src/patchlens/demo/pictures"


@dataclass(frozen=True)
class Plan:
    """One bundled picture: its scene, its prompt, the words to follow and the right answer."""

    file: str
    title: str
    kind: Kind
    seed: int
    prompt: str
    targets: tuple[str, ...]
    answer: str


PLANS = (
    Plan(
        "flowers.png",
        "A plain texture",
        "texture",
        30_000_009,
        "What is this?",
        ("flowers", "grass"),
        "flowers",
    ),
    Plan(
        "dots.png",
        "A pattern in two colours",
        "pattern",
        30_000_007,
        "Describe the picture.",
        ("green", "white", "dots"),
        "green and white dots",
    ),
    Plan(
        "bicycle.png",
        "One thing, asked in German",
        "one",
        30_000_006,
        "Was ist das?",
        ("Fahrrad", "bicycle"),
        "Fahrrad",
    ),
    Plan(
        "giraffe.png",
        "A word of two pieces",
        "one",
        30_000_246,
        "What animal is this?",
        ("giraffe", "horse", "snow"),
        "giraffe",
    ),
    Plan(
        "cat.png",
        "Four things and a relation",
        "several",
        30_000_430,
        "What is left of the cat?",
        ("apple", "cat", "car"),
        "apple",
    ),
    Plan(
        "cow.png",
        "Two steps: where, then which colour",
        "several",
        30_000_201,
        "What colour is the thing below the cow?",
        ("blue", "white", "circle", "cross"),
        "blue",
    ),
    Plan(
        "elephant.png",
        "A relation, asked in Chinese",
        "several",
        30_000_008,
        "大象的左边是什么?",
        ("兔子", "rabbit", "大象"),
        "兔子",
    ),
    Plan(
        "collage.png",
        "A busy collage",
        "collage",
        30_000_001,
        "What colour is the triangle?",
        ("green", "triangle", "red"),
        "green",
    ),
)


def main() -> None:
    """Write the pictures and pictures.json, with what each model answers."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    shown = [(make_scene(plan.seed, plan.kind), plan.prompt) for plan in PLANS]
    given = {name: answers(load(folder), shown) for name, folder in bundled_models().items()}
    entries: list[dict[str, object]] = []
    for index, (plan, (scene, _)) in enumerate(zip(PLANS, shown, strict=True)):
        scene.image.save(FOLDER / plan.file, optimize=True)
        entry: dict[str, object] = {
            "file": plan.file,
            "title": plan.title,
            "prompt": plan.prompt,
            "kind": plan.kind,
            "targets": list(plan.targets),
            "answer": plan.answer,
            "given": {name: texts[index] for name, texts in given.items()},
        }
        entries.append(entry)
    text = json.dumps(entries, indent=1, ensure_ascii=False)
    (FOLDER / "pictures.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
