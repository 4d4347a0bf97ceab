"""From what a user typed to the text a model is given: image markers, chat template, special tokens."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase

from patchlens.errors import PromptError
from patchlens.models.tokens import is_text

Piece = str | None  # a stretch of text, or None where a picture stands


def split_at_pictures(prompt: str, n_pictures: int, markers: Sequence[str]) -> list[Piece]:
    """Cut a prompt at its image markers; without any, the pictures are put first.

    Raises:
        PromptError: nothing is asked, or the markers do not match the number of pictures.
    """
    if not is_text(prompt):
        raise PromptError("the prompt is not text: some of its bytes are not valid UTF-8")
    pattern = "|".join(re.escape(marker) for marker in sorted(markers, key=len, reverse=True))
    texts = re.split(pattern, prompt) if pattern else [prompt]
    if not "".join(texts).strip():
        raise PromptError("the prompt is empty: write what the model should be asked or continue")
    found = len(texts) - 1
    if found == 0:
        return [None] * n_pictures + [prompt]
    if found != n_pictures:
        raise PromptError(
            f"the prompt has {_count(found, 'image marker')} ({markers[0]}) but "
            f"{_count(n_pictures, 'picture')} came with it: give as many pictures as markers, or no marker"
        )
    pieces: list[Piece] = [texts[0]]
    for text in texts[1:]:
        pieces += [None, text]
    return [piece for piece in pieces if piece != ""]


def chat_text(
    tokenizer: PreTrainedTokenizerBase, template: str, pieces: Sequence[Piece], *, as_parts: bool
) -> str:
    """Render one user turn and the header of the model's answer.

    ``as_parts`` gives the template a list of text and image parts, as vision-language templates want,
    otherwise one string.

    Raises:
        PromptError: the template cannot be rendered.
    """
    content: Any = [
        {"type": "image"} if piece is None else {"type": "text", "text": piece} for piece in pieces
    ]
    if not as_parts:
        content = "".join(piece or "" for piece in pieces)
    try:
        text = tokenizer.apply_chat_template(
            [{"role": "user", "content": content}],
            chat_template=template,
            tokenize=False,
            add_generation_prompt=True,
        )
    except TemplateError as error:
        raise PromptError(f"the model's chat template refused the prompt: {error}; try chat=False") from error
    return str(text)


def without_marker_breaks(pieces: Sequence[Piece]) -> list[Piece]:
    """Drop line breaks typed around markers: a chat template sets its own."""
    stripped = [None if piece is None else piece.strip("\n") for piece in pieces]
    return [piece for piece in stripped if piece != ""]


def token_ids(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """Tokenize, adding special tokens only if the text does not bring its own beginning-of-sequence token."""
    bos = tokenizer.bos_token
    own = isinstance(bos, str) and bos != "" and bos in text
    return list(tokenizer(text, add_special_tokens=not own, verbose=False)["input_ids"])


def special_ids(tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """Ids that are control symbols and no text."""
    added = {index for index, token in tokenizer.added_tokens_decoder.items() if token.special}
    return frozenset(added | set(tokenizer.all_special_ids))


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"
