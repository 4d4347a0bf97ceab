"""How layers and positions are written on the command line: ``0,4-8,-1``."""

from __future__ import annotations

import re

from patchlens.errors import SelectionError

POSITION_GROUPS = ("all", "answer", "text", "patches")


def parse_numbers(text: str) -> list[int]:
    """Read ``0,4-8,-1``: numbers and inclusive ranges, negative numbers counting from the end.

    Raises:
        SelectionError: naming the part that is neither.
    """
    numbers: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(-?\d+)(?:-(\d+))?\s*", part)
        if match is None:
            raise SelectionError(f"{part.strip()!r} is neither a number nor a range such as 4-8")
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first:
            raise SelectionError(f"the range {part.strip()!r} runs backwards")
        numbers += range(first, last + 1)
    return list(dict.fromkeys(numbers))


def parse_positions(text: str) -> str | list[int]:
    """Read the name of a group of positions, or their numbers.

    Raises:
        SelectionError: naming the part that is neither.
    """
    return text if text.isalpha() else parse_numbers(text)


def parse_position(text: str) -> int | str:
    """Read one position: a number, or a name such as ``answer``."""
    return int(text) if text.lstrip("-").isdecimal() else text
