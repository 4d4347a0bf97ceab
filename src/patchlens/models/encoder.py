"""How a family turns a prompt and its pictures into tensors, with a place for every position."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from patchlens.axes import PositionKind
from patchlens.errors import ImageError, PromptError, UnsupportedModelError
from patchlens.models import prompt as prompts
from patchlens.models.encode import Inputs, ProcessedPictures, expanded
from patchlens.pictures.grid import joined, plain_places


@dataclass(frozen=True)
class Processing:
    """What stands before a model: tokenizer, image processor, chat template (each as transformers has it)."""

    tokenizer: PreTrainedTokenizerBase
    image_processor: Any = None
    chat_template: str | None = None


class Encoder(ABC):
    """Prompt and pictures on their way in; `patchlens.models.adapter.Adapter` adds the model itself.

    ``after_marker`` is what follows an image marker that the user did not place.
    """

    after_marker: ClassVar[str] = ""

    def __init__(self, processing: Processing, name: str) -> None:
        self.name = name
        self.processing = processing
        self._special = prompts.special_ids(processing.tokenizer)

    @property
    @abstractmethod
    def text_config(self) -> Any:
        """The config of the decoder."""

    @property
    @abstractmethod
    def vocab_size(self) -> int:
        """Number of logits."""

    @property
    @abstractmethod
    def device(self) -> torch.device:
        """Where the inputs go."""

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The model's tokenizer."""
        return self.processing.tokenizer

    @property
    def chat_template(self) -> str | None:
        """The template of a user turn, or None if the model has none."""
        return self.processing.chat_template

    @property
    def max_positions(self) -> int | None:
        """Context length in tokens, or None if the config does not say."""
        length = getattr(self.text_config, "max_position_embeddings", None)
        return None if length is None else int(length)

    @property
    def image_token(self) -> str | None:
        """The token that stands for a picture, or None for a text-only model."""
        token = self.image_token_id
        return None if token is None else str(self.tokenizer.convert_ids_to_tokens(token))

    @property
    def image_token_id(self) -> int | None:
        """Id of the token that is repeated, or attended from, where a picture stands."""
        return None

    @property
    def image_marker(self) -> str | None:
        """What to type in a prompt where a picture should stand."""
        return self.image_token

    @property
    def separators(self) -> frozenset[int]:
        """Tokens around or between a picture's patches that show none of it."""
        return frozenset()

    @property
    def unspeakable(self) -> tuple[int, ...]:
        """Tokens that must not be generated, because they would ask for a picture that is not there."""
        token = self.image_token_id
        return () if token is None or token >= self.vocab_size else (token,)

    def kind_of(self, token: int) -> PositionKind:
        """What a position of text is, by its token."""
        return PositionKind.SPECIAL if token in self._special else PositionKind.TEXT

    def encode(
        self,
        prompt: str,
        pictures: Sequence[Image.Image],
        *,
        answer_ids: Sequence[int] = (),
        chat: bool | None = None,
    ) -> Inputs:
        """Turn a prompt and its pictures (RGB) into the model's tensors, with a place for every position.

        Args:
            prompt: what the user typed, with an image marker per picture or none.
            pictures: in the order of their markers.
            answer_ids: tokens that follow the prompt (teacher forcing).
            chat: wrap the prompt in the model's chat template; None does so if there is one.

        Raises:
            PromptError: empty, longer than the context, or at odds with the pictures.
            UnsupportedModelError: the image processor does something the family's geometry does not state.
        """
        if pictures and self.image_token_id is None:
            raise PromptError(
                f"{self.name} is a text-only model: leave the picture out, or choose another model"
            )
        text, notes = self._text(prompt, len(pictures), chat)
        seen = self.see(pictures) if pictures else ProcessedPictures()
        ids, places = expanded(
            self._marked_ids(text, len(pictures)),
            seen.runs,
            image_token=self.image_token_id,
            separators=self.separators,
            special=self._special,
        )
        n_prompt = len(ids)
        ids += answer_ids
        self._check_length(len(ids), n_prompt)
        answer = plain_places([self.kind_of(token) for token in answer_ids])
        tensors = {
            "input_ids": torch.tensor([ids]),
            "attention_mask": torch.ones(1, len(ids), dtype=torch.long),
            **seen.tensors,
            **self.alongside(ids, seen),
        }
        return Inputs(
            tensors={key: tensor.to(self.device) for key, tensor in tensors.items()},
            ids=np.array(ids, dtype=np.int32),
            places=joined([places, answer]),
            grids=seen.grids,
            vision_places=seen.vision_places,
            prompt=prompt,
            text=text,
            n_prompt=n_prompt,
            notes=notes,
        )

    def see(self, pictures: Sequence[Image.Image]) -> ProcessedPictures:
        """Run the image processor and state the geometry of what it made."""
        raise UnsupportedModelError(f"{self.name} does not take pictures")

    def processed(self, pictures: Sequence[Image.Image]) -> Any:
        """What the image processor makes of the pictures.

        Raises:
            ImageError: it refuses them, say for an extreme aspect ratio.
        """
        try:
            return self.processing.image_processor(images=list(pictures), return_tensors="pt")
        except ValueError as error:
            raise ImageError(f"{self.name}'s image processor refused the picture: {error}") from error

    def alongside(self, ids: Sequence[int], seen: ProcessedPictures) -> dict[str, Tensor]:
        """Further tensors the family's forward needs for this sequence."""
        return {}

    def raw_text(self, pieces: Sequence[prompts.Piece], *, typed: bool) -> str:
        """Text of a prompt without chat template; ``typed`` says whether the user placed the markers."""
        marker = (self.image_marker or "") + ("" if typed else self.after_marker)
        return "".join(marker if piece is None else piece for piece in pieces)

    def _text(self, prompt: str, n_pictures: int, chat: bool | None) -> tuple[str, tuple[str, ...]]:
        markers = tuple(dict.fromkeys(m for m in (self.image_marker, self.image_token) if m))
        pieces = prompts.split_at_pictures(prompt, n_pictures, markers)
        template = self.chat_template
        if chat and template is None:
            raise PromptError(f"{self.name} has no chat template: leave chat out or set it to False")
        if template is not None and chat is not False:
            sees = self.image_token_id is not None
            parts = prompts.without_marker_breaks(pieces)
            text = prompts.chat_text(self.tokenizer, template, parts, as_parts=sees)
            plain = "the prompt was put into the model's chat template; chat=False reads it as it stands"
            return text, () if sees or chat else (plain,)
        text = self.raw_text(pieces, typed=any(marker in prompt for marker in markers))
        if text[-1:].isspace():
            return text, (
                "the prompt ends with white space, so the answer is read after that space; words mostly "
                "carry their own leading space, so leaving it out is usually what is meant",
            )
        return text, ()

    def _marked_ids(self, text: str, n_pictures: int) -> list[int]:
        ids = prompts.token_ids(self.tokenizer, text)
        if not ids:
            raise PromptError(f"the prompt {text!r} has no token of {self.name}'s vocabulary")
        found = ids.count(self.image_token_id) if self.image_token_id is not None else 0
        if found != n_pictures:
            raise PromptError(
                f"the text given to {self.name} has {found} image tokens for {n_pictures} pictures: its chat "
                "template drops or repeats them; try chat=False"
            )
        return ids

    def _check_length(self, length: int, n_prompt: int) -> None:
        if self.max_positions is not None and length > self.max_positions:
            what = "the prompt" if length == n_prompt else "the prompt with its answer"
            raise PromptError(
                f"{what} has {length} positions, pictures included, but {self.name} takes at most "
                f"{self.max_positions}: shorten it or use fewer pictures"
            )
