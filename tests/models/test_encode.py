"""What the model is given: against transformers' own processors, and at the edges of what people type."""

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import LlavaProcessor, MllamaProcessor

from patchlens.capture import capture
from patchlens.errors import ImageError, PromptError, UnsupportedModelError
from patchlens.models.mllama import governed
from tiny import BUILDERS, CHAT_TEMPLATE, VISION, tiny_gpt2, tiny_llama, tiny_llava, tiny_mllama, tiny_qwen_vl

RED = Image.new("RGB", (50, 70), "red")
NOISE = Image.effect_noise((90, 45), 80).convert("RGB")
EYES = pytest.mark.parametrize("family", VISION)


def turn(*content: dict) -> list[dict]:
    return [{"role": "user", "content": list(content)}]


def test_llava_gets_what_its_processor_would_give():
    adapter = tiny_llava(chat=True)
    processor = LlavaProcessor(
        adapter.processing.image_processor,
        adapter.tokenizer,
        patch_size=14,
        vision_feature_select_strategy="default",
        chat_template=adapter.chat_template,
        num_additional_image_tokens=1,
    )
    content = turn({"type": "image"}, {"type": "image"}, {"type": "text", "text": "what is it?"})
    text = processor.apply_chat_template(content, add_generation_prompt=True)
    theirs = processor(text=text, images=[RED, NOISE], return_tensors="pt", add_special_tokens=False)
    ours = adapter.encode("what is it?", [RED, NOISE])
    assert ours.tensors.keys() == {"input_ids", "attention_mask", "pixel_values"}
    for key, tensor in ours.tensors.items():
        torch.testing.assert_close(tensor, theirs[key])


def test_patches_are_where_they_stand():
    for adapter, stand in ((tiny_llava(), "places"), (tiny_mllama(), "vision_places")):
        inputs = adapter.encode("what is it?", [RED, NOISE])
        places = getattr(inputs, stand)
        assert inputs.shown is places
        assert inputs.patches.tolist() == [n for n, kind in enumerate(places.kind) if kind == "patch"]
        assert set(inputs.patch_places.kind) == {"patch"} and set(inputs.patch_places.image) == {0, 1}
        np.testing.assert_array_equal(inputs.patch_places.box, places.box[inputs.patches])
        assert not adapter.encode("what is it?", []).patches.size


def test_mllama_gets_what_its_processor_would_give():
    adapter = tiny_mllama(chat=True)
    processor = MllamaProcessor(adapter.processing.image_processor, adapter.tokenizer)
    content = turn({"type": "image"}, {"type": "text", "text": "what is it?"}, {"type": "image"})
    text = adapter.tokenizer.apply_chat_template(
        content, chat_template=adapter.chat_template, tokenize=False, add_generation_prompt=True
    )
    theirs = processor(text=text, images=[RED, NOISE], return_tensors="pt", add_special_tokens=False)
    ours = adapter.encode("<|image|>what is it?<|image|>", [RED, NOISE])
    assert ours.text == text
    for key in ("input_ids", "cross_attention_mask", "pixel_values", "aspect_ratio_ids", "aspect_ratio_mask"):
        torch.testing.assert_close(ours.tensors[key], theirs[key])


def test_qwen_takes_other_rotary_positions_without_token_types():
    adapter = tiny_qwen_vl()
    inputs = adapter.encode("what is it?", [Image.effect_noise((120, 90), 80).convert("RGB")])
    pictured = inputs.places.kind == "patch"
    np.testing.assert_array_equal(inputs.tensors["mm_token_type_ids"][0].numpy(), pictured.astype(int))
    with torch.inference_mode(), adapter.undisturbed():
        right = adapter.model(**inputs.tensors).logits
        del inputs.tensors["mm_token_type_ids"]
        wrong = adapter.model(**inputs.tensors).logits
    assert (right - wrong).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("ids", "spans"),
    [
        ([9, 1, 2, 3], [(0, 4)]),
        ([1, 9, 2, 9, 3, 3], [(1, 3), (3, 6)]),
        ([9, 9, 2, 3], [(0, 4), (1, 4)]),
        ([9, 2, 9, 9, 3], [(0, 2), (2, 5), (3, 5)]),
        ([1, 2], []),
        ([1, 9], [(1, 2)]),
    ],
)
def test_a_marker_governs_the_text_up_to_the_next(ids, spans):
    assert governed(ids, 9) == spans


@EYES
def test_a_marker_in_the_prompt_says_where_the_picture_stands(family):
    adapter = BUILDERS[family]()
    marker = adapter.image_marker
    first = adapter.encode(f"{marker}a cat", [RED])
    middle = adapter.encode(f"a {marker} cat", [RED])
    assert sorted(first.ids.tolist()) != first.ids.tolist() or len(first) > 1
    where = [np.flatnonzero(x.ids == adapter.image_token_id)[0] for x in (first, middle)]
    assert where[1] > where[0]
    assert (middle.places.image >= 0).sum() == (first.places.image >= 0).sum()


@EYES
@pytest.mark.parametrize(("markers", "pictures"), [(2, 1), (1, 0), (1, 2), (3, 2)])
def test_markers_and_pictures_must_agree(family, markers, pictures):
    adapter = BUILDERS[family]()
    with pytest.raises(PromptError, match=f"{markers} image marker.*{pictures} picture"):
        adapter.encode(adapter.image_marker * markers + "a cat", [RED] * pictures)


@pytest.mark.parametrize("family", BUILDERS)
@pytest.mark.parametrize("prompt", ["", "  ", "\n"])
def test_an_empty_prompt_is_refused(family, prompt):
    with pytest.raises(PromptError, match="empty"):
        BUILDERS[family]().encode(prompt, [RED] if family in VISION else [])


@EYES
def test_a_prompt_of_nothing_but_markers_is_empty(family):
    adapter = BUILDERS[family]()
    with pytest.raises(PromptError, match="empty"):
        adapter.encode(adapter.image_marker, [RED])


@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma2"])
def test_a_text_only_model_takes_no_picture(family):
    with pytest.raises(PromptError, match="text-only"):
        BUILDERS[family]().encode("what is it?", [RED])


@pytest.mark.parametrize("family", [*VISION, "llama", "gpt2"])
def test_a_prompt_longer_than_the_context_names_both_lengths(family):
    adapter = BUILDERS[family]()
    with pytest.raises(PromptError, match=rf"\d+ positions.*at most {adapter.max_positions}"):
        adapter.encode("z" * 600, [RED] if family in VISION else [])
    fits = adapter.encode("z" * (adapter.max_positions - 40), [])
    with pytest.raises(PromptError, match="with its answer"):
        adapter.encode("z" * (adapter.max_positions - 40), [], answer_ids=[5] * 80)
    assert len(fits) <= adapter.max_positions


@pytest.mark.parametrize("build", [tiny_llava, tiny_mllama])
def test_there_is_one_beginning_of_sequence(build):
    for chat in (True, False):
        adapter = build(chat=chat)
        bos = adapter.tokenizer.bos_token_id
        for pictures in ([], [RED]):
            inputs = adapter.encode("what is it?", pictures)
            assert inputs.ids.tolist().count(bos) == 1
            if chat or not pictures:
                assert inputs.ids[0] == bos
    raw = tiny_mllama().encode("what is it?", [RED])
    assert raw.text == "<|image|><s>what is it?"


def test_the_chat_template_is_used_unless_told_otherwise():
    adapter = tiny_llava(chat=True)
    assert adapter.encode("what?", [RED]).text == "<s>USER: <image>\nwhat? ASSISTANT:"
    assert adapter.encode("<image>\nwhat?", [RED]).text == "<s>USER: <image>\nwhat? ASSISTANT:"
    assert adapter.encode("what?\n<image>", [RED]).text == "<s>USER: what?<image>\n ASSISTANT:"
    assert adapter.encode("what?", []).text == "<s>USER: what? ASSISTANT:"
    assert adapter.encode("what?", [RED], chat=False).text == "<image>\nwhat?"
    with pytest.raises(PromptError, match="no chat template"):
        tiny_llava().encode("what?", [RED], chat=True)


def test_a_text_only_chat_model_says_that_its_template_was_used():
    adapter = tiny_llama()
    object.__setattr__(adapter.processing, "chat_template", CHAT_TEMPLATE)
    assert adapter.encode("hi", []).text == "<s>USER: hi ASSISTANT:"
    assert "chat=False" in adapter.encode("hi", []).notes[0]
    assert adapter.encode("hi", [], chat=True).notes == ()


def test_a_template_that_drops_the_picture_is_refused():
    adapter = tiny_llava(chat=True)
    object.__setattr__(adapter.processing, "chat_template", CHAT_TEMPLATE.replace("IMAGE", ""))
    with pytest.raises(PromptError, match="0 image tokens for 1 pictures"):
        adapter.encode("what?", [RED])


def test_a_template_that_fails_is_a_typed_error():
    adapter = tiny_llama()
    object.__setattr__(adapter.processing, "chat_template", "{{ raise_exception('no such role') }}")
    with pytest.raises(PromptError, match="no such role"):
        adapter.encode("what?", [])


def test_a_trailing_space_is_noted():
    adapter = tiny_gpt2()
    assert "white space" in adapter.encode("The cat ", []).notes[0]
    assert adapter.encode("The cat", []).notes == ()


@EYES
def test_positions_are_told_apart(family):
    adapter = BUILDERS[family](chat=True)
    inputs = adapter.encode("what is it?", [RED])
    kinds = inputs.places.kind
    assert len(inputs.places) == len(inputs) == inputs.tensors["input_ids"].shape[1]
    assert "text" in kinds
    patches = kinds if inputs.vision_places is None else inputs.vision_places.kind
    assert "patch" in patches
    if family == "mllama":
        assert "patch" not in kinds
        assert kinds[inputs.ids == adapter.image_token_id].tolist() == ["image_other"]
        per_tile = 17
        assert (inputs.vision_places.kind[::per_tile] == "image_other").all()
        used = len(inputs.grids[0].tiles) * per_tile
        assert (inputs.vision_places.kind[used:] == "image_other").all()
    if family == "qwen_vl":
        separators = [
            adapter.tokenizer.convert_tokens_to_ids(t) for t in ("<|vision_start|>", "<|vision_end|>")
        ]
        assert (kinds[np.isin(inputs.ids, separators)] == "image_other").all()
    if family == "llava":
        assert kinds[inputs.ids == adapter.tokenizer.bos_token_id].tolist() == ["special"]


@EYES
def test_answer_ids_follow_the_prompt_in_every_tensor(family):
    adapter = BUILDERS[family](chat=True)
    prompt = adapter.encode("what is it?", [RED])
    answered = adapter.encode("what is it?", [RED], answer_ids=[60, 61, 1])
    assert answered.n_prompt == prompt.n_prompt == len(prompt)
    assert answered.ids.tolist() == [*prompt.ids.tolist(), 60, 61, 1]
    assert answered.places.kind[-3:].tolist() == ["text", "text", "special"]
    for key in {
        "input_ids",
        "attention_mask",
        "mm_token_type_ids",
        "cross_attention_mask",
    } & answered.tensors.keys():
        assert answered.tensors[key].shape[1] == len(answered)
    if family == "mllama":
        mask = answered.tensors["cross_attention_mask"][0]
        assert (mask[-3:] == mask[prompt.n_prompt - 1]).all()
    states, alone = capture(adapter, answered).resid, capture(adapter, prompt).resid
    torch.testing.assert_close(states[:, : len(prompt)], alone, atol=1e-4, rtol=1e-4)


def test_an_extreme_aspect_ratio_is_refused_by_name():
    with pytest.raises(ImageError, match="refused the picture"):
        tiny_qwen_vl().encode("what?", [Image.new("RGB", (900, 4))])


def test_a_processor_that_does_otherwise_than_configured_is_refused():
    adapter = tiny_llava()
    original = adapter.processing.image_processor

    class Other:
        do_resize, size, do_center_crop, crop_size = True, {"height": 56, "width": 42}, False, None

        def __call__(self, **kwargs):
            return original(**kwargs)

    object.__setattr__(adapter.processing, "image_processor", Other())
    with pytest.raises(UnsupportedModelError, match="expected to make 42 x 56 pixels"):
        adapter.encode("what?", [RED])
