"""Make a latent lens: a bank of a model's own states of words in texts."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from patchlens.data.item import DrawnPicture, Item
from patchlens.data.read import read_items
from patchlens.errors import DataError
from patchlens.fit.contexts import build_bank
from patchlens.fit.settings import LatentSettings
from patchlens.lens import save_lens
from patchlens.lens.latent import LatentLens
from patchlens.progress import Tell, silent
from patchlens.run import Model
from patchlens.scenes.questions import caption
from patchlens.scenes.scene import make_scene
from patchlens.scenes.vocabulary import LANGUAGES


def read_texts(data: str | Path | Iterable[str | Item]) -> tuple[str, ...]:
    """Texts for a bank: as they are, those of a ``.txt`` or ``.jsonl`` file, or captions of drawn scenes.

    Raises:
        DataError: as `patchlens.read_items`, or there are pictures among the data.
    """
    texts: list[str] = []
    for item in read_items(data) if isinstance(data, (str, Path)) else data:
        match item if isinstance(item, str) else item.pictures:
            case str(text):
                texts.append(text)
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
    data: str | Path | Iterable[str | Item],
    settings: LatentSettings | None = None,
    *,
    out: str | Path | None = None,
    progress: Tell | None = None,
) -> LatentLens:
    """Run a model on texts and keep states of their words; nothing is stored on the way.

    Args:
        model: whose states are kept.
        data: captions or other sentences, or where `patchlens.read_items` finds some; ``scenes:N`` stands for
            the captions of drawn scenes.
        settings: how much to keep; the defaults if None.
        out: NAME.safetensors to write, or None.
        progress: called with what is being done, how much is done, and of how much.

    Raises:
        DataError, PromptError, SelectionError, NumericsError: as `patchlens.fit.contexts.build_bank`.
        OutputError: the file cannot be written.
    """
    own, tell = settings or LatentSettings(), progress or silent
    bank = build_bank(
        model,
        read_texts(data),
        per_type=own.per_type,
        seed=own.seed,
        progress=lambda done, total: tell("running the model on texts", done, total),
    )
    lens = LatentLens(bank)
    if out is not None:
        save_lens(lens, out, model)
    return lens
