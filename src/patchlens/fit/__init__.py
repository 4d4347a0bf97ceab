"""Fitting lenses: data, split by picture, states, solvers, report."""

from patchlens.data.item import Item as Item
from patchlens.data.read import read_items as read_items
from patchlens.fit.report import FitReport as FitReport
from patchlens.fit.tuned import FitResult as FitResult
from patchlens.fit.tuned import TunedSettings as TunedSettings
from patchlens.fit.tuned import fit_tuned as fit_tuned
