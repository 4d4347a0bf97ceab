"""Whether a lens foretells what the model will say when its state is changed."""

from patchlens.cause.fidelity.foretold import cause_fidelity as cause_fidelity
from patchlens.cause.fidelity.foretold import lenses_of as lenses_of
