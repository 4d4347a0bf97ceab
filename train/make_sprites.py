"""Draw the sprite sheet from Noto Color Emoji: ``python -m train.make_sprites FONT.ttf``.

The sheet ships with the package, so this is needed only to change it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

ASSETS = Path(__file__).parents[1] / "src/patchlens/scenes/assets"
CELL = 80
COLUMNS = 6
STRIKE = 109
"""The one bitmap size the font holds, in pixels."""

EMOJI = {
    "cat": "🐈",
    "dog": "🐕",
    "horse": "🐎",
    "cow": "🐄",
    "rabbit": "🐇",
    "elephant": "🐘",
    "giraffe": "🦒",
    "bird": "🐦",
    "duck": "🦆",
    "penguin": "🐧",
    "fish": "🐟",
    "turtle": "🐢",
    "frog": "🐸",
    "bee": "🐝",
    "butterfly": "🦋",
    "apple": "🍎",
    "banana": "🍌",
    "strawberry": "🍓",
    "pizza": "🍕",
    "cake": "🍰",
    "car": "🚗",
    "bus": "🚌",
    "bicycle": "🚲",
    "boat": "⛵",
    "train": "🚂",
    "plane": "✈",
    "tree": "🌳",
    "sunflower": "🌻",
    "cactus": "🌵",
    "mushroom": "🍄",
    "house": "🏠",
    "ball": "⚽",
    "umbrella": "☂",
    "clock": "⏰",
    "guitar": "🎸",
    "key": "🔑",
}


def draw(character: str, font: ImageFont.FreeTypeFont) -> Image.Image:
    """One emoji, cropped to its alpha and fitted into a CELL x CELL square."""
    canvas = Image.new("RGBA", (2 * STRIKE, 2 * STRIKE))
    ImageDraw.Draw(canvas).text((STRIKE // 2, STRIKE // 2), character, font=font, embedded_color=True)
    box = canvas.getchannel("A").point(lambda a: 255 if a > 16 else 0).getbbox()
    if box is None:
        raise ValueError(f"the font draws nothing for {character!r}")
    cut = canvas.crop(box)
    scale = CELL / max(cut.size)
    cut = cut.resize(
        (max(1, round(cut.width * scale)), max(1, round(cut.height * scale))), Image.Resampling.LANCZOS
    )
    cell = Image.new("RGBA", (CELL, CELL))
    cell.paste(cut, ((CELL - cut.width) // 2, (CELL - cut.height) // 2))
    return cell


def main(font_file: str) -> None:
    """Write sprites.png and sprites.json (name -> left, top, in pixels)."""
    font = ImageFont.truetype(font_file, STRIKE)
    rows = -(-len(EMOJI) // COLUMNS)
    sheet = Image.new("RGBA", (COLUMNS * CELL, rows * CELL))
    places: dict[str, list[int]] = {}
    for index, (name, character) in enumerate(EMOJI.items()):
        left, top = index % COLUMNS * CELL, index // COLUMNS * CELL
        sheet.paste(draw(character, font), (left, top))
        places[name] = [left, top]
    sheet.save(ASSETS / "sprites.png", optimize=True)
    text = json.dumps({"cell": CELL, "places": places}, indent=1)
    (ASSETS / "sprites.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
