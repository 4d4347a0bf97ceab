"""Where attention goes: ``patchlens attend``."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from patchlens.cli import options
from patchlens.cli.app import Flat, app, progress_display, say, say_written, stdout_console
from patchlens.selection import parse_numbers


@app.command
def attend(
    *images: options.Pictures,
    prompt: Annotated[str, options.Prompt],
    model: Flat[options.ModelOptions] = options.ModelOptions(),
    query: Annotated[str, Parameter(alias="-q")] = "answer",
    layers: str | None = None,
    heads: str | None = None,
    sink_factor: float = 10.0,
    sink_dims: str | None = None,
    relative: options.Flag = False,
    generic: str | None = None,
    max_new_tokens: options.Tokens = 20,
    out: options.ReadingOut = None,
    html: options.PageFile = None,
    json: options.Json = False,
    raw: options.Flag = False,
) -> None:
    """Measure how much attention falls on the picture, on the text and on sinks, at every layer.

    Args:
        prompt: The question.
        query: Whose attention: answer (where it starts), steps (of all its tokens), last, or a word of the
            prompt.
        layers: Such as 1,4-8,-1. All if left out.
        heads: Such as 0,4-7, to average over and to map. All if left out.
        sink_factor: How many times the median a state of a sink is long.
        sink_dims: Dimensions that also tell a sink, such as 1415,2533.
        relative: Also against a generic prompt about the same picture.
        generic: That prompt in your words; implies --relative.
        out: Write a reading with the maps: NAME.safetensors.
        html: Write a page that shows the maps on the picture.
        raw: Give the prompt as it is, without chat template.
    """
    chosen_layers, chosen_heads, dimensions = (
        None if numbers is None else parse_numbers(numbers) for numbers in (layers, heads, sink_dims)
    )
    with progress_display() as tell:
        tell("loading the model", 0, 1)
        pictures = options.open_pictures(images)
        from patchlens.attention import SinkRule, with_account

        rule = SinkRule(sink_factor, tuple(dimensions or ()))
        loaded = model.load()
        tell("loading the model", 1, 1)
        trace = loaded.trace(
            pictures,
            prompt,
            max_new_tokens=max_new_tokens,
            steps=query in ("steps", "last"),
            layers=None if out or html else [-1],
            chat=False if raw else None,
            progress=tell,
        )
        account = trace.attend(
            query, layers=chosen_layers, heads=chosen_heads, rule=rule, relative=generic or relative
        )
        reading = with_account(trace.read(progress=tell), account) if out or html else None
    if reading is not None and out is not None:
        reading.save(out)
    if reading is not None and html is not None:
        from patchlens.views.html import write_page

        write_page(reading, html)
    for note in dict.fromkeys((*trace.notes, *account.notes)):
        say(f"note: {note}")
    if json:
        from patchlens.attention.report import to_json

        print(to_json(account))
    else:
        from patchlens.attention.table import print_account

        print_account(account, stdout_console())
    say_written(out, html)
