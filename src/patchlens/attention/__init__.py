"""What attention takes from where: weights, and the terms that sum to what it writes."""

from patchlens.attention.channels import CHANNELS as CHANNELS
from patchlens.attention.channels import with_answer_channels as with_answer_channels
from patchlens.attention.contributions import Contributions as Contributions
from patchlens.attention.contributions import contributions as contributions
from patchlens.attention.direction import linearised as linearised
from patchlens.attention.terms import BlockTerms as BlockTerms
