"""Several prompts in one pass say and hold what each does alone."""

import pytest
import torch
from PIL import Image

from patchlens.capture import capture, capture_together
from patchlens.demo import demo_pictures
from patchlens.models.encode import likeness
from patchlens.models.generate import generate_greedy
from patchlens.pictures.open import open_picture
from patchlens.run import alike, load, run_together
from patchlens.trace import Request
from tiny import BUILDERS, VISION

EVERY = pytest.mark.parametrize("family", BUILDERS)
PROMPTS = ("what is left of the dog?", "what is left of the cat?", "what is left of the red?")


def noise(seed):
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 255, (52, 80, 3), generator=generator, dtype=torch.uint8)
    return Image.fromarray(pixels.numpy())


def batch_of(family):
    adapter = BUILDERS[family]()
    inputs = [
        adapter.encode(prompt, [noise(number)] if family in VISION else [])
        for number, prompt in enumerate(PROMPTS)
    ]
    assert len({likeness(own) for own in inputs}) == 1
    return adapter, inputs


@EVERY
def test_every_row_has_the_states_it_has_alone(family):
    adapter, inputs = batch_of(family)
    answers = [[7], [], [8, 9, 7]]
    told = [adapter.continued(own, answer) for own, answer in zip(inputs, answers, strict=True)]
    together = capture_together(adapter, told, positions=[None, [2, -1], None])
    for own, row, positions in zip(told, together, [None, [2, -1], None], strict=True):
        alone = capture(adapter, own, positions=positions)
        assert row.positions == alone.positions
        torch.testing.assert_close(row.resid, alone.resid)
        torch.testing.assert_close(row.final, alone.final)
        torch.testing.assert_close(row.logits, alone.logits)
        assert (row.vision is None) == (alone.vision is None)
        if alone.vision is not None:
            torch.testing.assert_close(row.vision, alone.vision)


def test_one_states_of_another_row_would_be_noticed():
    adapter, inputs = batch_of("llava")
    first, second, _ = capture_together(adapter, inputs)
    assert not torch.allclose(first.resid, second.resid, atol=1e-3)


@pytest.mark.parametrize("name", ["demo", "demo-cross"])
def test_bundled_models_answer_and_read_the_same_together(name):
    model = load(name)
    pictures = [open_picture(str(picture.file)) for picture in demo_pictures()]
    prompts = ["What is in the picture?"] * 4 + ["Describe the picture."] * 4
    asked = [model.prepare([picture], prompt) for picture, prompt in zip(pictures, prompts, strict=True)]
    group = [asked[number] for number in alike(asked)[0]]
    assert len(group) >= 4
    together = run_together(model.adapter, group, Request(steps=True))
    assert len({len(trace.answer.ids) for trace in together}) > 1
    for (pictures, inputs), trace in zip(group, together, strict=True):
        alone = model.trace(pictures[0], inputs.prompt, steps=True)
        assert trace.answer == alone.answer
        assert list(trace.answer.ids) == generate_greedy(model.adapter, inputs, 20)
        assert trace.notes == alone.notes
        got, expected = trace.read(), alone.read()
        assert (got.top_ids[-1] == expected.top_ids[-1]).all()
        torch.testing.assert_close(
            torch.from_numpy(got.entropy), torch.from_numpy(expected.entropy), atol=1e-3, rtol=1e-3
        )
        assert got.positions.step.tolist() == expected.positions.step.tolist()
