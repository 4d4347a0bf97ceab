"""Reading pictures: ``patchlens demo`` and ``patchlens read``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from patchlens.cli import options
from patchlens.cli.app import Flat, app, progress_display, say, say_written, stdout_console
from patchlens.selection import parse_numbers, parse_positions


@app.command
def demo(*, out: Annotated[Path, Parameter(alias="-o")] = Path("patchlens-demo")) -> None:
    """Read the bundled pictures with the bundled models and write a page for each. Needs no network.

    Args:
        out: Folder for the readings, pages and index.
    """
    with progress_display() as tell:
        from patchlens.cli.tour import make_tour

        index = make_tour(out, tell)
    print(index)


@app.command
def read(
    *images: options.Pictures,
    prompt: Annotated[str, options.Prompt],
    model: Flat[options.ModelOptions] = options.ModelOptions(),
    lens: Annotated[str, options.Lens] = "logit",
    top_k: Annotated[int, Parameter(alias="-k", validator=Number(gte=1))] = 10,
    target: Annotated[tuple[str, ...], options.asks("a target", alias="-t")] = (),
    channel: tuple[Literal["contribution", "attention", "contextual"], ...] = (),
    layers: str | None = None,
    positions: str | None = None,
    steps: options.Flag = False,
    max_new_tokens: options.Tokens = 20,
    out: options.ReadingOut = None,
    html: options.PageFile = None,
    json: options.Json = False,
    raw: options.Flag = False,
) -> None:
    """Read pictures and a prompt: what the model is about to say at every layer and position.

    Args:
        prompt: The question.
        lens: logit, cross, embedding, tuned, jacobian, latent, or a file that patchlens fit wrote.
        top_k: Tokens kept per layer and position.
        target: Word to follow exactly through all layers (repeatable).
        channel: More maps for the page (repeatable): what the answer takes from where, and how like it each
            state is in context.
        layers: Such as 0,4-8,-1. All if left out.
        positions: Such as 0,4-8,-1, or all, answer, text, patches. All if left out.
        steps: Also read the position of every further answer token.
        out: Write the reading: NAME.safetensors.
        html: Write a page to open in a browser.
        raw: Give the prompt as it is, without chat template.
    """
    chosen_layers = None if layers is None else parse_numbers(layers)
    chosen_positions = None if positions is None else parse_positions(positions)
    with progress_display() as tell:
        tell("loading the model", 0, 1)
        pictures = options.open_pictures(images)
        from patchlens.lens.open import open_lens

        loaded = model.load()
        chosen_lens = open_lens(lens, loaded)
        tell("loading the model", 1, 1)
        trace = loaded.trace(
            pictures,
            prompt,
            max_new_tokens=max_new_tokens,
            steps=steps,
            layers=chosen_layers,
            positions=chosen_positions,
            chat=False if raw else None,
            progress=tell,
        )
        reading = trace.read(chosen_lens, top_k=top_k, targets=target, channels=channel, progress=tell)
    if out is not None:
        reading.save(out)
    if html is not None:
        from patchlens.views.html import write_page

        write_page(reading, html)
    for note in reading.notes:
        say(f"note: {note}")
    if json:
        from patchlens.views.summary import to_json

        print(to_json(reading))
    else:
        from patchlens.views.tables import print_reading

        print_reading(reading, stdout_console(), at="answer" if 0 in reading.positions.step else -1)
    say_written(out, html)
