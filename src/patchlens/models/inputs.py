"""From a prompt and its pictures to tensors."""

from __future__ import annotations

from collections.abc import Sequence

from patchlens.models.adapter import Adapter
from patchlens.models.encode import Inputs
from patchlens.pictures.open import PictureLike, open_picture


def prepare(
    adapter: Adapter,
    prompt: str,
    pictures: Sequence[PictureLike] = (),
    answer_ids: Sequence[int] | None = None,
    *,
    chat: bool | None = None,
) -> Inputs:
    """Turn a prompt and its pictures into one model input, with a place for every position.

    Its notes are about the prompt; those about a picture are with the `OpenedPicture`.

    Args:
        adapter: the model it is for.
        prompt: the question or text; image markers in it must match the pictures, none puts them first.
        pictures: paths, opened pictures, PIL images or uint8 arrays.
        answer_ids: token ids that follow the prompt, to read the steps of an answer in one pass.
        chat: use the model's chat template; None uses it where there is one.

    Raises:
        ImageError: a picture cannot be read or the model does not take it.
        PromptError: the prompt is empty, too long, or at odds with the pictures.
    """
    images = [open_picture(picture).image for picture in pictures]
    return adapter.encode(prompt, images, answer_ids=tuple(answer_ids or ()), chat=chat)
