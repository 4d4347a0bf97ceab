"""The shipped checkpoints, as a user loads them."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor

from labels_of import labels_of
from patchlens.demo import bundled_models, demo_pictures
from patchlens.demo.domain import SceneDomain
from patchlens.scenes.questions import ask
from patchlens.scenes.scene import make_scene
from patchlens.scenes.vocabulary import names

FRESH = 40_000_000
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module", params=["demo", "demo-cross"])
def loaded(request):
    folder = bundled_models()[request.param]
    model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32).eval()
    return request.param, model, AutoProcessor.from_pretrained(folder)


def prepared(processor, picture, prompt):
    turn = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": prompt}]}
    text = processor.apply_chat_template([turn], add_generation_prompt=True)
    return processor(
        images=picture, text=text, add_special_tokens=not text.startswith("<s>"), return_tensors="pt"
    )


def answer(model, processor, picture, prompt):
    made = prepared(processor, picture, prompt)
    with torch.no_grad():
        ids = model.generate(**made, do_sample=False, max_new_tokens=40)
    return processor.tokenizer.decode(ids[0, made["input_ids"].shape[1] :], skip_special_tokens=True).strip()


@pytest.mark.parametrize(("kind", "least"), [("what", 21), ("colour", 21)])
def test_one_thing_on_fresh_scenes(loaded, kind, least):
    _, model, processor = loaded
    right, seed = [], FRESH
    while len(right) < 24:
        scene = make_scene(seed, "one")
        q = ask(scene, np.random.default_rng(seed), kind)
        if q is not None:
            right.append(answer(model, processor, scene.image, q.prompt) == q.answer)
        seed += 1
    assert sum(right) >= least


def test_another_picture_gets_another_answer(loaded):
    _, model, processor = loaded
    pictures = [p for p in demo_pictures() if p.kind == "one"]
    given = {answer(model, processor, make_scene(FRESH + i, "one").image, "What is this?") for i in range(8)}
    assert len(pictures) == 2
    assert len(given) >= 4


def test_shipped_files(loaded):
    name, model, processor = loaded
    folder = bundled_models()[name]
    assert sum(f.stat().st_size for f in folder.iterdir()) < 12e6
    assert processor.tokenizer.chat_template
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    assert all(row["questions"] >= 1000 for row in report["accuracy"].values())
    assert (folder / "REPORT.md").read_text(encoding="utf-8").startswith(f"# {name}")
    assert all(torch.isfinite(w).all() for w in model.parameters())


def test_the_bundled_pictures_get_the_answers_listed_with_them(loaded):
    name, model, processor = loaded
    for picture in demo_pictures():
        with Image.open(picture.file) as image:
            given = answer(model, processor, image.convert("RGB"), picture.prompt)
        assert given == picture.given[name]


def test_a_picture_is_the_scene_it_was_drawn_from():
    for picture in demo_pictures():
        assert picture.file.exists()
        assert picture.kind in ("texture", "pattern", "one", "several", "collage")
        assert picture.prompt and picture.answer and picture.targets


def test_patches_are_readable_in_the_middle_and_not_at_the_start():
    folder = bundled_models()["demo"]
    model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32).eval()
    processor = AutoProcessor.from_pretrained(folder)
    lm = model.model.language_model
    kept: dict[int, torch.Tensor] = {}
    hooks = [
        block.register_forward_hook(lambda _, __, out, i=i: kept.update({i + 1: out}))
        for i, block in enumerate(lm.layers)
    ]
    hits: dict[int, list[bool]] = {2: [], 4: [], 6: []}
    for seed in range(FRESH, FRESH + 12):
        scene = make_scene(seed, "one")
        made = prepared(processor, scene.image, "What is this?")
        with torch.no_grad():
            model(**made)
        at = made["input_ids"][0] == model.config.image_token_id
        labels = labels_of(scene, 10, 10)
        true = {
            processor.tokenizer(f" {form}", add_special_tokens=False)["input_ids"][0]
            for key in scene.objects[0].keys
            for form in names(key)
        }
        for layer, found in hits.items():
            top = model.lm_head(lm.norm(kept[layer][0, at])).topk(5).indices.tolist()
            own = [p for p, keys in enumerate(labels) if scene.objects[0].name in keys]
            found += [bool(true & set(top[p])) for p in own]
    for hook in hooks:
        hook.remove()
    assert max(np.mean(found) for found in hits.values()) >= 0.7


def patch_states(name, model, processor, picture):
    with torch.no_grad():
        if name == "demo":
            pixels = processor.image_processor(images=picture, return_tensors="pt")["pixel_values"]
            features = model.model.vision_tower(pixels, output_hidden_states=True).hidden_states[-1]
            return model.model.multi_modal_projector(features[:, 1:])[0].numpy()
        made = processor.image_processor(images=[[picture]], return_tensors="pt")
        vision = model.model.vision_model(
            made["pixel_values"], made["aspect_ratio_ids"], made["aspect_ratio_mask"]
        )
        states = model.model.multi_modal_projector(vision.last_hidden_state)[0, 0, :, 1:]
        return states.flatten(0, 1).numpy()


def test_domain_lets_scenes_pass_and_catches_noise(loaded):
    name, model, processor = loaded
    domain = SceneDomain.load(bundled_models()[name])
    scenes = [make_scene(FRESH + i).image for i in range(40)]
    passed = [not domain.unlike(patch_states(name, model, processor, s)) for s in scenes]
    assert sum(passed) >= 38
    rng = np.random.default_rng(0)
    noise = [rng.integers(0, 256, (140, 140, 3), dtype=np.uint8) for _ in range(10)]
    assert sum(domain.unlike(patch_states(name, model, processor, n)) for n in noise) >= 9
    with pytest.raises(ValueError, match=r"\[patch, 128\]"):
        domain.score(np.zeros((100, 64), np.float32))
