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
    from patchlens.lens import CrossLens as CrossLens
    from patchlens.lens import LogitLens as LogitLens
    from patchlens.pictures.box import Box as Box
    from patchlens.reading.reading import Reading as Reading
    from patchlens.reading.store import open_reading as open_reading
    from patchlens.run import Model as Model
    from patchlens.run import load as load
    from patchlens.studies.spec.study import read_study as read_study
    from patchlens.studies.study import run_study as run_study
    from patchlens.trace import Trace as Trace
    from patchlens.views.html import write_page as write_page
    from patchlens.views.notebook import widget as widget

__version__ = "0.1.0"

_HOMES = {
    "load": ("patchlens.run", "load"),
    "Model": ("patchlens.run", "Model"),
    "Trace": ("patchlens.trace", "Trace"),
    "LogitLens": ("patchlens.lens", "LogitLens"),
    "CrossLens": ("patchlens.lens", "CrossLens"),
    "Box": ("patchlens.pictures.box", "Box"),
    "Reading": ("patchlens.reading.reading", "Reading"),
    "open_reading": ("patchlens.reading.store", "open_reading"),
    "read_study": ("patchlens.studies.spec.study", "read_study"),
    "run_study": ("patchlens.studies.study", "run_study"),
    "write_page": ("patchlens.views.html", "write_page"),
    "widget": ("patchlens.views.notebook", "widget"),
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'patchlens' has no attribute {name!r}")
    module, attribute = _HOMES[name]
    return getattr(import_module(module), attribute)


def __dir__() -> list[str]:
    return ["PatchlensError", "__version__", *_HOMES]
