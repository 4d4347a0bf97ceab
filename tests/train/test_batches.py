"""The training code's own arithmetic: packing, rasters, tiles."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoProcessor, AutoTokenizer

from labels_of import labels_of
from patchlens.demo import bundled_models
from patchlens.scenes.scene import make_scene
from patchlens.scenes.vocabulary import names

sys.path.insert(0, str(Path(__file__).parents[2]))

from train.batches import IGNORE, Packer
from train.evaluate import interval
from train.render import slots
from train.vision import pixels, tiles

pytestmark = pytest.mark.filterwarnings("ignore")
TOKENIZER = AutoTokenizer.from_pretrained(bundled_models()["demo"])
PACKER = Packer(TOKENIZER, len(TOKENIZER) - 1, 100, 192)


def test_the_prefix_is_what_the_processor_makes():
    processor = AutoProcessor.from_pretrained(bundled_models()["demo"])
    turn = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Was ist das?"}]}
    text = processor.apply_chat_template([turn], add_generation_prompt=True)
    ids = processor(images=make_scene(1).image, text=text)["input_ids"][0]
    assert list(ids) == [*PACKER.prefix, *PACKER.encode("Was ist das? ASSISTANT:")]


def test_questions_see_the_picture_and_themselves_only():
    turns = [PACKER.picture_turns(make_scene(3), np.random.default_rng(0))]
    batch = PACKER.batch(turns, np.asarray([0]), picture=True)
    start, first, second = len(PACKER.prefix), len(turns[0][0][0]), len(turns[0][1][0])
    mask, at = batch.mask[0, 0], start + first
    assert mask[at : at + second, :start].all()
    assert not mask[at : at + second, start:at].any()
    assert torch.equal(mask[at : at + second, at : at + second], torch.ones(second, second).tril().bool())
    assert batch.positions[0, at] == batch.positions[0, start] == start


def test_only_answers_are_trained_and_each_target_is_the_next_token():
    turns = [PACKER.picture_turns(make_scene(4), np.random.default_rng(1))]
    batch = PACKER.batch(turns, np.asarray([0]), picture=True)
    at = torch.nonzero(batch.targets[0] != IGNORE)[:, 0]
    assert torch.equal(batch.targets[0, at], batch.ids[0, at + 1])
    assert len(at) == sum(len(turn) - start for turn, start in turns[0])
    assert at.min() >= len(PACKER.prefix)


def test_a_raster_names_what_covers_each_patch():
    rng = np.random.default_rng(2)
    for seed in range(20):
        scene = make_scene(seed, "several")
        words = PACKER.raster(scene, slots(scene, 10), rng)
        for word, keys in zip(words, labels_of(scene, 10, 10, 0.999), strict=True):
            pieces = {PACKER.encode(f" {form}")[0] for key in keys for form in names(key)}
            assert not keys or word in pieces


@pytest.mark.parametrize("side", [140, 70])
def test_tiles_are_what_the_processor_cuts(side):
    processor = AutoProcessor.from_pretrained(bundled_models()["demo-cross"]).image_processor
    scene = make_scene(5, "one", side)
    made = processor(images=[[scene.image]], return_tensors="pt")
    cut, ratio, mask = tiles(pixels(scene.picture[None], torch.device("cpu")), 70)
    assert torch.equal(made["aspect_ratio_ids"], ratio)
    assert torch.equal(made["aspect_ratio_mask"], mask)
    assert torch.allclose(made["pixel_values"], cut, atol=1e-5)


def test_wilson_interval_against_known_values():
    low, high = interval(81, 263)
    assert (low, high) == pytest.approx((0.2553, 0.3662), abs=1e-4)
