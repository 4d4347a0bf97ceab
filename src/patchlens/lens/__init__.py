"""Lenses and the engine that streams their statistics."""

from patchlens.lens.cross import CrossLens as CrossLens
from patchlens.lens.engine.kinded import read_statistics as read_statistics
from patchlens.lens.engine.statistics import Statistics as Statistics
from patchlens.lens.engine.stream import stream_statistics as stream_statistics
from patchlens.lens.logit import LogitLens as LogitLens
from patchlens.lens.protocol import JSON as JSON
from patchlens.lens.protocol import KindedLens as KindedLens
from patchlens.lens.protocol import Lens as Lens
from patchlens.lens.protocol import ReadingLens as ReadingLens
from patchlens.lens.protocol import VisionLens as VisionLens
