"""The page: what it lets run, what it carries, and that no text in a reading can break out of it."""

from __future__ import annotations

import base64
import json
import re
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from patchlens.errors import OutputError
from patchlens.reading import Reading
from patchlens.views.html import page, write_page
from patchlens.views.payload import encode_codes
from readings import HOSTILE, WORDS, make_reading
from views.markup import Outline, hash_of, policy


def unpack(text: str) -> tuple[dict[str, Any], bytes]:
    raw = zlib.decompress(base64.b64decode(Outline(text).blocks["reading"], validate=True))
    (length,) = struct.unpack_from("<I", raw)
    return json.loads(raw[4 : 4 + length]), raw[4 + length :]


def integers(body: bytes, spec: dict[str, Any]) -> NDArray[np.int64]:
    size = int(np.prod(spec["shape"]))
    planes = np.frombuffer(body, np.uint8, size * spec["planes"], spec["offset"]).reshape(
        spec["planes"], size
    )
    return (planes.astype(np.int64) << (8 * np.arange(spec["planes"]))[:, None]).sum(0).reshape(spec["shape"])


def reals(body: bytes, spec: dict[str, Any]) -> NDArray[np.float64]:
    codes = np.frombuffer(body, np.uint8, int(np.prod(spec["shape"])), spec["offset"]).reshape(spec["shape"])
    return np.where(codes == 255, np.nan, (codes / 254.0) ** 2 * spec["scale"])


def test_the_policy_allows_only_the_pages_own_script_and_style() -> None:
    outline = Outline(page(make_reading()))
    rules = policy(outline)
    assert rules["default-src"] == ["'none'"]
    assert rules["script-src"] == [hash_of(outline.blocks["script"])]
    assert rules["style-src"] == [hash_of(outline.blocks["style"])]
    assert rules["img-src"] == ["data:"]
    assert rules["base-uri"] == rules["form-action"] == ["'none'"]
    assert rules["require-trusted-types-for"] == ["'script'"]


def test_the_page_names_nothing_outside_itself() -> None:
    text = page(make_reading())
    outline = Outline(text)
    assert not [(tag, a) for tag, a in outline.tags if {"src", "href", "srcset", "data", "action"} & set(a)]
    assert not re.findall(r"(?:https?:)?//[a-z]", outline.blocks["script"] + outline.blocks["style"])
    assert not re.findall(r"\bfetch\(|XMLHttpRequest|innerHTML|\beval\(|WebSocket", outline.blocks["script"])


@pytest.mark.parametrize(
    "reading",
    [
        make_reading(pictures=2, steps=3, layout="crop", rows=5, cols=6),
        make_reading(cross=True, layout="tiles", steps=2),
        make_reading(pictures=0, layers=(0, 2, 4)),
        make_reading(
            targets=(), words=[f"w{i}" for i in range(700)], prompt_tokens=(3, 699), n_layers=9, k=10
        ),
    ],
    ids=["two pictures", "cross-attention", "text only", "many words"],
)
def test_the_payload_holds_the_readings_numbers(reading: Reading) -> None:
    header, body = unpack(page(reading))
    arrays = header["arrays"]
    ids = np.array(header["token_ids"])
    assert np.array_equal(np.moveaxis(ids[integers(body, arrays["top_tokens"])], 0, 2), reading.top_ids)
    assert [header["tokens"][i] for i in range(len(ids))] == [reading.pieces[int(i)] for i in ids]
    assert ids[header["positions"]["token"]].tolist() == reading.positions.token.tolist()
    assert tuple(ids[header["answer"]["tokens"]].tolist()) == reading.answer.ids
    for name, sign, values in (
        ("top_logprobs", -1, np.moveaxis(reading.top_logprobs, 2, 0)),
        ("entropy", 1, reading.entropy),
        ("kl_to_final", 1, reading.kl_to_final),
        ("target_logprobs", -1, np.moveaxis(reading.target_logprobs, 2, 0)),
    ):
        scale = arrays[name]["scale"]
        assert reals(body, arrays[name]) == pytest.approx(sign * values, abs=scale / 254 + 1e-6)
        probable = sign * values < 0.7
        close = reals(body, arrays[name])[probable]
        assert close == pytest.approx((sign * values)[probable], abs=(0.7 * scale) ** 0.5 / 250 + 1e-5)
    assert np.array_equal(
        np.moveaxis(integers(body, arrays["target_ranks"]), 0, 2).ravel(), reading.target_ranks.ravel()
    )
    box = np.array([np.nan if x is None else x for x in header["positions"]["box"]]).reshape(-1, 4)
    assert box == pytest.approx(reading.positions.box, abs=0.01, nan_ok=True)
    if reading.vision is not None:
        assert header["vision"]["row"] == reading.vision.row.tolist()


def test_tokens_stand_in_order_of_frequency() -> None:
    reading = make_reading(n_layers=9)
    header, _ = unpack(page(reading))
    counts = [int((reading.top_ids == i).sum()) for i in header["token_ids"]]
    assert counts == sorted(counts, reverse=True)


def test_what_is_not_finite_is_missing_not_a_number() -> None:
    codes = encode_codes(np.array([0.0, 2.0, 8.0, np.nan, np.inf, 9.0]), 8.0)
    assert codes.tolist() == [0, 127, 254, 255, 255, 254]


def test_hostile_text_is_inert_and_whole() -> None:
    bad = "</script><script>alert(1)</script><!-- <img src=x onerror=alert(1)> \u202e\u2028\u2029 {{script}}"
    reading = make_reading(
        words=WORDS + HOSTILE,
        prompt=bad,
        name=bad,
        picture_name=bad,
        notes=(bad,),
        answer=(40, 38, 1),
        steps=2,
    )
    _check_inert(page(reading), page(make_reading()))
    header, _ = unpack(page(reading))
    assert header["prompt"] == header["model"]["name"] == header["pictures"][0]["name"] == bad
    assert set(HOSTILE) & set(header["tokens"])


@settings(max_examples=40, deadline=None)
@given(st.lists(st.text(), min_size=5, max_size=5))
def test_any_text_is_inert_and_whole(texts: list[str]) -> None:
    prompt, name, picture, note, word = texts
    reading = make_reading(
        rows=1, cols=2, n_layers=1, prompt=prompt, name=name, picture_name=picture, notes=(note,),
        words=[word, *WORDS[1:]], prompt_tokens=(0, 3),
    )  # fmt: skip
    text = page(reading)
    _check_inert(text, page(make_reading()))
    header, _ = unpack(text)
    carried = [header["prompt"], header["model"]["name"], header["pictures"][0]["name"], *header["notes"]]
    assert carried == [prompt, name, picture, note]
    assert header["tokens"][header["token_ids"].index(0)] == word


def _check_inert(text: str, plain: str) -> None:
    text.encode("utf-8")
    ours, theirs = Outline(plain), Outline(text)
    assert theirs.tags == ours.tags
    assert theirs.blocks["script"] == ours.blocks["script"]
    assert not re.search("[\x00-\x08\x0b-\x1f\u2028\u2029\u202a-\u202e\u2066-\u2069]", text)


def test_a_picture_too_large_or_of_unknown_kind_does_not_bloat_or_break_the_page(monkeypatch: Any) -> None:
    monkeypatch.setattr("patchlens.views.pictures.LONGEST_SIDE", 64)
    monkeypatch.setattr("patchlens.views.pictures.MOST_BYTES", 0)
    header, _ = unpack(page(make_reading(size=(4000, 30))))
    assert header["pictures"][0]["src"].startswith("data:image/jpeg;base64,")
    assert header["pictures"][0]["width"] == 4000
    reading = make_reading()
    object.__setattr__(reading.pictures[0], "mime", "text/html")
    assert unpack(page(reading))[0]["pictures"][0]["src"] == ""
    object.__setattr__(reading.pictures[0], "mime", "image/png")
    object.__setattr__(reading.pictures[0], "data", b"no picture")
    assert unpack(page(reading))[0]["pictures"][0]["src"] == ""


def test_the_page_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = write_page(make_reading(), tmp_path / "page.html")
    assert path.read_text("utf-8") == page(make_reading())
    (tmp_path / "folder.html").mkdir()
    for taken in (tmp_path / "folder.html", tmp_path / "missing" / "page.html"):
        with pytest.raises(OutputError, match="cannot write"):
            write_page(make_reading(), taken)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["folder.html", "page.html"]


def test_a_page_of_real_size_stays_small() -> None:
    words = [f"▁{'abcdefgh'[i % 8]}{i}" for i in range(3000)]
    reading = make_reading(rows=24, cols=24, n_layers=8, k=10, words=words, targets=(), prompt_tokens=(3, 4))
    cells = reading.top_ids.size
    assert len(page(reading)) < 60_000 + 4.2 * cells, (
        "random words: two id bytes and one code each, in base64"
    )
