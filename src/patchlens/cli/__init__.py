"""The command line: parse, call one function, print. Heavy imports wait inside the commands."""

# isort: off
# In the order in which --help lists the commands.
from patchlens.cli import read as read
from patchlens.cli import show as show
from patchlens.cli import words as words
from patchlens.cli import attend as attend
from patchlens.cli import fit as fit
from patchlens.cli import bench as bench
from patchlens.cli import cause as cause
from patchlens.cli import study as study
from patchlens.cli import report as report
from patchlens.cli import models as models
from patchlens.cli.app import main as main
