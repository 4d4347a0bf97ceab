"""``patchlens cause``: whether what can be read matters; a module per command, shared options in `shared`."""

from patchlens.cli.cause import change as change
from patchlens.cli.cause import fidelity as fidelity
from patchlens.cli.cause import grounding as grounding
from patchlens.cli.cause import hallucination as hallucination
from patchlens.cli.cause import knockout as knockout
from patchlens.cli.cause.patches import patches as patches
from patchlens.cli.cause.shared import causes as causes
