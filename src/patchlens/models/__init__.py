"""Models as patchlens reads them: one adapter per family, each proven against the model's own logits."""

from patchlens.models.adapter import Adapter as Adapter
from patchlens.models.encode import Inputs as Inputs
from patchlens.models.encoder import Processing as Processing
from patchlens.models.generate import generate_greedy as generate_greedy
from patchlens.models.identity import IdentityReport as IdentityReport
from patchlens.models.load import adapt as adapt
from patchlens.models.load import load_adapter as load_adapter
from patchlens.models.load import supported_families as supported_families
