"""The account of attention: exact where it is known, transformers' own weights, nothing left behind."""

import json
import weakref

import numpy as np
import pytest
import torch
from PIL import Image

from attention_known import make_pointed, make_uniform
from patchlens import CrossLens, LogitLens
from patchlens.attention import CLASSES, SinkRule, account, contributions, find_queries, with_account
from patchlens.attention.report import to_json
from patchlens.errors import NumericsError, SelectionError
from patchlens.reading.records import Answer
from patchlens.reading.validate import check
from patchlens.run import Model
from test_attention import EVERY, MIDDLE, cast, eager_attentions, encoded, fingerprint
from tiny import VISION, tiny_llama, tiny_llava, tiny_mllama, tiny_qwen_vl

NOISE = Image.effect_noise((80, 52), 90).convert("RGB")
SMALL = Image.effect_noise((40, 28), 90).convert("RGB")
NO_ANSWER = Answer("", ())
NO_SINKS = SinkRule(factor=1e9)


def counts(kind, upto):
    """Positions of each class among the first ``upto``, none of them a sink."""
    return np.array([(kind[:upto] == name).sum() for name in CLASSES])


@EVERY
def test_shares_sum_to_one_and_heads_kept_are_transformers_own(family):
    adapter, inputs = encoded(family)
    theirs = eager_attentions(adapter, inputs)
    heads = range(theirs[0].shape[1])
    query = "dog"
    own = account(adapter, inputs, NO_ANSWER, query, heads=heads)
    assert own.layers == tuple(range(1, adapter.n_layers + 1))
    for block, weights in zip(own.blocks, theirs, strict=True):
        expected = weights[0][:, list(own.queries.positions)]
        np.testing.assert_array_equal(block.head_attention, expected.float())
        np.testing.assert_allclose(block.attention, expected.mean(0), atol=1e-7, rtol=1e-6)
        for parts in (block.shares, block.norm_shares):
            np.testing.assert_allclose(parts.sum(-1), 1, atol=1e-6, rtol=0)
            assert (parts >= 0).all()
        assert block.shares.shape == (len(heads), len(own.queries), len(CLASSES))
    if family not in VISION:
        assert not own.share("patch").any() and not own.share("image_other").any()
        assert own.notes == ("no picture was given, so nothing can fall on patches",)


@EVERY
def test_norm_shares_are_those_of_the_terms(family):
    adapter, inputs = encoded(family)
    own = account(adapter, inputs, NO_ANSWER, rule=NO_SINKS)
    taken = contributions(adapter, inputs, queries=own.queries.positions)
    for block, terms in zip(own.blocks, taken.blocks, strict=True):
        kind = own.sources[block.over].kind
        norms = terms.norms()
        np.testing.assert_allclose(block.norms, norms.mean(0), rtol=1e-5)
        for number, name in enumerate(CLASSES[:-1]):
            part = norms[..., torch.from_numpy(kind == name)].sum(-1) / norms.sum(-1)
            np.testing.assert_allclose(block.norm_shares[..., number], part, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("make", [tiny_llava, tiny_qwen_vl, tiny_llama])
def test_uniform_attention_is_accounted_for_exactly(make):
    adapter = make_uniform(make())
    inputs = adapter.encode("the red cat beside the dog?", [] if make is tiny_llama else [NOISE])
    own = account(adapter, inputs, NO_ANSWER, "dog", rule=NO_SINKS)
    for row, position in enumerate(own.queries.positions):
        n = position + 1
        expected = torch.from_numpy(counts(inputs.places.kind, n) / n).float()
        assert make is tiny_llama or expected[0] > 0
        for block in own.blocks:
            for head in range(4):
                np.testing.assert_allclose(block.shares[head, row], expected, atol=1e-6, rtol=0)
                assert block.entropy[head, row].item() == pytest.approx(np.log(n), abs=1e-5)
                assert block.mean_position[head, row].item() == pytest.approx(position / 2, abs=1e-4)


@pytest.mark.parametrize("prompt", ["what is it?", "the cat stands on the grass"])
def test_attention_on_one_source_is_accounted_for_exactly(prompt):
    adapter = make_pointed(tiny_llava())
    trace = Model(adapter).trace(NOISE, prompt, max_new_tokens=4, steps=True)
    own = trace.attend("steps", rule=NO_SINKS)
    normed = adapter.blocks[0].input_layernorm(trace.resid[0]).detach()
    first = own.at(1)
    for row, position in enumerate(own.queries.positions):
        target = int(normed[: position + 1, 0].argmax())
        name = str(trace.inputs.places.kind[target])
        expected = [float(name == other) for other in CLASSES]
        assert first.shares[:, row].tolist() == [expected] * 4
        assert first.norm_shares[:, row].tolist() == [expected] * 4
        assert first.entropy[:, row].tolist() == [0.0] * 4
        assert first.mean_position[:, row].tolist() == [float(target)] * 4
        places = trace.inputs.places
        grid = own.patch_map(1, row)
        assert np.nansum(grid) == float(name == "patch")
        if name == "patch":
            assert grid[places.row[target], places.col[target]] == 1


def test_a_sink_that_gets_everything_is_no_patch():
    adapter = make_pointed(tiny_llava())
    trace = Model(adapter).trace(NOISE, "what is it?", max_new_tokens=0)
    normed = adapter.blocks[0].input_layernorm(trace.resid[0]).detach()
    target = int(normed[:, 0].argmax())
    state = trace.resid[0, target]
    dimension = int(state.abs().argmax())
    ratio = float(state[dimension].abs() / state.square().mean().sqrt())
    rule = SinkRule(None, (dimension,), ratio * 0.999)
    own = trace.attend(rule=rule)
    assert bool(own.at(1).sink[target])
    assert own.at(1).shares[:, 0].tolist() == [[0.0, 0.0, 0.0, 0.0, 1.0]] * 4


def test_uniform_cross_attention_sees_real_tiles_alone():
    adapter = make_uniform(tiny_mllama())
    inputs = adapter.encode(MIDDLE, [SMALL])
    grid, places = inputs.grids[0], inputs.vision_places
    real = places.tile < len(grid.tiles)
    assert not real.all()
    own = account(adapter, inputs, NO_ANSWER, rule=NO_SINKS)
    expected = [(places.kind[real] == name).sum() / real.sum() for name in CLASSES]
    for layer in (2, 5):
        np.testing.assert_allclose(own.at(layer).shares[:, 0], [expected] * 4, atol=1e-6)
        tiles = own.tiles(layer)
        assert [tile.padding for tile in tiles] == [t >= len(grid.tiles) for t in range(4)]
        for tile in tiles:
            share = tile.share.item()
            assert share == 0 if tile.padding else share == pytest.approx(1 / len(grid.tiles), abs=1e-6)
        assert np.isnan(own.at(layer).mean_position).all()


def test_padding_gets_exactly_nothing_and_rows_before_the_picture_are_masked():
    adapter, inputs = encoded("mllama", MIDDLE, [SMALL])
    marker = int(np.flatnonzero(inputs.ids == adapter.image_token_id)[0])
    before = account(adapter, inputs, NO_ANSWER, "cat", heads=[0, 1])
    assert max(before.queries.positions) < marker
    for block in before.blocks:
        blind = block.over == "vision"
        for values in (block.shares, block.norm_shares, block.entropy, block.attention, block.norms):
            assert np.isnan(values).all() == blind and np.isnan(values).any() == blind
        assert np.isnan(block.head_attention).all() == blind
    assert any("cannot see it" in note and "NaN" in note for note in before.notes)
    after = account(adapter, inputs, NO_ANSWER, "left")
    assert min(after.queries.positions) > marker
    assert not any("cannot see" in note for note in after.notes)
    for layer in (2, 5):
        padding = [tile for tile in after.tiles(layer) if tile.padding]
        assert padding and all(not tile.share.any() for tile in padding)
        assert sum(tile.share for tile in after.tiles(layer)) == pytest.approx(1, abs=1e-6)


def test_text_before_a_picture_in_the_sequence_is_told():
    adapter = tiny_llava()
    inputs = adapter.encode("the red cat <image> what is left of it?", [NOISE])
    own = account(adapter, inputs, NO_ANSWER, "cat", rule=NO_SINKS)
    assert not own.share("patch").any()
    assert "cannot see it" in own.notes[0]


def test_a_text_only_pass_of_a_cross_attention_model_has_its_other_blocks():
    adapter, inputs = encoded("mllama", pictures=[])
    own = account(adapter, inputs, NO_ANSWER)
    assert own.layers == (1, 3, 4, 6, 7)
    assert len(own.notes) == 2 and "do not run without a picture" in own.notes[1]
    with pytest.raises(SelectionError, match="attends to nothing at these layers without a picture"):
        account(adapter, inputs, NO_ANSWER, layers=[2, 5])
    with pytest.raises(SelectionError, match="no map without a picture"):
        own.patch_map(1)
    with pytest.raises(SelectionError, match="give a picture"):
        account(adapter, inputs, NO_ANSWER, generic=inputs)


def test_steps_are_those_of_the_answer_one_by_one():
    model = Model(tiny_llava())
    trace = model.trace(NOISE, "what is it?", max_new_tokens=5, steps=True)
    own = trace.attend("steps")
    first = trace.inputs.n_prompt - 1
    assert own.queries.positions == tuple(range(first, first + 5))
    assert own.to_pandas("query")[list(CLASSES)].shape == (5, len(CLASSES))
    for step in range(5):
        inputs = model.adapter.encode("what is it?", [NOISE], answer_ids=trace.answer.ids[:step])
        alone = account(model.adapter, inputs, NO_ANSWER, "last", rule=NO_SINKS)
        again = trace.attend("steps", rule=NO_SINKS)
        for one, all_ in zip(alone.blocks, again.blocks, strict=True):
            np.testing.assert_allclose(one.shares[:, 0], all_.shares[:, step], atol=2e-6, rtol=0)
    assert trace.attend("last").queries.positions == (first + 4,)
    short = model.trace(NOISE, "what is it?", max_new_tokens=5)
    with pytest.raises(SelectionError, match="steps=True"):
        short.attend("steps")


@EVERY
def test_a_word_is_found_where_it_stands(family):
    adapter, inputs = encoded(family, "a cat beside the DOG and a dog?")
    for word, spelled in (("dog", "dogdog"), ("the dog", "thedog"), (" cat ", "cat")):
        queries = find_queries(adapter, inputs, (), word)
        assert queries.name == "word"
        assert "".join(queries.pieces).replace("▁", "").lower() == spelled
        assert list(queries.positions) == sorted(queries.positions)
        assert all(inputs.places.kind[position] == "text" for position in queries.positions)
    for wrong, words in (("zebra", "no 'zebra'"), ("  ", "is empty")):
        with pytest.raises(SelectionError, match=words):
            find_queries(adapter, inputs, (), wrong)


def test_a_word_is_not_a_part_of_another():
    adapter = tiny_llava()
    inputs = adapter.encode("cats and a cat and concat", [NOISE])
    queries = find_queries(adapter, inputs, (), "cat")
    assert [piece.strip("▁") for piece in queries.pieces] == ["cat"]
    assert queries.positions[0] == len(inputs) - len(adapter.tokenizer(" and concat").input_ids)


def test_a_word_is_looked_for_in_what_was_typed_not_in_the_template():
    adapter = tiny_llava(chat=True)
    inputs = adapter.encode("is the user a cat?", [NOISE])
    assert "USER" in inputs.text
    queries = find_queries(adapter, inputs, (), "user")
    assert "".join(queries.pieces).replace("▁", "") == "user"


def test_a_word_in_writing_without_spaces_is_found():
    adapter = tiny_llava()
    inputs = adapter.encode("这是什么?", [NOISE])
    queries = find_queries(adapter, inputs, (), "什么")
    assert adapter.tokenizer.decode(inputs.ids[list(queries.positions)]) == "什么"


def test_a_position_can_be_asked_for_by_its_number():
    trace = Model(tiny_llava()).trace(NOISE, "a cat and a cat", max_new_tokens=0)
    own = trace.attend(-2, layers=3, heads=1)
    assert own.queries.positions == (len(trace.inputs) - 2,) and own.layers == (3,) and own.heads == (1,)
    names = {channel.name for channel in with_account(trace.read(), own).channels}
    assert "attention_position_mean" in names
    with pytest.raises(SelectionError, match=r"position 10000 is not .* 0\.\."):
        find_queries(trace.adapter, trace.inputs, (), 10_000)


def test_figures_are_columns_by_name():
    trace = Model(tiny_mllama()).trace(NOISE, "what is left of the cat?", max_new_tokens=3, steps=True)
    own = trace.attend("steps", heads=[1, 3])
    table = own.to_pandas()
    assert len(table) == 7 * 4 * 3
    cell = table[(table.layer == 5) & (table["head"] == 2) & (table["query"] == 1)].iloc[0]
    block = own.at(5)
    assert cell[list(CLASSES)].tolist() == block.shares[2, 1].tolist()
    assert cell.contribution_patch == block.norm_shares[2, 1, 0] and cell.entropy == block.entropy[2, 1]
    assert (cell.position, cell.piece) == (own.queries.positions[1], own.queries.pieces[1])
    seeing = table[table["head"].isin([1, 3]) & (table.over == "vision")]
    by_query = own.to_pandas("query")
    expected = seeing.groupby("query").patch.mean()
    np.testing.assert_allclose(by_query.patch, expected, rtol=1e-6)
    by_layer = own.to_pandas("layer").set_index("layer")
    expected = table[table["head"].isin([1, 3])].groupby("layer")[["text", "entropy", "write"]].mean()
    np.testing.assert_allclose(by_layer[["text", "entropy", "write"]], expected, rtol=1e-5)
    with pytest.raises(SelectionError, match="choose of head, layer, query"):
        own.to_pandas("word")


@pytest.mark.parametrize("make", [tiny_llava, tiny_mllama])
def test_relative_attention_is_the_ratio_patch_by_patch(make):
    trace = Model(make()).trace(NOISE, "what is left of the cat?", max_new_tokens=2)
    own = trace.attend(relative="a picture of a dog on the grass", heads=[1, 3])
    generic = account(
        trace.adapter,
        trace.adapter.encode("a picture of a dog on the grass", [NOISE]),
        NO_ANSWER,
        heads=[1, 3],
    )
    axis = own.picture_axis
    for block, other in zip(own.blocks, generic.blocks, strict=True):
        if block.over != axis:
            assert np.isnan(own.rows(block, "relative")).all()
            continue
        a, b = (one.patch_map(block.layer) for one in (own, generic))
        np.testing.assert_allclose(own.patch_map(block.layer, of="relative"), a / b)
        np.testing.assert_allclose(own.patch_map(block.layer, of="difference"), a - b)
        patches = own.sources[axis].kind == "patch"
        assert np.isnan(own.rows(block, "relative")[:, ~patches]).all()
        assert other.over == axis
    same = trace.attend(relative="what is left of the cat?")
    grid = same.patch_map(same.looking[0].layer, of="relative")
    assert np.nanmin(grid) == np.nanmax(grid) == 1
    with pytest.raises(SelectionError, match="choose the query answer"):
        trace.attend("cat", relative=True)


def test_only_rows_of_queries_outlive_a_block():
    adapter = tiny_llava()
    inputs = adapter.encode("what is left of the dog?", [NOISE])
    full = [[], []]  # every block's whole weights, and how many were alive when the next one began
    handles = []
    for block in adapter.blocks:
        handles += [
            block.register_forward_pre_hook(
                lambda *_: full[1].append(sum(ref() is not None for ref in full[0]))
            ),
            block.self_attn.register_forward_hook(
                lambda _, __, output: full[0].append(weakref.ref(output[1]))
            ),
        ]
    own = account(adapter, inputs, NO_ANSWER, heads=[2])
    for handle in handles:
        handle.remove()
    assert full[1] == [0] * adapter.n_layers and len(full[0]) == adapter.n_layers
    n = len(inputs)
    for block in own.blocks:
        held = [value for value in vars(block).values() if isinstance(value, np.ndarray)]
        assert len(held) == 9 and sum(own.nbytes for own in held) < 6 * 4 * n
        assert all(own.base is None or own.base.nbytes == own.nbytes for own in held)


@EVERY
def test_the_model_is_left_as_it_was(family):
    adapter, inputs = encoded(family)
    account(adapter, inputs, NO_ANSWER)
    adapter.model.train()
    before = fingerprint(adapter)
    account(adapter, inputs, NO_ANSWER, "dog")
    assert fingerprint(adapter) == before

    def fail(*_):
        raise KeyboardInterrupt

    handle = adapter.heads(2).following.register_forward_hook(fail)
    with pytest.raises(KeyboardInterrupt):
        account(adapter, inputs, NO_ANSWER)
    handle.remove()
    assert fingerprint(adapter) == before
    with pytest.raises(SelectionError):
        account(adapter, inputs, NO_ANSWER, rule=SinkRule(dimensions=(4000,)))
    assert fingerprint(adapter) == before


def test_weights_that_go_nowhere_are_refused():
    adapter, inputs = encoded("llama")
    attention = adapter.blocks[1].self_attn
    handle = attention.register_forward_hook(lambda _, __, output: (output[0], output[1] * 0.9))
    adapter.check_write = lambda *_: None
    with pytest.raises(NumericsError, match=r"block 1 were expected to sum to 1 .* off by 0\.1"):
        account(adapter, inputs, NO_ANSWER)
    handle.remove()


def test_bfloat16_shares_still_sum_to_one():
    adapter = tiny_llava(dtype=torch.bfloat16)
    inputs = cast(adapter.encode("what is it?", [NOISE]), torch.bfloat16)
    for block in account(adapter, inputs, NO_ANSWER).blocks:
        np.testing.assert_allclose(block.shares.sum(-1), 1, atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"layers": [0]}, "no block puts out layer 0"),
        ({"layers": [9]}, "layer 9 does not exist"),
        ({"heads": [4]}, "head 4 does not exist: this model has heads 0 to 3"),
        ({"heads": [-1]}, "head -1 does not exist"),
        ({"heads": []}, "no head was chosen"),
        ({"rule": SinkRule(dimensions=(32,))}, "dimension 32 does not exist"),
    ],
)
def test_what_does_not_exist_is_refused(more, words):
    adapter, inputs = encoded("llama")
    with pytest.raises(SelectionError, match=words):
        account(adapter, inputs, NO_ANSWER, **more)


def test_what_an_account_does_not_hold_is_refused():
    own = Model(tiny_mllama()).trace(NOISE, "what is it?", max_new_tokens=1).attend(layers=[1, 2])
    for wrong, words in (
        (lambda: own.at(5), "layer 5 is not in this account: it holds 1, 2"),
        (lambda: own.share("patches"), "no class 'patches'"),
        (lambda: own.patch_map(1), "attends to text alone"),
        (lambda: own.patch_map(2, image=1), "no picture 1"),
        (lambda: own.patch_map(2, 3), "no query 3"),
        (lambda: own.patch_map(2, of="heat"), "no map 'heat'"),
        (lambda: own.patch_map(2, of="relative"), "ask for it"),
    ):
        with pytest.raises(SelectionError, match=words):
            wrong()


@pytest.mark.parametrize("make", [tiny_llava, tiny_mllama])
@pytest.mark.parametrize("query", ["answer", "steps", "cat"])
def test_an_account_becomes_channels_of_a_reading(make, query):
    trace = Model(make()).trace(NOISE, "a cat beside the cat?", max_new_tokens=3, steps=True)
    own = trace.attend(query, heads=[3, 1], relative=query == "answer")
    reading = with_account(trace.read(LogitLens()), own)
    check(reading)
    name = "word" if query == "cat" else query
    channels = {channel.name: channel for channel in reading.channels}
    middle = {"answer": (), "steps": ("step",), "cat": ("query",)}[query]
    axis = "vision" if make is tiny_mllama else "pos"
    assert channels[f"attention_{name}_mean"].axes == ("layer", *middle, axis)
    by_head = channels[f"attention_{name}"]
    assert by_head.axes == ("layer", "head", *middle, axis)
    assert channels[f"attention_{name}_shares"].axes == ("layer", "head", *middle, "class")
    assert (f"attention_{name}_relative" in channels) == (query == "answer")
    for block in own.blocks:
        row = reading.layer_row(block.layer)
        shares = channels[f"attention_{name}_shares"].values[row]
        np.testing.assert_array_equal(shares, block.shares if middle else block.shares[:, 0])
        if block.over != axis:
            assert np.isnan(by_head.values[row]).all()
            continue
        for number, head in enumerate((3, 1)):
            expected = block.head_attention[number]
            np.testing.assert_array_equal(by_head.values[row, head], expected if middle else expected[0])
        assert np.isnan(by_head.values[row, [0, 2]]).all()
        norms = channels[f"contribution_{name}_norm"].values[row]
        np.testing.assert_array_equal(norms, block.norms if middle else block.norms[0])
    assert np.isnan(by_head.values[0]).all()
    if query == "answer":
        plain = trace.read(LogitLens(), channels=["attention"])
        values = plain.channels[0].values
        np.testing.assert_array_equal(values[:, [1, 3]], by_head.values[:, [1, 3]])
        replaced = with_account(plain, own)
        assert [c.name for c in replaced.channels].count("attention_answer") == 1
    few = Model(trace.adapter).trace(NOISE, "a cat beside the cat?", layers=[0], max_new_tokens=1).read()
    with pytest.raises(SelectionError, match="none of the layers"):
        with_account(few, own)


def test_patches_laid_out_by_the_cross_lens_carry_the_maps():
    trace = Model(tiny_mllama()).trace(NOISE, "what is it?", max_new_tokens=1)
    own = trace.attend()
    reading = with_account(trace.read(CrossLens()), own)
    check(reading)
    channel = next(c for c in reading.channels if c.name == "attention_answer_mean")
    assert channel.axes == ("layer", "pos")
    for row, layer in enumerate(reading.layers.tolist()):
        np.testing.assert_array_equal(reading.on_grid(channel.values[row]), own.patch_map(layer))


def test_the_report_has_every_share_and_no_nan():
    adapter, inputs = encoded("mllama", MIDDLE, [SMALL])
    own = account(adapter, inputs, NO_ANSWER, "cat", heads=[2])
    report = json.loads(to_json(own))
    assert [layer["layer"] for layer in report["layers"]] == list(range(1, 8))
    blind = report["layers"][1]["queries"][0]
    assert blind["shares"] == dict.fromkeys(CLASSES) and blind["entropy"] is None
    seeing = report["layers"][0]["queries"][0]
    assert sum(seeing["shares"].values()) == pytest.approx(1, abs=1e-6)
    assert [head["head"] for head in seeing["heads"]] == [2]
    assert report["sink_rule"]["factor"] == 10 and "over 10 times" in report["sink_rule"]["says"]
