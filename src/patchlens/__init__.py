"""See what a vision-language model is about to say, at every layer and every image patch.

>>> import patchlens as pl
>>> model = pl.load("demo")
>>> trace = model.trace("cat.png", "What is this?")
>>> reading = trace.read(pl.LogitLens(), top_k=10, targets=["cat"])

Importing the package does no work and does not import torch; each name is loaded when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from patchlens.errors import PatchlensError as PatchlensError

if TYPE_CHECKING:
    from patchlens.attention import SinkRule as SinkRule
    from patchlens.attention import with_account as with_account
    from patchlens.causal import Ablate as Ablate
    from patchlens.causal import Ablation as Ablation
    from patchlens.causal import Add as Add
    from patchlens.causal import Effects as Effects
    from patchlens.causal import Knockout as Knockout
    from patchlens.causal import Mean as Mean
    from patchlens.causal import Noise as Noise
    from patchlens.causal import Other as Other
    from patchlens.causal import OwnMean as OwnMean
    from patchlens.causal import Patches as Patches
    from patchlens.causal import Project as Project
    from patchlens.causal import Replace as Replace
    from patchlens.causal import Swap as Swap
    from patchlens.causal import Zero as Zero
    from patchlens.cause.change import cause_change as cause_change
    from patchlens.cause.fidelity import cause_fidelity as cause_fidelity
    from patchlens.cause.finding import Finding as Finding
    from patchlens.cause.grounding import cause_grounding as cause_grounding
    from patchlens.cause.hallucination import cause_hallucination as cause_hallucination
    from patchlens.cause.knockout import cause_knockout as cause_knockout
    from patchlens.cause.patches_choice import cause_patches as cause_patches
    from patchlens.cause.settings import ChangeSettings as ChangeSettings
    from patchlens.cause.settings import FidelitySettings as FidelitySettings
    from patchlens.cause.settings import GroundingSettings as GroundingSettings
    from patchlens.cause.settings import HallucinationSettings as HallucinationSettings
    from patchlens.cause.settings import KnockoutSettings as KnockoutSettings
    from patchlens.cause.settings import PatchesSettings as PatchesSettings
    from patchlens.concepts import Dictionary as Dictionary
    from patchlens.concepts import first_forms as first_forms
    from patchlens.concepts import form_tokens as form_tokens
    from patchlens.concepts import language_of as language_of
    from patchlens.concepts import languages as languages
    from patchlens.data.item import Item as Item
    from patchlens.data.read import read_items as read_items
    from patchlens.demo import demo_picture as demo_picture
    from patchlens.fit.jacobian import fit_jacobian as fit_jacobian
    from patchlens.fit.latent import fit_latent as fit_latent
    from patchlens.fit.settings import JacobianSettings as JacobianSettings
    from patchlens.fit.settings import LatentSettings as LatentSettings
    from patchlens.fit.settings import TunedSettings as TunedSettings
    from patchlens.fit.tuned import fit_tuned as fit_tuned
    from patchlens.lens import CrossLens as CrossLens
    from patchlens.lens import EmbeddingLens as EmbeddingLens
    from patchlens.lens import FunctionLens as FunctionLens
    from patchlens.lens import JacobianLens as JacobianLens
    from patchlens.lens import LatentLens as LatentLens
    from patchlens.lens import Lens as Lens
    from patchlens.lens import LogitLens as LogitLens
    from patchlens.lens import TunedLens as TunedLens
    from patchlens.lens import check_lens as check_lens
    from patchlens.lens import open_lens as open_lens
    from patchlens.lens import save_lens as save_lens
    from patchlens.lens.belrose import read_tuned_lens as read_tuned_lens
    from patchlens.lens.belrose import write_tuned_lens as write_tuned_lens
    from patchlens.lens.contextual import contextual_maps as contextual_maps
    from patchlens.models.tokens import form_targets as form_targets
    from patchlens.pictures.box import Box as Box
    from patchlens.reading.compare import compare as compare
    from patchlens.reading.reading import Reading as Reading
    from patchlens.reading.store import open_reading as open_reading
    from patchlens.run import Model as Model
    from patchlens.run import load as load
    from patchlens.studies.recipe.study import read_study as read_study
    from patchlens.studies.report import make_report as make_report
    from patchlens.studies.report import write_report as write_report
    from patchlens.studies.study import run_study as run_study
    from patchlens.trace import Trace as Trace
    from patchlens.views.charts import chart as chart
    from patchlens.views.charts import write_chart as write_chart
    from patchlens.views.html import write_page as write_page
    from patchlens.views.notebook import widget as widget

__version__ = "0.1.0"

_HOMES = {
    "write_tuned_lens": "patchlens.lens.belrose",
    "contextual_maps": "patchlens.lens.contextual",
    "make_report": "patchlens.studies.report",
    "write_report": "patchlens.studies.report",
    "Dictionary": "patchlens.concepts",
    "first_forms": "patchlens.concepts",
    "form_tokens": "patchlens.concepts",
    "language_of": "patchlens.concepts",
    "languages": "patchlens.concepts",
    "read_tuned_lens": "patchlens.lens.belrose",
    "form_targets": "patchlens.models.tokens",
    "Model": "patchlens.run",
    "load": "patchlens.run",
    "Trace": "patchlens.trace",
    "Reading": "patchlens.reading.reading",
    "Box": "patchlens.pictures.box",
    "compare": "patchlens.reading.compare",
    "SinkRule": "patchlens.attention",
    "with_account": "patchlens.attention",
    "open_reading": "patchlens.reading.store",
    "CrossLens": "patchlens.lens",
    "EmbeddingLens": "patchlens.lens",
    "FunctionLens": "patchlens.lens",
    "JacobianLens": "patchlens.lens",
    "LatentLens": "patchlens.lens",
    "Lens": "patchlens.lens",
    "LogitLens": "patchlens.lens",
    "TunedLens": "patchlens.lens",
    "check_lens": "patchlens.lens",
    "open_lens": "patchlens.lens",
    "save_lens": "patchlens.lens",
    "Ablate": "patchlens.causal",
    "Ablation": "patchlens.causal",
    "Add": "patchlens.causal",
    "Effects": "patchlens.causal",
    "Knockout": "patchlens.causal",
    "Mean": "patchlens.causal",
    "Noise": "patchlens.causal",
    "Other": "patchlens.causal",
    "OwnMean": "patchlens.causal",
    "Patches": "patchlens.causal",
    "Project": "patchlens.causal",
    "Replace": "patchlens.causal",
    "Swap": "patchlens.causal",
    "Zero": "patchlens.causal",
    "Item": "patchlens.data.item",
    "read_items": "patchlens.data.read",
    "cause_fidelity": "patchlens.cause.fidelity",
    "cause_grounding": "patchlens.cause.grounding",
    "cause_hallucination": "patchlens.cause.hallucination",
    "FidelitySettings": "patchlens.cause.settings",
    "GroundingSettings": "patchlens.cause.settings",
    "HallucinationSettings": "patchlens.cause.settings",
    "Finding": "patchlens.cause.finding",
    "cause_change": "patchlens.cause.change",
    "ChangeSettings": "patchlens.cause.settings",
    "cause_knockout": "patchlens.cause.knockout",
    "KnockoutSettings": "patchlens.cause.settings",
    "cause_patches": "patchlens.cause.patches_choice",
    "PatchesSettings": "patchlens.cause.settings",
    "read_study": "patchlens.studies.recipe.study",
    "run_study": "patchlens.studies.study",
    "JacobianSettings": "patchlens.fit.settings",
    "LatentSettings": "patchlens.fit.settings",
    "TunedSettings": "patchlens.fit.settings",
    "fit_jacobian": "patchlens.fit.jacobian",
    "fit_latent": "patchlens.fit.latent",
    "fit_tuned": "patchlens.fit.tuned",
    "demo_picture": "patchlens.demo",
    "chart": "patchlens.views.charts",
    "write_chart": "patchlens.views.charts",
    "write_page": "patchlens.views.html",
    "widget": "patchlens.views.notebook",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'patchlens' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return ["PatchlensError", "__version__", *_HOMES]
