"""``python -m patchlens`` is the command line."""

from patchlens.cli import main

main()
