"""An adapter states what patchlens needs to know about one model; it computes no lens."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from patchlens.axes import PositionKind
from patchlens.errors import ImageError, PromptError, UnsupportedModelError
from patchlens.grid import joined, plain_places
from patchlens.models import intervene
from patchlens.models import prompt as prompts
from patchlens.models.attend import Attended, OnAttention, attending
from patchlens.models.change import OnChange, OnMask, changed
from patchlens.models.encode import Inputs, Seen, expanded
from patchlens.models.facts import find_decoder
from patchlens.models.heads import Heads, find_heads
from patchlens.models.identity import IdentityReport, check_logits, check_ran, check_write, prove
from patchlens.models.replay import Recording, entering
from patchlens.models.watch import OnState, evaluating, watched
from patchlens.unembed import Unembed


@dataclass(frozen=True)
class Processing:
    """What stands before a model: tokenizer, image processor, chat template (each as transformers has it)."""

    tokenizer: PreTrainedTokenizerBase
    image_processor: Any = None
    chat_template: str | None = None


class Adapter:
    """Facts about a causal language model, with or without eyes.

    Blocks are in config order, layer ``i`` being the output of block ``i - 1`` (counted from 0);
    ``cross_blocks`` are the 0-based blocks a text-only forward skips. ``unembed`` maps a state of the last
    layer to logits, final norm included. ``pil_processor`` names the image processor of transformers to take
    where the whole processor cannot be had. ``along_positions`` names the forward's tensors with a column per
    position, and what further text has there: a number, or None for the same as the last column.
    """

    family: ClassVar[str]
    model_types: ClassVar[tuple[str, ...]] = ()
    after_marker: ClassVar[str] = ""
    pil_processor: ClassVar[str | None] = None
    along_positions: ClassVar[Mapping[str, int | None]] = {"input_ids": 0, "attention_mask": 1}

    def __init__(
        self, model: PreTrainedModel, processing: Processing, *, name: str, revision: str | None = None
    ) -> None:
        decoder = find_decoder(model)
        self.name = name
        self.revision = revision
        self.model = model
        self.processing = processing
        self.blocks: Sequence[nn.Module] = decoder.blocks
        self.final_norm: nn.Module = decoder.final_norm
        self.unembed: Unembed = decoder.unembed
        self.block_list_name = decoder.block_list_name
        self.final_norm_name = decoder.final_norm_name
        self.head_name = decoder.head_name
        self.last_block_name = f"{decoder.block_list_name}.{len(decoder.blocks) - 1}"
        self.cross_blocks: tuple[int, ...] = ()
        self._embedding = decoder.embedding
        self._special = prompts.special_ids(processing.tokenizer)
        self._identity: IdentityReport | None = None

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The model's tokenizer."""
        return self.processing.tokenizer

    @property
    def text_config(self) -> Any:
        """The config of the decoder."""
        return self.model.config.get_text_config(decoder=True)

    @property
    def n_layers(self) -> int:
        """Number of decoder blocks, which is also the number of the last layer."""
        return len(self.blocks)

    @property
    def d_model(self) -> int:
        """Width of the residual stream."""
        return int(self.text_config.hidden_size)

    @property
    def vocab_size(self) -> int:
        """Number of logits."""
        return int(self.unembed.weight.shape[0])

    @property
    def dtype(self) -> torch.dtype:
        """Data type of the unembedding, in which the logits are computed."""
        return self.unembed.weight.dtype

    @property
    def device(self) -> torch.device:
        """Where the inputs go."""
        return next(self._embedding.parameters()).device

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
    def chat_template(self) -> str | None:
        """The template of a user turn, or None if the model has none."""
        return self.processing.chat_template

    def prove(self) -> IdentityReport:
        """Hold these facts against the model, once; later calls return the first report.

        Raises:
            IdentityCheckError: a fact is wrong.
        """
        if self._identity is None:
            self._identity = prove(self)
        return self._identity

    @contextmanager
    def undisturbed(self) -> Generator[None, None, None]:
        """Evaluation mode inside; afterwards the model is as it was before."""
        with evaluating(self.model):
            yield

    @contextmanager
    def watched(
        self, on_output: OnState, on_input: OnState | None = None, on_vision: OnState | None = None
    ) -> Generator[None, None, None]:
        """Call back for every forward inside; the hooks are gone afterwards, whatever happened.

        Args:
            on_output: gets a block's index and the residual state it gives, batch first.
            on_input: gets a block's index and the residual state it takes.
            on_vision: gets 0 and the states cross-attention blocks attend to, if the model has any.
        """
        source = self.vision_source if on_vision is not None else None
        with watched(self.blocks, on_output, on_input):
            if source is None or on_vision is None:
                yield
            else:
                with watched((source,), on_vision):
                    yield

    def heads(self, block: int) -> Heads:
        """Where a block's attention (0-based) keeps its parts.

        Raises:
            UnsupportedModelError: it is not built as patchlens knows attention.
        """
        return find_heads(self.blocks[block], block, self.text_config, self.name)

    @contextmanager
    def attending(self, blocks: Sequence[int], on_attention: OnAttention) -> Generator[None, None, None]:
        """Call back after the attention of each of these blocks, in every forward inside.

        The decoder's attention runs eagerly inside, in which only one block's weights exist at a time.
        Afterwards the model is as it was, whatever happened.

        Raises:
            UnsupportedModelError: a block's attention is not built as patchlens knows it.
        """
        parts = [self.heads(block) for block in blocks]
        with attending(self.model.get_decoder(), self.blocks, parts, on_attention):
            yield

    def running(self, inputs: Inputs) -> tuple[int, ...]:
        """Blocks (0-based) that a pass over these inputs runs: without a picture none of `cross_blocks`."""
        return intervene.running(self, inputs)

    @contextmanager
    def changing(
        self, changes: Mapping[int, OnChange], on_vision: OnChange | None = None
    ) -> Generator[None, None, None]:
        """Replace the states of layers, and vision states, in every forward inside (see `changed`)."""
        with changed(self.blocks, changes, self.vision_source, on_vision):
            yield

    @contextmanager
    def masking(self, blocks: Sequence[int], on_mask: OnMask) -> Generator[None, None, None]:
        """Replace the attention masks of these blocks in every forward inside (see `masked`).

        Raises:
            UnsupportedModelError: the attention takes no such mask, or is not built as patchlens knows it.
        """
        with intervene.masking(self, blocks, on_mask):
            yield

    def recorded(self, inputs: Inputs) -> Recording:
        """Run a plain pass and keep what is needed to run parts of it again; call it without gradients.

        Raises:
            IdentityCheckError: the states do not unembed to the model's logits.
            UnsupportedModelError: a block is called in a way patchlens does not know.
        """
        return intervene.recorded(self, inputs)

    def embedded(self, ids: Int[Tensor, "batch pos"]) -> Float[Tensor, "batch pos d_model"]:
        """States of layer 0 of these ids as text, pictures left out."""
        with self.undisturbed():
            return entering(self.model, self.blocks[0], ids)

    def continued(self, inputs: Inputs, answer_ids: Sequence[int]) -> Inputs:
        """The same prompt and pictures with this answer after them, in place of any other."""
        self._check_length(inputs.n_prompt + len(answer_ids), inputs.n_prompt)
        return intervene.continued(self, inputs, answer_ids)

    @property
    def ends(self) -> tuple[int, ...]:
        """Tokens that end an answer, from the generation config or else the tokenizer."""
        config: Any = self.model.generation_config
        found: Any = getattr(config, "eos_token_id", None)
        if found is None:
            found = self.tokenizer.eos_token_id
        if found is None:
            return ()
        return tuple(int(token) for token in (found if isinstance(found, list | tuple) else (found,)))

    def kind_of(self, token: int) -> PositionKind:
        """What a position of text is, by its token."""
        return PositionKind.SPECIAL if token in self._special else PositionKind.TEXT

    def sees(self, inputs: Inputs) -> NDArray[np.bool_]:
        """Whether each position [pos] is meant to attend to vision states, where a model has such."""
        return np.ones(len(inputs), np.bool_)

    def check_write(self, attended: Attended, write: Tensor, queries: Tensor) -> None:
        """Hold what an attention is said to write at some positions against what it wrote.

        Raises:
            IdentityCheckError: the residual stream moved by something else.
        """
        check_write(self, attended, write, queries)

    def check_pass(self, ran: set[int], last: Tensor, logits: Tensor) -> None:
        """Hold one pass against the adapter's facts.

        Args:
            ran: blocks that called back.
            last: states ``[pos, d_model]`` of layer ``n_layers``.
            logits: the model's own ``[pos, vocab]`` at the same positions.

        Raises:
            IdentityCheckError: a block stayed out, or the states do not unembed to the logits.
        """
        check_ran(self, ran)
        check_logits(self, last, logits)

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
        seen = self.see(pictures) if pictures else Seen()
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

    def see(self, pictures: Sequence[Image.Image]) -> Seen:
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

    def alongside(self, ids: Sequence[int], seen: Seen) -> dict[str, Tensor]:
        """Further tensors the family's forward needs for this sequence."""
        return {}

    @property
    def vision_source(self) -> nn.Module | None:
        """The module whose output is what cross-attention blocks attend to, or None."""
        return None

    @property
    def separators(self) -> frozenset[int]:
        """Tokens around or between a picture's patches that show none of it."""
        return frozenset()

    @property
    def unspeakable(self) -> tuple[int, ...]:
        """Tokens that must not be generated, because they would ask for a picture that is not there."""
        token = self.image_token_id
        return () if token is None or token >= self.vocab_size else (token,)

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

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, {self.n_layers} layers, d_model {self.d_model})"
