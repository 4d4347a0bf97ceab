"""What the page is given: decoded here by other means, every number of the reading is found again."""

from __future__ import annotations

import dataclasses
import json
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from patchlens.pictures.grid import Places
from patchlens.reading.reading import Reading
from patchlens.reading.records import Channel, Positions, Target
from patchlens.views.coding import choose, deflate, magnitude_codes, signed_codes
from patchlens.views.html import page
from patchlens.views.payload import KINDS, pack
from readings import make_reading
from views import sample
from views.unpacked import boxes, inflated, integers, reals, split, tokens


@pytest.mark.parametrize(
    "reading",
    [
        make_reading(pictures=2, steps=3, layout="crop", rows=5, cols=6),
        make_reading(cross=True, layout="tiles", steps=2),
        make_reading(pictures=0, layers=(0, 2, 4)),
        make_reading(
            targets=(), words=[f"w{i}" for i in range(700)], prompt_tokens=(3, 699), n_layers=9, k=10
        ),
        sample.sample(),
    ],
    ids=["two pictures", "cross-attention", "text only", "many words", "channels"],
)
def test_the_payload_holds_the_readings_numbers(reading: Reading) -> None:
    _check(reading)


@settings(max_examples=60, deadline=None)
@given(
    layers=st.integers(1, 5),
    positions=st.integers(1, 12),
    k=st.integers(1, 9),
    targets=st.integers(0, 3),
    vocabulary=st.sampled_from([12, 300, 5000, 200_000]),
    like_before=st.sampled_from([0.0, 0.6, 1.0]),
    seed=st.integers(0, 2**32 - 1),
)
@example(layers=1, positions=1, k=1, targets=0, vocabulary=12, like_before=0.0, seed=0)
@example(layers=2, positions=400, k=100, targets=1, vocabulary=200_000, like_before=0.1, seed=0)
def test_any_reading_is_held_exactly(**shape: Any) -> None:
    _check(_random_reading(**shape))


def test_a_table_of_70000_tokens_needs_three_bytes_a_token() -> None:
    reading = _random_reading(
        layers=1, positions=700, k=100, targets=1, vocabulary=70_000, like_before=0, seed=0, distinct=True
    )
    header, _ = split(pack(reading))
    assert len(header["tokens"]) == 70_000
    assert header["arrays"]["top_escapes"]["planes"] == 3
    _check(reading)


@pytest.mark.parametrize("k", [1, 200, 400])
def test_more_candidates_than_a_byte_can_tell_become_escapes(k: int) -> None:
    ids = np.stack([np.arange(k), np.arange(k) + k, np.arange(k)[::-1]])[None].repeat(2, 0)
    choices, escapes = choose(ids)
    assert (choices == 255).sum() == len(escapes)
    base = make_reading(pictures=0, prompt_tokens=(3, 4), n_layers=1, k=1, targets=())
    _check(_with_cells(base, ids.astype(np.int32), np.zeros(ids.shape, np.float32)))


def test_a_token_twice_in_a_cell_is_kept() -> None:
    ids = np.array([[[7, 7, 5]], [[7, 5, 7]], [[5, 5, 5]]], np.int32)
    base = make_reading(pictures=0, prompt_tokens=(), n_layers=2, k=3, targets=())
    _check(_with_cells(base, ids, np.zeros(ids.shape, np.float32)))


def test_the_token_of_a_position_may_be_unknown() -> None:
    reading = make_reading()
    alien = np.full_like(reading.positions.token, 123_456)
    header, body = split(
        pack(dataclasses.replace(reading, positions=dataclasses.replace(reading.positions, token=alien)))
    )
    assert set(integers(body, header["positions"]["token"]).tolist()) == {-1}


def test_tokens_stand_in_order_of_frequency() -> None:
    reading = make_reading(n_layers=9)
    header, body = split(pack(reading))
    counts = [int((reading.top_ids == i).sum()) for i in integers(body, header["token_ids"])]
    assert counts == sorted(counts, reverse=True)


def test_codes_keep_the_ends_and_what_is_missing() -> None:
    values = np.array([0.0, 2.0, 8.0, np.nan, np.inf, 9.0])
    assert magnitude_codes(values, 8.0).tolist() == [0, 127, 254, 255, 255, 254]
    values = np.array([0.0, -0.0, 0.5, -0.5, 8.0, -8.0, np.nan, -np.inf, -9.0])
    assert signed_codes(values, 8.0).tolist() == [127, 127, 159, 95, 254, 0, 255, 255, 0]


def test_only_a_channel_with_negative_values_takes_the_signed_code() -> None:
    axes = ("pos",)
    values = ([0.0, 1e-9, 3.0], [np.nan] * 3, [-1.0, 0.0, 1e-4], [1, 2, 3], [True, False, True])
    channels = tuple(Channel(str(i), axes, np.array(v), "u", "d") for i, v in enumerate(values))
    header, body = split(pack(dataclasses.replace(make_reading(), channels=channels)))
    specs = [channel["array"] for channel in header["channels"]]
    assert [spec["code"] for spec in specs] == ["magnitude", "magnitude", "signed", "magnitude", "magnitude"]
    assert reals(body, specs[0])[0] == reals(body, specs[2])[1] == 0
    assert np.isnan(reals(body, specs[1])).all()


@pytest.mark.parametrize(("positions", "budget"), [(600, 0.7e6), (2880, 3e6)])
def test_a_page_of_real_size_keeps_its_budget(positions: int, budget: float) -> None:
    picture, targets = 0.1e6, 1
    base = make_reading(n_layers=32, layers=range(33), k=1, pictures=0, prompt_tokens=(3,), targets=())
    rng = np.random.default_rng(0)
    gaps = rng.exponential(0.8 * 0.75 ** np.arange(10), (33, positions, 10))
    logprobs = -np.cumsum(gaps, -1).astype(np.float32)
    reading = _with_cells(base, _drifting_ids(rng, (33, positions, 10)), logprobs)
    walk = np.clip(8 + np.cumsum(rng.normal(0, 0.5, (33, positions, targets)), 0), 0, 10)
    reading = dataclasses.replace(
        reading,
        targets=tuple(Target("word", int(i), ("word",)) for i in reading.top_ids[0, 0, :targets]),
        target_logprobs=(-3 - walk).astype(np.float32),
        target_ranks=np.exp(walk).astype(np.int32),
    )
    assert len(page(reading)) + picture < budget


@given(st.lists(st.binary(max_size=300), max_size=5))
def test_parts_deflate_to_one_zlib_stream(parts: list[bytes]) -> None:
    assert zlib.decompress(deflate(parts)) == b"".join(parts)


def test_the_viewers_sample_is_what_is_packed_today() -> None:
    held, now = json.loads(sample.PATH.read_text("utf-8")), sample.contents(sample.sample())
    advice = "run: cd tests && python -m views.sample, and commit viewer/test/sample.json"
    assert inflated(held.pop("packed")) == inflated(now.pop("packed")), advice
    assert held == json.loads(json.dumps(now)), advice


def _check(reading: Reading) -> None:
    header, body = split(pack(reading))
    arrays = header["arrays"]
    ids = integers(body, header["token_ids"])
    assert header["format"] == 2
    assert header["tokens"] == [reading.pieces[int(i)] for i in ids]
    assert np.array_equal(ids[tokens(body, arrays)], reading.top_ids)
    assert tuple(ids[header["answer"]["tokens"]].tolist()) == reading.answer.ids
    assert [int(ids[target["token"]]) for target in header["targets"]] == [t.token for t in reading.targets]
    assert np.array_equal(np.moveaxis(integers(body, arrays["target_ranks"]), 0, 2), reading.target_ranks)
    _check_reals(-np.moveaxis(reals(body, arrays["top_logprobs"]), 0, 2), reading.top_logprobs)
    _check_reals(reals(body, arrays["entropy"]), reading.entropy)
    _check_reals(reals(body, arrays["kl_to_final"]), reading.kl_to_final)
    _check_reals(-np.moveaxis(reals(body, arrays["target_logprobs"]), 0, 2), reading.target_logprobs)
    _check_places(body, header["positions"], reading.positions)
    for name in ("index", "step", "generated"):
        assert np.array_equal(integers(body, header["positions"][name]), getattr(reading.positions, name))
    assert np.array_equal(ids[integers(body, header["positions"]["token"])], reading.positions.token)
    assert (header["vision"] is None) == (reading.vision is None)
    if reading.vision is not None:
        _check_places(body, header["vision"], reading.vision)
    for channel, spec in zip(reading.channels, header["channels"], strict=True):
        assert (spec["name"], tuple(spec["axes"])) == (channel.name, channel.axes)
        assert (spec["unit"], spec["description"]) == (channel.unit, channel.description)
        steps = 127 if (channel.values < 0).any() else 254
        _check_reals(reals(body, spec["array"]), channel.values, steps)


def _check_reals(found: NDArray[np.float64], true: NDArray[Any], steps: int = 254) -> None:
    """Half a step of the code, whose steps are even on the square-root scale."""
    assert found.shape == true.shape
    finite = np.isfinite(true)
    assert np.array_equal(np.isfinite(found), finite)
    found, true = found[finite], true[finite].astype(np.float64)
    scale = max(np.abs(true).max(initial=0), 1e-6)
    root = np.copysign(np.sqrt(np.abs(true) / scale), true)
    assert np.copysign(np.sqrt(np.abs(found) / scale), found) == pytest.approx(root, abs=0.5001 / steps)


def _check_places(body: bytes, specs: dict[str, Any], places: Places) -> None:
    assert [KINDS[i] for i in integers(body, specs["kind"])] == places.kind.tolist()
    for name in ("image", "tile", "row", "col"):
        assert np.array_equal(integers(body, specs[name]), getattr(places, name))
    assert boxes(body, specs["box"]) == pytest.approx(places.box, abs=0.0051, nan_ok=True)


def _random_reading(
    *,
    layers: int,
    positions: int,
    k: int,
    targets: int,
    vocabulary: int,
    like_before: float,
    seed: int,
    distinct: bool = False,
) -> Reading:
    """Any numbers in any shape; a share of the cells resembles the layer before."""
    rng = np.random.default_rng(seed)
    shape = (layers, positions, k)
    ids = _random_ids(rng, shape, vocabulary, like_before)
    if distinct:
        ids = rng.permutation(vocabulary)[: ids.size].reshape(shape).astype(np.int32)
    base = make_reading(pictures=0, prompt_tokens=(3,), n_layers=8, layers=range(layers), k=1, targets=())
    reading = _with_cells(base, ids, -np.sort(rng.exponential(3, shape).astype(np.float32)))
    followed = rng.choice(ids.ravel(), targets).tolist()
    return dataclasses.replace(
        reading,
        targets=tuple(Target("word", token, ("word",)) for token in followed),
        target_logprobs=-rng.exponential(9, (layers, positions, targets)).astype(np.float32),
        target_ranks=rng.integers(0, vocabulary, (layers, positions, targets), np.int32),
        channels=_random_channels(rng, layers, positions),
    )


def _random_ids(
    rng: np.random.Generator, shape: Sequence[int], vocabulary: int, like_before: float
) -> NDArray[np.int32]:
    layers, positions, k = shape
    ids = np.array(
        [[rng.choice(vocabulary, k, replace=False) for _ in range(positions)] for _ in range(layers)]
    )
    for layer in range(1, layers):
        same = rng.random(positions) < like_before
        ids[layer, same] = rng.permuted(ids[layer - 1, same], axis=-1)
    return ids.astype(np.int32)


def _drifting_ids(rng: np.random.Generator, shape: tuple[int, int, int]) -> NDArray[np.int32]:
    """As in LLaVA-1.5: 30% of the tokens stand in no list beside them, mostly low ranks; 10.4 bits each."""
    layers, _, k = shape
    ids = rng.lognormal(5.6, 1.5, shape).astype(np.int32)
    kept = rng.random(shape) < np.linspace(0.95, 0.45, k)
    for layer in range(1, layers):
        order = np.argsort(np.arange(k) + rng.normal(0, 2, shape[1:]), axis=-1)
        before = np.take_along_axis(ids[layer - 1], order, -1)
        ids[layer] = np.where(kept[layer], before, ids[layer])
    return ids


def _random_channels(rng: np.random.Generator, layers: int, positions: int) -> tuple[Channel, ...]:
    signed = rng.normal(0, 10 ** rng.uniform(-6, 6), (2, layers, positions))
    signed[rng.random(signed.shape) < 0.2] = np.nan
    share = rng.random((3, positions)).astype(np.float16)
    return (
        Channel("effect", ("window", "layer", "pos"), signed, "nats", "signed, with gaps"),
        Channel("share", ("head", "pos"), share, "share", "magnitudes"),
        Channel("total", (), np.float64(-2.5) * np.ones(()), "", "no axes"),
    )


def _with_cells(base: Reading, ids: NDArray[np.int32], logprobs: NDArray[np.float32]) -> Reading:
    """A reading of other cells; its positions are text, numbered anew."""
    rng = np.random.default_rng(ids.size)
    layers, positions, _ = ids.shape
    none, cells = np.full(positions, -1, np.int32), (layers, positions)
    return dataclasses.replace(
        base,
        top_ids=ids,
        top_logprobs=logprobs,
        entropy=rng.exponential(3, cells).astype(np.float32),
        kl_to_final=rng.exponential(3, cells).astype(np.float32),
        target_logprobs=np.zeros((*cells, 0), np.float32),
        target_ranks=np.zeros((*cells, 0), np.int32),
        pieces={int(i): f"t{i}" for i in {*np.unique(ids).tolist(), *base.answer.ids}},
        answer=dataclasses.replace(base.answer, ids=()),
        positions=Positions(
            np.full(positions, "text"), none, none, none, none, np.full((positions, 4), np.nan, np.float32),
            index=np.arange(positions, dtype=np.int32) + 500,
            token=rng.choice(ids.ravel(), positions),
            step=rng.integers(-1, 300, positions, np.int32),
            generated=rng.random(positions) < 0.5,
        ),
    )  # fmt: skip
