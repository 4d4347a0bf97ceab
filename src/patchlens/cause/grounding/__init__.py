"""Replace the picture, and tell answers that need it from those said of any."""

from patchlens.cause.grounding.answers import cause_grounding as cause_grounding
from patchlens.cause.grounding.planted import ask_planted as ask_planted
