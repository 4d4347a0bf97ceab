"""Lenses and the engine that streams their statistics."""

from patchlens.lens.check import check_lens as check_lens
from patchlens.lens.cross import CrossLens as CrossLens
from patchlens.lens.embedding import EmbeddingLens as EmbeddingLens
from patchlens.lens.engine.statistics import Statistics as Statistics
from patchlens.lens.engine.stream import stream_statistics as stream_statistics
from patchlens.lens.function import FunctionLens as FunctionLens
from patchlens.lens.jacobian import JacobianLens as JacobianLens
from patchlens.lens.latent import LatentLens as LatentLens
from patchlens.lens.lens import JSON as JSON
from patchlens.lens.lens import Lens as Lens
from patchlens.lens.logit import LogitLens as LogitLens
from patchlens.lens.open import LensLike as LensLike
from patchlens.lens.open import open_lens as open_lens
from patchlens.lens.open import save_lens as save_lens
from patchlens.lens.tuned import TunedLens as TunedLens
