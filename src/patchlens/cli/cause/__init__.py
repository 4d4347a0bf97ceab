"""``patchlens cause``: whether what can be read matters; a module per command, shared options in `shared`."""

from patchlens.cli.cause.shared import causes as causes

from patchlens.cli.cause import fidelity as fidelity
