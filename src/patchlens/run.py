"""load -> inputs -> capture: a model that can be run. With `trace` the only place that composes the parts."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from patchlens.capture import Captured, capture_together, joint_tensors
from patchlens.causal import Interventions, intervening, rerun
from patchlens.demo import bundled_models
from patchlens.demo.domain import SceneDomain
from patchlens.errors import PromptError, SelectionError
from patchlens.models.adapter import Adapter
from patchlens.models.encode import Inputs, likeness
from patchlens.models.generate import generate_together
from patchlens.models.inputs import prepare
from patchlens.models.load import adapt_in_memory, load_adapter
from patchlens.models.positions import select_positions
from patchlens.models.tokens import answer_text, following_ids
from patchlens.pictures.open import OpenedPicture, PictureLike, open_picture
from patchlens.progress import Progress, silent
from patchlens.reading.records import Answer
from patchlens.trace import Request, Trace, given_answer

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Images = PictureLike | Sequence[PictureLike] | None
Prepared = tuple[tuple[OpenedPicture, ...], Inputs]
"""Opened pictures, and the prompt with them as a model's input: what `Model.prepare` gives."""


def load(
    model: str | Path | PreTrainedModel,
    *,
    processor: Any = None,
    name: str | None = None,
    dtype: str | torch.dtype = "auto",
    device_map: str | Mapping[str, Any] | None = None,
    revision: str | None = None,
    trust_remote_code: bool = False,
    allow_pickle: bool = False,
) -> Model:
    """Load a model: ``demo``, ``demo-cross``, a folder, a hub id, or one of transformers that is in memory.

    Args:
        model: only a hub id reaches the network. A model in memory may be fine-tuned, of PEFT or quantised;
            it stays as and where it is.
        processor: of a model in memory: its processor, or its tokenizer where it takes no pictures.
        name: what to call a model in memory; its own name or path if left out.
        dtype: a torch dtype or its name; "auto" follows the checkpoint (the bundled models: float32).
        device_map: as in transformers; None puts the model on the CPU.
        revision: branch, tag or commit of a hub model.
        trust_remote_code: run code that the model's repository ships.
        allow_pickle: read weights that are pickled, which can run code.

    Raises:
        ModelNotFoundError: no such model, or the hub could not be reached.
        UnsupportedModelError: an architecture that no adapter states facts about, or no processor for it.
    """
    if not isinstance(model, (str, Path)):
        if dtype != "auto" or device_map is not None or revision is not None:
            raise SelectionError(
                "a model in memory stays as and where it is: leave dtype, device_map and revision out"
            )
        return Model(adapt_in_memory(model, processor, name=name))
    return Model(
        load_adapter(
            str(model),
            dtype=dtype,
            device_map=device_map,
            revision=revision,
            trust_remote_code=trust_remote_code,
            allow_pickle=allow_pickle,
        )
    )


@dataclass(frozen=True)
class Model:
    """A model that can be run: `trace` runs it on one question, `trace_many` on many."""

    adapter: Adapter = field(repr=False)

    def __repr__(self) -> str:
        """Say which model it is, in one line."""
        return f"Model({self.name}, {self.family}, {self.n_layers} layers, d_model {self.d_model})"

    @property
    def name(self) -> str:
        """What it was loaded by."""
        return self.adapter.name

    @property
    def family(self) -> str:
        """Which family of models it is read as."""
        return self.adapter.family

    @property
    def revision(self) -> str | None:
        """Commit or revision of a hub model."""
        return self.adapter.revision

    @property
    def n_layers(self) -> int:
        """Number of decoder blocks, which is the number of the last layer."""
        return self.adapter.n_layers

    @property
    def d_model(self) -> int:
        """Width of the residual stream."""
        return self.adapter.d_model

    @property
    def vocab_size(self) -> int:
        """Number of logits."""
        return self.adapter.vocab_size

    @property
    def dtype(self) -> torch.dtype:
        """Data type of the unembedding."""
        return self.adapter.dtype

    @property
    def device(self) -> torch.device:
        """Where its inputs go."""
        return self.adapter.device

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """Its tokenizer, as transformers has it."""
        return self.adapter.tokenizer

    def prepare(
        self, images: Images = None, prompt: str = "", *, chat: bool | None = None, begun: str | None = None
    ) -> Prepared:
        """Open the pictures and make one input of them and the prompt; the model is not run.

        Raises:
            ImageError, PromptError: a picture or the prompt cannot be used.
        """
        if not isinstance(prompt, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise PromptError(
                f"a prompt is text, got {type(prompt).__name__}: give the question alone, such as "
                "'What is this?'; the model's chat template is put around it"
            )
        pictures = tuple(open_picture(image) for image in _as_list(images))
        inputs = prepare(self.adapter, prompt, pictures, chat=chat)
        return pictures, inputs if begun is None else _begun(self.adapter, inputs, begun)

    def trace(
        self,
        images: Images = None,
        prompt: str = "",
        *,
        answer: str | Sequence[int] | None = None,
        begun: str | None = None,
        under: Interventions = (),
        max_new_tokens: int = 20,
        steps: bool = False,
        layers: int | Iterable[int] | None = None,
        positions: str | int | Iterable[int] | None = None,
        chat: bool | None = None,
        progress: Progress | None = None,
    ) -> Trace:
        """Run the model on a prompt and keep its residual stream.

        Args:
            images: a path, a PIL picture, an array, or several of them; None for text only.
            prompt: the question; image markers in it say where the pictures stand, else they come first.
            answer: text or token ids to be read as the answer; None for the model's own greedy answer.
            begun: the beginning of an answer, taken as said.
            under: interventions that hold for the pass and for the answer.
            max_new_tokens: length limit of the greedy answer; 0 for none.
            steps: also keep the positions that predict each further token of the answer.
            layers: which layers to keep, 0 (embeddings) to ``n_layers``; negative from the end; None for all.
            positions: which to keep: indices of the sequence (negative from the end), or a group: "all",
                "answer" (those that predict the answer), "text" or "patches"; None for all.
            chat: wrap the prompt in the model's chat template; None does so if there is one.
            progress: called with what is being done, how much is done, and of how much.

        Raises:
            IdentityCheckError: on first use, if the adapter's facts do not reproduce the model's logits.
            ImageError, PromptError, SelectionError, InterventionError: what was asked cannot be done.
        """
        request = Request(answer, begun, under, max_new_tokens, steps, layers, positions, chat)
        self.adapter.prove()
        prepared = self.prepare(images, prompt, chat=chat, begun=begun)
        return run_together(self.adapter, [prepared], request, progress=progress)[0]

    def trace_many(
        self, pairs: Iterable[tuple[Images, str]], *, batch: int = 8, **asked: Any
    ) -> Generator[Trace]:
        """Run the model on many questions, those that are alike in one pass; a trace at a time, in order.

        Args:
            pairs: pictures and prompt of each, as `trace` takes them; taken when they are needed.
            batch: how many are prepared, and traces held, at once.
            asked: further arguments of `trace`, the same for all.

        In a batch numbers differ by rounding from those of a prompt alone.

        Raises:
            IdentityCheckError, ImageError, PromptError, SelectionError, NumericsError: as `trace`.
        """
        progress = asked.pop("progress", None)
        request, rest = Request(**asked), iter(pairs)
        self.adapter.prove()
        while chunk := list(islice(rest, max(1, batch))):
            prepared = [
                self.prepare(images, prompt, chat=request.chat, begun=request.begun)
                for images, prompt in chunk
            ]
            found: dict[int, Trace] = {}
            for numbers in alike(prepared):
                group = [prepared[number] for number in numbers]
                traces = run_together(self.adapter, group, request, progress=progress)
                found |= dict(zip(numbers, traces, strict=True))
            yield from (found[number] for number in range(len(chunk)))


def alike(prepared: Sequence[Prepared]) -> list[list[int]]:
    """Numbers of the inputs that can go through a model as rows of one batch, group by group."""
    groups: dict[object, list[int]] = {}
    for number, (_, inputs) in enumerate(prepared):
        groups.setdefault(likeness(inputs), []).append(number)
    return list(groups.values())


def run_together(
    adapter: Adapter, batch: Sequence[Prepared], request: Request, *, progress: Progress | None = None
) -> list[Trace]:
    """Run prompts that are `alike` in one pass.

    Raises:
        IdentityCheckError, SelectionError, InterventionError, NumericsError: as `Model.trace`.
    """
    tell = progress or silent
    tell("answer", 0, 1)
    prompts = [inputs for _, inputs in batch]
    answers = _answers(adapter, prompts, request)
    tell("answer", 1, 1)
    inputs = [
        adapter.continued(own, answer.ids[:-1]) if request.steps and len(answer.ids) > 1 else own
        for own, answer in zip(prompts, answers, strict=True)
    ]
    tell("capture", 0, 1)
    captured = _captured(adapter, inputs, request)
    tell("capture", 1, 1)
    strange = _unlike_scenes(adapter, inputs, captured, request.under)
    return [
        Trace(
            adapter,
            own,
            states,
            pictures,
            answer,
            (*(note for picture in pictures for note in picture.notes), *own.notes, *notes),
            request,
        )
        for (pictures, _), own, states, answer, notes in zip(
            batch, inputs, captured, answers, strange, strict=True
        )
    ]


def _answers(adapter: Adapter, prompts: Sequence[Inputs], request: Request) -> list[Answer]:
    """The answer to each prompt: given, or told greedily under the interventions."""
    if request.answer is not None:
        return [given_answer(adapter, inputs, request.answer) for inputs in prompts]
    if request.under == ():
        tensors = joint_tensors(adapter, prompts)
        found = generate_together(adapter, tensors, len(prompts[0]), request.max_new_tokens)
    else:
        found = [
            rerun(adapter, inputs).answers([request.under], request.max_new_tokens)[0] for inputs in prompts
        ]
    return [Answer(answer_text(adapter.tokenizer, ids), tuple(ids)) for ids in found]


def _captured(adapter: Adapter, batch: Sequence[Inputs], request: Request) -> list[Captured]:
    """States of all; under interventions those that have their places alike go together."""
    layers = request.layers
    kept = [select_positions(adapter, own, request.positions) for own in batch]
    if request.under == ():
        return capture_together(adapter, batch, layers=layers, positions=kept)
    groups: dict[object, list[int]] = {}
    for number, own in enumerate(batch):
        groups.setdefault((len(own), own.shown.kind.tobytes()), []).append(number)
    found: dict[int, Captured] = {}
    for numbers in groups.values():
        with intervening(adapter, batch[numbers[0]], request.under):
            own = capture_together(
                adapter,
                [batch[number] for number in numbers],
                layers=layers,
                positions=[kept[number] for number in numbers],
            )
        found |= dict(zip(numbers, own, strict=True))
    return [found[number] for number in range(len(batch))]


def _begun(adapter: Adapter, inputs: Inputs, text: str) -> Inputs:
    """The prompt with the beginning of an answer as already said, so that answers go on from there."""
    ids = following_ids(adapter.tokenizer, inputs.text, text)
    if not ids:
        raise PromptError(f"the beginning of an answer {text!r} has no token: give a word or a part of one")
    longer = adapter.continued(inputs, ids)
    return replace(longer, n_prompt=len(longer))


def _unlike_scenes(
    adapter: Adapter, batch: Sequence[Inputs], captured: Sequence[Captured], under: Interventions
) -> list[tuple[str, ...]]:
    """A warning for each prompt in which a bundled model is shown what it was never trained on."""
    folder = bundled_models().get(adapter.name)
    if folder is None or not batch[0].grids or under != ():
        return [()] * len(batch)
    note = (
        f"this picture is unlike the drawn scenes that {adapter.name} was trained on, and it knows only "
        "those: what it says here means little; for real pictures choose a real model",
    )
    domain = _scene_domain(folder)
    entering = zip(batch, _entering(adapter, batch, captured), strict=True)
    return [
        note if domain.unlike(states.float().cpu().numpy()[own.patches]) else () for own, states in entering
    ]


def _entering(adapter: Adapter, batch: Sequence[Inputs], captured: Sequence[Captured]) -> list[Tensor]:
    """The states among which the patches enter the decoder; in one more pass, where they were not kept."""
    vision = [own.vision for own in captured if own.vision is not None]
    if vision:
        return vision
    is_whole = all(
        own.layers[0] == 0 and own.positions == tuple(range(len(inputs)))
        for own, inputs in zip(captured, batch, strict=True)
    )
    seen = captured if is_whole else capture_together(adapter, batch, layers=[0])
    return [own.resid[0] for own in seen]


@cache
def _scene_domain(folder: Path) -> SceneDomain:
    return SceneDomain.load(folder)


def _as_list(images: Images) -> list[PictureLike]:
    if images is None:
        return []
    return [*images] if isinstance(images, (list, tuple)) else [images]  # pyright: ignore[reportReturnType]
