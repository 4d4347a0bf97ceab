"""Names in the folder of a study and of its report, beside its tables (`patchlens.studies.schema`)."""

from __future__ import annotations

import hashlib
import re
from typing import Final

MANIFEST: Final = "study.json"
"""What was asked, and what the models and lenses were."""
FORMAT_VERSION: Final = 1
READINGS: Final = "readings"
"""Folder of saved readings: MODEL/LENS/ITEM.safetensors."""
ALL: Final = "*"
"""In the place of a group: the items of all groups together."""
REST: Final = "*others"
"""In the place of a group: the items of all groups but the one it is compared with."""

_LONGEST: Final = 200
_UNSAFE: Final = re.compile(r"""^\.|[%/\\:*?"'<>|=\x00-\x1f\x7f]""")


def file_name(name: str) -> str:
    """A name as one part of a path: unsafe characters percent-encoded, and a long one cut, with a digest."""
    safe = _UNSAFE.sub(lambda match: f"%{ord(match[0]):02X}", name)
    if len(safe.encode()) <= _LONGEST:
        return safe
    cut = safe.encode()[:_LONGEST].decode(errors="ignore")
    return f"{cut}~{hashlib.sha256(name.encode()).hexdigest()[:12]}"
