"""Make a latent lens: a bank of a model's own states of words in texts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from patchlens.data.item import DrawnPicture
from patchlens.data.read import read_items
from patchlens.errors import DataError
from patchlens.fit.contexts import build_bank
from patchlens.fit.gather import FitProgress
from patchlens.fit.settings import LatentSettings
from patchlens.lens import save_lens
from patchlens.lens.latent import LatentLens
from patchlens.run import Model
from patchlens.scenes.questions import caption
from patchlens.scenes.scene import make_scene
from patchlens.scenes.vocabulary import LANGUAGES


def read_texts(data: str | Path) -> tuple[str, ...]:
    """Texts for a bank: those of a ``.txt`` or ``.jsonl`` file, or captions of drawn scenes (``scenes:N``).

    Raises:
        DataError: as `patchlens.data.read.read_items`, or there are pictures among the data.
    """
    texts: list[str] = []
    for item in read_items(data):
        match item.pictures:
            case ():
                texts.append(item.prompt)
            case (DrawnPicture(seed),):
                scene = make_scene(seed)
                texts += [caption(scene, language) for language in LANGUAGES]
            case _:
                raise DataError(f"{item.name}: a latent lens is made of texts, and this has a picture")
    return tuple(texts)


def fit_latent(
    model: Model,
    texts: Sequence[str],
    settings: LatentSettings | None = None,
    *,
    out: str | Path | None = None,
    progress: FitProgress | None = None,
) -> LatentLens:
    """Run a model on texts and keep states of their words; nothing is stored on the way.

    Args:
        model: whose states are kept.
        texts: captions or other sentences.
        settings: how much to keep; the defaults if None.
        out: NAME.safetensors to write, or None.
        progress: called with what is being done, how much is done, and of how much.

    Raises:
        DataError, PromptError, SelectionError, NumericsError: as `patchlens.fit.contexts.build_bank`.
        OutputError: the file cannot be written.
    """

    def tell(done: int, total: int) -> None:
        if progress is not None:
            progress("running the model on texts", done, total)

    adapter, own = model.adapter, settings or LatentSettings()
    lens = LatentLens(build_bank(adapter, texts, per_type=own.per_type, seed=own.seed, progress=tell))
    if out is not None:
        save_lens(lens, out, adapter)
    return lens
