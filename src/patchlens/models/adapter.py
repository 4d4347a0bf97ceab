"""An adapter states what patchlens needs to know about one model; it computes no lens."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import PreTrainedModel

from patchlens.models import intervene
from patchlens.models.attend import Attended, OnAttention, attending
from patchlens.models.change import OnChange, OnMask, changed
from patchlens.models.encode import Inputs
from patchlens.models.encoder import Encoder, Processing
from patchlens.models.facts import find_decoder
from patchlens.models.heads import Heads, find_heads
from patchlens.models.identity import IdentityReport, check_logits, check_ran, check_write, prove
from patchlens.models.replay import Recording, entering
from patchlens.models.unembed import Unembed
from patchlens.models.watch import OnState, evaluating, watched


class Adapter(Encoder):
    """Facts about a causal language model, with or without eyes.

    Blocks are in config order, layer ``i`` being the output of block ``i - 1`` (counted from 0);
    ``cross_blocks`` are the 0-based blocks a text-only forward skips. ``unembed`` maps a state of the last
    layer to logits, final norm included. ``pil_processor`` names the image processor of transformers to take
    where the whole processor cannot be had. ``along_positions`` names the forward's tensors with a column per
    position, and what further text has there: a number, or None for the same as the last column.
    """

    family: ClassVar[str]
    model_types: ClassVar[tuple[str, ...]] = ()
    pil_processor: ClassVar[str | None] = None
    along_positions: ClassVar[Mapping[str, int | None]] = {"input_ids": 0, "attention_mask": 1}

    def __init__(
        self, model: PreTrainedModel, processing: Processing, *, name: str, revision: str | None = None
    ) -> None:
        super().__init__(processing, name)
        decoder = find_decoder(model)
        self.revision = revision
        self.model = model
        self.blocks: Sequence[nn.Module] = decoder.blocks
        self.final_norm: nn.Module = decoder.final_norm
        self.unembed: Unembed = decoder.unembed
        self.block_list_name = decoder.block_list_name
        self.final_norm_name = decoder.final_norm_name
        self.head_name = decoder.head_name
        self.last_block_name = f"{decoder.block_list_name}.{len(decoder.blocks) - 1}"
        self.cross_blocks: tuple[int, ...] = ()
        self._embedding = decoder.embedding
        self._identity: IdentityReport | None = None

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

    @property
    def vision_source(self) -> nn.Module | None:
        """The module whose output is what cross-attention blocks attend to, or None."""
        return None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, {self.n_layers} layers, d_model {self.d_model})"
