"""Measure an exported model and write REPORT.md and report.json beside it.

``python -m train.report demo`` or ``demo-cross``.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
from pathlib import Path
from typing import Any

import torch
import transformers

from patchlens.scenes.scene import make_scene
from patchlens.scenes.seeds import HELD_OUT_SEEDS
from train.evaluate import Loaded, accuracy, llava_readability, load, mllama_readability
from train.export import MODELS
from train.fit_domain import fit_domain, llava_patch_states, mllama_patch_states

READ_SCENES = 1000
READ_SEED = HELD_OUT_SEEDS + 5_000_000
HOW = {
    "demo": """\
LlavaForConditionalGeneration. Trained from scratch in four stages: the CLIP tower to name what covers
each patch; the language model on text alone (questions on scenes whose patches are given as words, and
prompts without a picture); the projector with the rest frozen; all together at a low rate, while every
third step goes on with text. **No loss was ever put on the positions of a picture's patches**: what a
lens reads there is not trained in. In rasters of patch words, which are text, the next word is trained
as in any language model.""",
    "demo-cross": """\
MllamaForConditionalGeneration, tiles of 70 px, cross-attention at blocks 2, 5 and 8. Trained from
scratch: the vision model to name what covers each patch, starting from the tower of `demo`; the
self-attention blocks on text alone, shared with `demo`; then the whole on pictures, the vision model
frozen at first, and mostly on relations at last. Of twelve steps one shows pictures of a single tile
and one text without a picture.""",
}
LENS = {
    "demo": """\
The raw logit lens at the picture's positions: block outputs, the final norm once, the head; layer 0 is
the projected picture.""",
    "demo-cross": """\
Patches have no residual position here. Read is what a cross-attention block would write of a patch's
vision state s: head(norm(tanh(gate) * W_O W_V s)), no norm on s.""",
}


def measure(name: str, loaded: Loaded, folder: Path, questions: int) -> dict[str, Any]:
    """Accuracy, readability and the domain check's rates."""
    scenes = [make_scene(READ_SEED + i) for i in range(READ_SCENES)]
    llava = name.startswith("demo") and name != "demo-cross"
    read = llava_readability if llava else mllama_readability
    states = llava_patch_states if llava else mllama_patch_states
    return {
        "model": name,
        "parameters": sum(w.numel() for w in loaded.model.parameters()),
        "megabytes": (folder / "model.safetensors").stat().st_size / 1e6,
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
        "accuracy": accuracy(loaded, questions),
        "readability": read(loaded, scenes),
        "read_scenes": READ_SCENES,
        "domain": fit_domain(states(loaded), folder),
    }


def accuracy_table(rows: dict[str, dict[str, float]]) -> str:
    """Markdown of exact-match rates."""
    lines = [
        "| question | right | 95% interval | most common answer | other thing | en | de | zh |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for sort, r in rows.items():
        other = f"{r['other_thing']:.3f}" if "other_thing" in r else ""
        lines.append(
            f"| {sort} | **{r['rate']:.3f}** | {r['low']:.3f}-{r['high']:.3f} "
            f"| {r['most_common']:.3f} | {other} "
            f"| {r['en']:.3f} | {r['de']:.3f} | {r['zh']:.3f} |"
        )
    return "\n".join(lines)


def readability_table(rows: dict[str, dict[str, float]], axis: str) -> str:
    """Markdown of readable and false-name rates by layer or block."""
    lines = [
        f"| {axis} | thing, top-1 | thing, top-5 | ground, top-5 | false name, top-1 | false name, top-5 |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    keys = ("thing_top1", "thing_top5", "ground_top5", "false_top1", "false_top5")
    lines += [f"| {layer} | " + " | ".join(f"{r[k]:.3f}" for k in keys) + " |" for layer, r in rows.items()]
    return "\n".join(lines)


def markdown(figures: dict[str, Any]) -> str:
    """REPORT.md of the measured figures."""
    name = figures["model"]
    questions = int(next(iter(figures["accuracy"].values()))["questions"])
    caught = "\n".join(f"- {what}: {rate:.3f}" for what, rate in figures["domain"].items())
    axis = "block" if name == "demo-cross" else "layer"
    return f"""\
# {name}: what it can and cannot do

{HOW[name]}

{figures["parameters"]:,} parameters, {figures["megabytes"]:.1f} MB in bf16. It knows only the scenes of
`patchlens.bench`. Everything below is measured on fresh seeds that no stage has seen, with the weights
as shipped, run in fp32.

## Answers

Greedy, exact match, {questions} questions of each sort on as many scenes. Chance levels: "most common
answer" is the rate of always giving the sort's most frequent answer in the question's language; "other
thing" that of naming another thing of the picture at random.

{accuracy_table(figures["accuracy"])}

## What the lens reads on patches

{LENS[name]}
{figures["read_scenes"]} scenes of all kinds. *Thing*: a true word (any language, plural, or a shape's
colour; the first piece of words in several) on patches that the thing covers by half or more. *Ground*: a
true word of the ground on patches with nothing else. *False name*: the word of any object or shape on such
empty patches.

{readability_table(figures["readability"], axis)}

## Strange pictures

Rates of the domain check on fresh pictures of each sort: scenes should pass, others be caught. A shuffled
texture is still that texture.

{caught}

Made by `python -m train.{name.replace("-", "_")}`, measured by `python -m train.report {name}`.
"""


def main() -> None:
    """Measure one model in its folder and write the report there."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=tuple(HOW))
    parser.add_argument("--questions", type=int, default=1000)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    folder = MODELS / arguments.name
    figures = measure(arguments.name, load(folder), folder, arguments.questions)
    figures["versions"]["python"] = platform.python_version()
    (folder / "report.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    (folder / "REPORT.md").write_text(markdown(figures), encoding="utf-8")


if __name__ == "__main__":
    main()
