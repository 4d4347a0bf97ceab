"""What attention takes from where: weights, the terms that sum to what it writes, and the account of both."""

from patchlens.attention.account import Account as Account
from patchlens.attention.account import BlockAccount as BlockAccount
from patchlens.attention.account import Relative as Relative
from patchlens.attention.account import TileShare as TileShare
from patchlens.attention.accounting import account as account
from patchlens.attention.channels import CHANNELS as CHANNELS
from patchlens.attention.channels import with_account as with_account
from patchlens.attention.channels import with_answer_channels as with_answer_channels
from patchlens.attention.contributions import Contributions as Contributions
from patchlens.attention.contributions import contributions as contributions
from patchlens.attention.contributions import each_block as each_block
from patchlens.attention.direction import linearised as linearised
from patchlens.attention.queries import Queries as Queries
from patchlens.attention.queries import find_queries as find_queries
from patchlens.attention.sinks import SinkRule as SinkRule
from patchlens.attention.terms import BlockTerms as BlockTerms
from patchlens.axes import CLASSES as CLASSES
