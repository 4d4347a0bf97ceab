"""Items are read as documented, and what is wrong is said with its file and line."""

import json

import numpy as np
import pytest
from PIL import Image

from patchlens.data.item import DrawnPicture, Item, PictureFile, pixel_digest
from patchlens.data.read import read_items
from patchlens.errors import DataError, ImageError
from patchlens.scenes.scene import make_scene
from patchlens.scenes.seeds import FIT_SEEDS


def paint(path, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (20, 30, 3), np.uint8)).save(path)
    return path


def test_a_folder_asks_the_prompt_of_each_picture(tmp_path):
    for name in ("b.png", "a.JPG", "c.webp"):
        paint(tmp_path / name)
    (tmp_path / "notes.txt").write_text("not a picture")
    items = read_items(tmp_path, "what?")
    assert [item.prompt for item in items] == ["what?"] * 3
    assert [item.pictures[0].path.name for item in items] == ["a.JPG", "b.png", "c.webp"]
    assert [picture.width for picture in items[0].open()] == [30]


def test_jsonl_has_pictures_beside_it_or_none(tmp_path):
    paint(tmp_path / "pictures" / "a.png")
    lines = [
        {"image": "pictures/a.png", "prompt": "what?", "id": 7},
        {"image": ["pictures/a.png", "pictures/a.png"], "prompt": "which?"},
        {"prompt": "a red cat"},
        {"image": "pictures/a.png"},
    ]
    path = tmp_path / "data.jsonl"
    path.write_text("\n\n".join(map(json.dumps, lines)) + "\n")
    items = read_items(path, "what else?")
    assert [len(item.open()) for item in items] == [1, 2, 0, 1]
    assert [item.prompt for item in items] == ["what?", "which?", "a red cat", "what else?"]
    assert items[2].name == f"{path}:5"


def test_a_text_file_gives_one_text_per_line(tmp_path):
    (tmp_path / "a.txt").write_text("one cat\n\ntwo cats \n")
    items = read_items(tmp_path / "a.txt")
    assert [(item.prompt, item.pictures) for item in items] == [("one cat", ()), ("two cats", ())]


def test_scenes_are_drawn_from_their_own_seeds():
    items = read_items("scenes:4")
    assert len(items) == 4
    assert all(FIT_SEEDS <= item.pictures[0].seed < 6_000_000 for item in items)
    first, again = items[0].open()[0], read_items("scenes:1")[0].open()[0]
    assert pixel_digest(first) == pixel_digest(again) != pixel_digest(items[1].open()[0])


def test_pictures_have_one_name_whatever_their_file(tmp_path):
    one, other = Item("a", "p", (paint(tmp_path / "a.png"),)), Item("b", "p", (paint(tmp_path / "b.bmp"),))
    assert pixel_digest(one.open()[0]) == pixel_digest(other.open()[0])


WRONG_LINES = {
    "{": ":2: this is not JSON",
    '{"prompt": "a", "prompt": "b"}': ":2: 'prompt' is there twice",
    "[1]": ":2: expected an object",
    '{"image": "a.png"}': ':2: expected a "prompt"',
    '{"prompt": " "}': ':2: expected "prompt" to be text',
    '{"prompt": true}': ':2: expected "prompt" to be text',
    '{"prompt": "a", "image": {}}': ':2: expected "image"',
    '{"prompt": "a", "image": [""]}': ':2: expected "image"',
    '{"prompt": "a", "images": "a.png"}': ":2: there is no 'images' here; did you mean 'image'?",
}


@pytest.mark.parametrize("line", WRONG_LINES)
def test_a_wrong_line_is_named(tmp_path, line):
    path = tmp_path / "data.jsonl"
    path.write_text('{"prompt": "fine"}\n' + line + "\n")
    with pytest.raises(DataError) as caught:
        read_items(path)
    assert f"{path}{WRONG_LINES[line]}" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_other_wrong_data(tmp_path):
    empty, pictures = tmp_path / "empty", tmp_path / "pictures"
    empty.mkdir()
    paint(pictures / "a.png")
    (tmp_path / "bytes.txt").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "blank.txt").write_text("\n \n")
    (tmp_path / "a.csv").write_text("a,b")
    for data, prompt, words in (
        (tmp_path / "none", None, "no folder or file"),
        (empty, "what?", "holds no pictures"),
        (pictures, None, "--prompt"),
        (tmp_path / "bytes.txt", None, "not UTF-8"),
        (tmp_path / "blank.txt", None, "is empty"),
        (tmp_path / "blank.txt", "what?", "leave --prompt out"),
        (tmp_path / "a.csv", None, "neither a folder"),
        ("scenes:0", None, "scenes:N"),
        ("scenes:many", None, "scenes:N"),
        ("scenes:2", "what?", "leave --prompt out"),
    ):
        with pytest.raises(DataError, match=words):
            read_items(data, prompt)


def test_a_missing_picture_is_named_with_its_line(tmp_path):
    path = tmp_path / "data.jsonl"
    path.write_text('{"image": "none.png", "prompt": "a"}\n')
    with pytest.raises(ImageError, match=r"data\.jsonl:1: there is no file .*none\.png"):
        read_items(path)[0].open()


def test_what_is_known_of_a_drawn_scene_comes_with_it():
    for item in read_items("scenes:5"):
        known = item.truth()
        assert (known.prompt, known.answer) == (item.prompt, *item.expected)
        assert {thing.name for thing in known.things} in (set(item.concepts), set())
        np.testing.assert_array_equal(np.asarray(item.open()[0].image), known.picture)


def test_a_mapping_and_annotations_are_read_alike(tmp_path):
    paint(tmp_path / "1.png")
    (tmp_path / "mapping.json").write_text('{"1.png": "What is this?"}')
    (mapped,) = read_items(tmp_path / "mapping.json")
    assert (mapped.prompt, mapped.name) == ("What is this?", str(tmp_path / "1.png"))
    square = {"image_id": 3, "category_id": 1, "segmentation": [[0, 0, 10, 0, 10, 20, 0, 20]]}
    content = {
        "images": [{"id": 3, "file_name": "1.png", "width": 30, "height": 20}],
        "categories": [{"id": 1, "name": "cat"}],
        "annotations": [square],
    }
    (tmp_path / "annotations.json").write_text(json.dumps(content))
    (item,) = read_items(tmp_path / "annotations.json", "What?")
    assert (item.prompt, item.expected, item.pictures) == ("What?", ("cat",), mapped.pictures)
    (thing,) = item.truth().things
    assert thing.mask[:, :10].all() and not thing.mask[:, 10:].any()
    with pytest.raises(DataError, match=r"annotations.json: expected a .prompt."):
        read_items(tmp_path / "annotations.json")


def test_lines_tell_names_groups_and_what_is_expected(tmp_path):
    line = {"name": "a", "prompt": "What?", "expected": ["cat", 3], "concepts": "cat", "group": "zoo"}
    (tmp_path / "data.jsonl").write_text(json.dumps(line))
    (item,) = read_items(tmp_path / "data.jsonl")
    assert item == Item("a", "What?", (), ("cat", "3"), ("cat",), "zoo")
    (tmp_path / "data.jsonl").write_text(f"{json.dumps(line)}\n{json.dumps(line)}")
    with pytest.raises(DataError, match="two items are called 'a'"):
        read_items(tmp_path / "data.jsonl")


def test_pictures_travel_as_bytes_or_as_what_draws_them(tmp_path):
    path = paint(tmp_path / "a.png")
    array = np.random.default_rng(0).integers(0, 255, (20, 30, 3), np.uint8)
    item = Item("a", "p", (path, PictureFile(path, "a"), array, DrawnPicture(7, "one")))
    assert [source.key for source in item.sources[:2]] == [str(path), "a"]
    opened = item.open()
    shipped = [picture.open() for picture in item.ship()]
    assert [pixel_digest(one) for one in shipped] == [pixel_digest(one) for one in opened]
    assert len({pixel_digest(one) for one in opened[:3]}) == 1
    assert item.ship()[0].content == path.read_bytes()
    np.testing.assert_array_equal(np.asarray(shipped[3].image), make_scene(7, "one").picture)
