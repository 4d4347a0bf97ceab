"""The table of an account fits the terminal it is printed in, and shows text as text."""

import io

import pytest
from PIL import Image
from rich.console import Console

from patchlens.attention.table import print_account
from patchlens.run import Model
from tiny import tiny_llava, tiny_mllama

NOISE = Image.effect_noise((80, 52), 90).convert("RGB")


def printed(account, width):
    file = io.StringIO()
    print_account(account, Console(file=file, force_terminal=True, color_system=None, width=width))
    return file.getvalue()


@pytest.mark.parametrize("make", [tiny_llava, tiny_mllama])
@pytest.mark.parametrize("width", [50, 60, 80, 120])
def test_nothing_goes_without_a_word(make, width):
    trace = Model(make()).trace(NOISE, "what is it?", max_new_tokens=3, steps=True)
    for query in ("answer", "steps"):
        text = printed(trace.attend(query), width)
        assert "…" not in text
        for name in (
            "layer",
            "patches",
            "other",
            "special",
            "‖c‖",
            "nats",
            "write",
            "top head",
            "2nd",
            "3rd",
        ):
            assert name in " ".join(text.split())
        assert ("no room here for" in text) == (width < 120)
        table = [line for line in text.splitlines() if "%" in line]
        assert len(table) >= len(trace.attend(query).layers) and all(len(line) <= width for line in table)


def test_markup_and_directions_in_a_prompt_are_text():
    trace = Model(tiny_llava()).trace(NOISE, "[red]cat[/red] \u202ea dog", max_new_tokens=0)
    text = printed(trace.attend("cat"), 100)
    assert "[red]cat[/red] ‹RLO›a dog" in text and "\u202e" not in text
    assert "(none was asked for)" in text
