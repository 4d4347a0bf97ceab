"""One typed error for each kind of user mistake: what was expected, what came, what to do next."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager


class PatchlensError(Exception):
    """Base of every error a user can cause; the command line prints it on one line and exits with 2."""


class ImageError(PatchlensError):
    """A picture cannot be read, is too large, or does not match the prompt."""


class PromptError(PatchlensError):
    """A prompt is empty, too long for the model, or disagrees with the pictures given."""


class TargetError(PatchlensError):
    """A target word or token id does not exist for this model or this reading."""


class SelectionError(PatchlensError):
    """A layer, position, step or lens option names something that is not there."""


class InterventionError(PatchlensError):
    """An intervention does not fit the model, the prompt or the states it was given."""


class ModelNotFoundError(PatchlensError):
    """No such bundled model, folder or hub model, or the hub could not be reached."""


class UnsupportedModelError(PatchlensError):
    """The model is of an architecture that no adapter states facts about."""


class IdentityCheckError(PatchlensError):
    """An adapter's facts do not reproduce the model's own logits."""


class FormatError(PatchlensError):
    """A file is not a reading or a lens that this version can read."""


class LensError(PatchlensError):
    """A lens was fitted for another model, or cannot be written in the form that was asked for."""


class FitError(PatchlensError):
    """A lens cannot be fitted from what was given."""


class DataError(PatchlensError):
    """What a model should be asked or a lens fitted on cannot be read, is too little or changed."""


class OutputError(PatchlensError):
    """A result could not be written."""


class MissingExtraError(PatchlensError):
    """A feature needs an optional dependency that is not installed."""

    def __init__(self, feature: str, package: str, extra: str) -> None:
        super().__init__(
            f"{feature} needs {package}, which is not installed; run: pip install 'patchlens[{extra}]'"
        )


class NumericsError(PatchlensError):
    """A state or a score is not finite, so nothing true can be said about it."""


class StudyError(PatchlensError):
    """A study's spec is wrong, or its folder holds another study or is in use."""


@contextmanager
def naming(name: str, of_data: type[PatchlensError] = DataError) -> Generator[None]:
    """Errors inside say which item they are about; those of data become ``of_data``."""
    try:
        yield
    except PatchlensError as error:
        error.args = (f"{name}: {error}",)
        if isinstance(error, DataError) and of_data is not DataError:
            raise of_data(str(error)) from error
        raise
