"""The command line: parse, call one function, print. Heavy imports wait inside the commands."""

from patchlens.cli import attend as attend
from patchlens.cli import bench as bench
from patchlens.cli import cause as cause
from patchlens.cli import fit as fit
from patchlens.cli import models as models
from patchlens.cli import read as read
from patchlens.cli import report as report
from patchlens.cli import show as show
from patchlens.cli import study as study
from patchlens.cli import words as words
from patchlens.cli.app import app as application
from patchlens.cli.app import main as main

_LISTED = "demo read show view chart words attend fit bench cause study report models"
"""As --help lists them: first what is used first."""

for place, name in enumerate(_LISTED.split()):
    application[name].sort_key = place
