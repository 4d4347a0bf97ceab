"""Interventions: change a pass and see what the model says then."""

from patchlens.causal.ablate import Ablate as Ablate
from patchlens.causal.ablate import Mean as Mean
from patchlens.causal.ablate import Noise as Noise
from patchlens.causal.ablate import Other as Other
from patchlens.causal.ablate import OwnMean as OwnMean
from patchlens.causal.ablate import Zero as Zero
from patchlens.causal.ablate import patch_states as patch_states
from patchlens.causal.edit import Add as Add
from patchlens.causal.edit import Project as Project
from patchlens.causal.edit import concept_directions as concept_directions
from patchlens.causal.effects import Ablation as Ablation
from patchlens.causal.effects import Effects as Effects
from patchlens.causal.knockout import Knockout as Knockout
from patchlens.causal.knockout import KnockoutEdges as KnockoutEdges
from patchlens.causal.places import Patches as Patches
from patchlens.causal.places import Where as Where
from patchlens.causal.places import patch_numbers as patch_numbers
from patchlens.causal.plan import intervening as intervening
from patchlens.causal.protocol import Intervention as Intervention
from patchlens.causal.protocol import Interventions as Interventions
from patchlens.causal.protocol import Together as Together
from patchlens.causal.protocol import together as together
from patchlens.causal.rerun import Rerun as Rerun
from patchlens.causal.rerun import rerun as rerun
from patchlens.causal.swap import Replace as Replace
from patchlens.causal.swap import Swap as Swap
