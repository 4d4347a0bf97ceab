"""Cut the charts' CJK font out of Noto Sans CJK: the characters of the common national standards, no hints.

Usage: python make_cjk.py NotoSansCJK-Regular.ttc ../../src/patchlens/views/assets/fonts/cjk.otf
Needs fonttools. The source is Noto Sans CJK 2.004 (SIL Open Font License 1.1), as in Debian's fonts-noto-cjk.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable

from fontTools import subset, ttLib

FAMILY = "patchlens CJK"
SIMPLIFIED_CHINESE = 2
NAME_IDS = {1: FAMILY, 3: FAMILY, 4: FAMILY, 6: "patchlensCJK", 16: FAMILY}


def characters() -> set[int]:
    """GB 2312, JIS X 0208 level 1, Big5 level 1, KS X 1001 syllables, kana, bopomofo and full-width forms."""
    high = range(0xA1, 0xFF)
    standards = [
        ("gb2312", range(0xA1, 0xF8), high),
        ("euc_jp", range(0xA1, 0xD0), high),
        ("big5", range(0xA4, 0xC7), [*range(0x40, 0x7F), *high]),
        ("euc_kr", range(0xB0, 0xC9), high),
    ]
    found = {code for standard in standards for code in _codes(*standard) if code >= 0x2E80}
    return found | set(range(0x3000, 0x3130)) | set(range(0xFF00, 0xFFF0))


def _codes(codec: str, rows: Iterable[int], cells: Iterable[int]) -> set[int]:
    cells = list(cells)
    text = "".join(bytes([row, cell]).decode(codec, "ignore") for row in rows for cell in cells)
    return {ord(c) for c in text}


def cut(source: str, target: str) -> None:
    """Write the subset under its own family name."""
    font = ttLib.TTFont(source, fontNumber=SIMPLIFIED_CHINESE, recalcTimestamp=False)
    options = subset.Options(hinting=False, layout_features=[], name_IDs=[0, 1, 2, 3, 4, 5, 6, 13, 14, 16])
    options.drop_tables += ["vhea", "vmtx", "VORG", "BASE", "GSUB", "GPOS", "GDEF"]
    subsetter = subset.Subsetter(options)
    subsetter.populate(unicodes=characters())
    subsetter.subset(font)
    for record in font["name"].names:
        record.string = NAME_IDS.get(record.nameID, str(record))
    cff = font["CFF "].cff
    cff.fontNames = [NAME_IDS[6]]
    cff.topDictIndex[0].FullName = cff.topDictIndex[0].FamilyName = FAMILY
    font.save(target)


if __name__ == "__main__":
    cut(*sys.argv[1:])
