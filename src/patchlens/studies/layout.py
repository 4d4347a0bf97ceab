"""Names in the folder of a study, beside its tables (`patchlens.studies.schema`)."""

from __future__ import annotations

from typing import Final

MANIFEST: Final = "study.json"
"""What was asked, and what the models and lenses were."""
FORMAT_VERSION: Final = 1
READINGS: Final = "readings"
"""Folder of saved readings: MODEL/LENS/ITEM.safetensors."""
